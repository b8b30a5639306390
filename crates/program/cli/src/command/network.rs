//! `berth network ls`

use berth_api::Filters;
use berth_api::network::NetworkSummary;
use clap::Args;

use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::format::list::{Field, Layout, Row};
use crate::format::text;
use crate::options::value;
use crate::say::say;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS]",
    about: "List networks",
    aliases: "berth network ls, berth network list",
    arity: Arity::None,
};

/// What a row has, by its name in templates, with its heading.
const FIELDS: [Field; 8] = [
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

#[derive(Debug, Args)]
struct Flags {
    /// Provide filter values (e.g. "driver=bridge")
    #[arg(long, short = 'f', value_name = "filter", value_parser = value::filter)]
    filter: Vec<(String, String)>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Do not truncate the output
    #[arg(long)]
    no_trunc: bool,
    /// Only display network IDs
    #[arg(long, short = 'q')]
    quiet: bool,
    arguments: Vec<String>,
}

/// Lists the networks by name.
pub async fn list(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let format = flags.format.as_deref().unwrap_or_default();
    let columns = ["ID", "Name", "Driver", "Scope"];
    let layout = Layout::parse(format, &columns, &FIELDS).map_err(Exit::failed)?;
    let mut filters = Filters::default();
    for (key, value) in &flags.filter {
        filters.add(key, value);
    }
    let client = context.client().await?;
    let found = client.networks().list(&filters).await;
    let mut found = found.map_err(|e| refused(&e))?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let shown_id = |id: &str| match flags.no_trunc {
        true => id.to_owned(),
        false => text::short_id(id).to_owned(),
    };
    if flags.quiet && format.is_empty() {
        for network in &found {
            say!("{}", shown_id(&network.id));
        }
        return Ok(0);
    }
    let rows: Vec<Row> = found.iter().map(|n| row(n, &shown_id(&n.id))).collect();
    crate::say::out(&layout.write(&rows, &FIELDS).map_err(Exit::failed)?);
    Ok(0)
}

fn row(network: &NetworkSummary, id: &str) -> Row {
    let labels: Vec<String> = network
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    vec![
        id.into(),
        network.name.as_str().into(),
        network.driver.as_str().into(),
        network.scope.as_str().into(),
        network.enable_ipv6.to_string().into(),
        network.internal.to_string().into(),
        labels.join(",").into(),
        network.created.as_str().into(),
    ]
}
