//! `berth inspect`, `berth container inspect`, `berth image inspect`

use berth_api::client::{Client, ClientError};
use berth_types::ErrorKind;
use clap::Args;

use crate::engine::{Context, sentence};
use crate::exit::{Exit, FAILED, Outcome};
use crate::format::json;
use crate::format::template::Template;
use crate::say::say;
use crate::usage::{Arity, Usage};

/// Which objects a command looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// Containers, then images.
    Any,
    /// Containers.
    Container,
    /// Images.
    Image,
    /// Networks.
    Network,
}

#[derive(Debug, Args)]
struct Flags {
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(long, short = 'f', value_name = "string")]
    format: Option<String>,
    /// Display total file sizes if the type is container
    #[arg(long, short = 's')]
    size: bool,
    /// Only inspect objects of the given type
    #[arg(long = "type", value_name = "string")]
    kind: Option<String>,
    arguments: Vec<String>,
}

/// The types that Docker knows and Berth has no objects of yet.
const UNBUILT_TYPES: [&str; 7] = [
    "config", "node", "plugin", "secret", "service", "task", "volume",
];

fn usage(kinds: Kinds) -> Usage {
    let (synopsis, about) = match kinds {
        Kinds::Any => (
            "[OPTIONS] NAME|ID [NAME|ID...]",
            "Return low-level information on Docker objects",
        ),
        Kinds::Container => (
            "[OPTIONS] CONTAINER [CONTAINER...]",
            "Display detailed information on one or more containers",
        ),
        Kinds::Image => (
            "[OPTIONS] IMAGE [IMAGE...]",
            "Display detailed information on one or more images",
        ),
        Kinds::Network => (
            "[OPTIONS] NETWORK [NETWORK...]",
            "Display detailed information on one or more networks",
        ),
    };
    Usage {
        synopsis,
        about,
        aliases: "",
        arity: Arity::Some,
    }
}

/// How the objects are printed.
enum Layout {
    Pretty,
    Json,
    Lines(Template),
}

/// Prints what the engine knows of the objects; goes on after one that is not there.
pub async fn run(context: &Context, invoked: &str, args: &[String], kinds: Kinds) -> Outcome {
    let flags: Flags = usage(kinds).parse(invoked, args)?;
    let kinds = narrowed(kinds, flags.kind.as_deref())?;
    let layout = match flags.format.as_deref() {
        None | Some("") => Layout::Pretty,
        Some("json") => Layout::Json,
        Some(format) => Layout::Lines(Template::parse(format).map_err(Exit::failed)?),
    };
    let client = context.client().await?;
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in &flags.arguments {
        match find(&client, name, kinds, flags.size).await {
            Ok(object) => found.push(object),
            Err(failure) => failures.push(failure),
        }
    }
    print(&layout, &found)?;
    match failures.is_empty() {
        true => Ok(0),
        false => Err(Exit {
            code: FAILED,
            message: failures.join("\n"),
        }),
    }
}

fn narrowed(kinds: Kinds, wanted: Option<&str>) -> Result<Kinds, Exit> {
    match (kinds, wanted.unwrap_or_default()) {
        (kinds, "") => Ok(kinds),
        (Kinds::Any | Kinds::Container, "container") => Ok(Kinds::Container),
        (Kinds::Any | Kinds::Image, "image") => Ok(Kinds::Image),
        (Kinds::Any | Kinds::Network, "network") => Ok(Kinds::Network),
        (_, other) if UNBUILT_TYPES.contains(&other) => Err(Exit::failed(format!(
            "berth: '--type {other}' is not built yet"
        ))),
        (_, other) => Err(Exit::failed(format!(
            "unknown type: {other:?}: must be one of \"config\", \"container\", \"image\", \
             \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\""
        ))),
    }
}

/// The object as compact JSON, its keys in the order of the API.
async fn find(client: &Client, name: &str, kinds: Kinds, size: bool) -> Result<String, String> {
    let missing = |e: &ClientError| e.status().is_some() && e.kind() == ErrorKind::NotFound;
    let text = |json: serde_json::Result<String>| json.map_err(|e| e.to_string());
    let all = kinds == Kinds::Any;
    if all || kinds == Kinds::Container {
        match client.containers().inspect(name, size).await {
            Ok(container) => return text(serde_json::to_string(&container)),
            Err(e) if all && missing(&e) => {}
            Err(e) => return Err(sentence(&e)),
        }
    }
    if all || kinds == Kinds::Image {
        match client.images().inspect(name).await {
            Ok(image) => return text(serde_json::to_string(&image)),
            Err(e) if all && missing(&e) => {}
            Err(e) => return Err(sentence(&e)),
        }
    }
    match client.networks().inspect(name).await {
        Ok(network) => text(serde_json::to_string(&network)),
        Err(e) if all && missing(&e) => Err(format!("Error: No such object: {name}")),
        Err(e) => Err(sentence(&e)),
    }
}

fn print(layout: &Layout, found: &[String]) -> Result<(), Exit> {
    match layout {
        Layout::Pretty => say!("{}", json::indent(&format!("[{}]", found.join(",")))),
        Layout::Json => say!("[{}]", found.join(",")),
        Layout::Lines(template) => {
            for object in found {
                let value =
                    serde_json::from_str(object).map_err(|e| Exit::failed(e.to_string()))?;
                match template.fill(&value) {
                    Ok(line) => say!("{line}"),
                    Err(failure) => {
                        say!("");
                        return Err(Exit::failed(failure));
                    }
                }
            }
        }
    }
    Ok(())
}
