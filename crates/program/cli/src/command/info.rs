//! `berth info`

use std::fmt::Display;

use berth_api::system::Info;
use clap::Args;
use serde_json::{Value, json};

use crate::engine::{Context, sentence};
use crate::exit::{Exit, Outcome};
use crate::format::human;
use crate::format::template::Template;
use crate::say::{complain, say};
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS]",
    about: "Display system-wide information",
    aliases: "berth system info, berth info",
    arity: Arity::None,
};

#[derive(Debug, Args)]
struct Flags {
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(long, short = 'f', value_name = "string")]
    format: Option<String>,
    arguments: Vec<String>,
}

/// Prints what the engine says about itself and its host.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let format = flags.format.unwrap_or_default();
    let client_text = format!(
        "Client:\n Version:    {}\n Context:    {}\n Debug Mode: false\n\nServer:\n",
        env!("CARGO_PKG_VERSION"),
        context.name()
    );
    let asked = ask(context).await;
    if format.is_empty() {
        crate::say::out(&client_text);
        let info = asked?;
        crate::say::out(&text(&info));
        for warning in &info.warnings {
            complain!("{warning}");
        }
        return Ok(0);
    }
    let value = value(&asked?, &context.name())?;
    if format == "json" {
        say!("{value}");
    } else {
        let template = Template::parse(&format).map_err(Exit::failed)?;
        say!("{}", template.fill(&value).map_err(Exit::failed)?);
    }
    Ok(0)
}

async fn ask(context: &Context) -> Result<Info, Exit> {
    let client = context.client().await?;
    client.info().await.map_err(|e| Exit::failed(sentence(&e)))
}

fn value(info: &Info, context: &str) -> Result<Value, Exit> {
    let mut value = serde_json::to_value(info).map_err(|e| Exit::failed(e.to_string()))?;
    if let Value::Object(fields) = &mut value {
        let client = json!({
            "Version": env!("CARGO_PKG_VERSION"), "Context": context, "Debug": false,
        });
        fields.insert("ClientInfo".to_owned(), client);
    }
    Ok(value)
}

/// A page of lines, each of which has a name and a value.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn field(&mut self, name: &str, value: impl Display) {
        self.line(&format!(" {name}: {value}"));
    }

    /// A line that is left out where there is no value, as Docker does.
    fn optional(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.field(name, value);
        }
    }

    /// A heading with a line for each item; nothing without items.
    fn list(&mut self, heading: &str, items: impl IntoIterator<Item = String>) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_some() {
            self.line(&format!(" {heading}:"));
            items.for_each(|item| self.line(&item));
        }
    }
}

/// The engine's part.
fn text(info: &Info) -> String {
    let mut page = Page::default();
    page.field("Containers", info.containers);
    page.field(" Running", info.containers_running);
    page.field(" Paused", info.containers_paused);
    page.field(" Stopped", info.containers_stopped);
    page.field("Images", info.images);
    page.optional("Server Version", &info.server_version);
    page.optional("Storage Driver", &info.driver);
    for [name, value] in &info.driver_status {
        page.field(&format!(" {name}"), value);
    }
    page.optional("Logging Driver", &info.logging_driver);
    page.optional("Cgroup Driver", &info.cgroup_driver);
    page.optional("Cgroup Version", &info.cgroup_version);
    plugins(&mut page, info);
    page.field("Swarm", &info.swarm.local_node_state);
    runtimes(&mut page, info);
    let options = info
        .security_options
        .iter()
        .flat_map(|option| option.split(','));
    page.list("Security Options", options.map(security_line));
    host(&mut page, info);
    settings(&mut page, info);
    page.line("");
    page.0
}

fn plugins(page: &mut Page, info: &Info) {
    page.line(" Plugins:");
    page.field(" Volume", info.plugins.volume.join(" "));
    page.field(" Network", info.plugins.network.join(" "));
    page.optional(" Authorization", &info.plugins.authorization.join(" "));
    page.field(" Log", info.plugins.log.join(" "));
}

fn runtimes(page: &mut Page, info: &Info) {
    let names: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
    if !names.is_empty() {
        page.field("Runtimes", names.join(" "));
        page.field("Default Runtime", &info.default_runtime);
    }
    page.optional("Init Binary", &info.init_binary);
    page.field("containerd version", &info.containerd_commit.id);
    page.field("runc version", &info.runc_commit.id);
    page.field("init version", &info.init_commit.id);
}

/// `name=seccomp` heads a group, `profile=builtin` stands below it.
fn security_line(pair: &str) -> String {
    match pair.split_once('=') {
        Some(("name", name)) => format!("  {name}"),
        Some((key, value)) => format!("   {}: {value}", capitalised(key)),
        None => format!("  {pair}"),
    }
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

fn host(page: &mut Page, info: &Info) {
    page.optional("Kernel Version", &info.kernel_version);
    page.optional("Operating System", &info.operating_system);
    page.optional("OSType", &info.os_type);
    page.optional("Architecture", &info.architecture);
    page.field("CPUs", info.cpus);
    page.field("Total Memory", human::binary_size(info.mem_total));
    page.optional("Name", &info.name);
    page.optional("ID", &info.id);
    page.optional("Docker Root Dir", &info.docker_root_dir);
    page.field("Debug Mode", info.debug);
    page.optional("HTTP Proxy", &info.http_proxy);
    page.optional("HTTPS Proxy", &info.https_proxy);
    page.optional("No Proxy", &info.no_proxy);
}

fn settings(page: &mut Page, info: &Info) {
    let below = |item: &String| format!("  {item}");
    page.list("Labels", info.labels.iter().map(below));
    page.field("Experimental", info.experimental_build);
    let registries = &info.registry_config;
    page.list(
        "Insecure Registries",
        registries.insecure_registry_cidrs.iter().map(below),
    );
    page.list("Registry Mirrors", registries.mirrors.iter().map(below));
    page.field("Live Restore Enabled", info.live_restore_enabled);
    page.optional("Product License", &info.product_license);
    let pools = info.default_address_pools.iter();
    page.list(
        "Default Address Pools",
        pools.map(|p| format!("   Base: {}, Size: {}", p.base, p.size)),
    );
    if let Some(firewall) = &info.firewall_backend {
        page.field("Firewall Backend", &firewall.driver);
    }
}
