//! `berth ps`

use std::collections::BTreeSet;

use berth_api::Filters;
use berth_api::client::ListOptions;
use berth_api::container::{ContainerSummary, MountPoint};
use berth_types::Timestamp;
use clap::Args;
use serde_json::Value;

use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::format::list::{Field, Layout, Row};
use crate::format::{human, port, text};
use crate::options::value;
use crate::say::say;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS]",
    about: "List containers",
    aliases: "berth container ls, berth container list, berth container ps, berth ps",
    arity: Arity::None,
};

/// What a row has, by its name in templates, with its heading.
const FIELDS: [Field; 15] = [
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

const COLUMNS: [&str; 8] = [
    "ID",
    "Image",
    "Command",
    "RunningFor",
    "Status",
    "Ports",
    "Names",
    "Size",
];

/// Columns that a command line in a list gets.
const COMMAND_WIDTH: usize = 20;
/// Columns that the source of a mount gets.
const MOUNT_WIDTH: usize = 15;

#[derive(Debug, Args)]
struct Flags {
    /// Show all containers (default shows just running)
    #[arg(long, short = 'a')]
    all: bool,
    /// Filter output based on conditions provided
    #[arg(long, short = 'f', value_name = "filter", value_parser = value::filter)]
    filter: Vec<(String, String)>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show n last created containers (includes all states) (default -1)
    #[arg(long, short = 'n', value_name = "int", value_parser = value::integer)]
    last: Option<i64>,
    /// Show the latest created container (includes all states)
    #[arg(long, short = 'l')]
    latest: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only display container IDs
    #[arg(long, short = 'q')]
    quiet: bool,
    /// Display total file sizes
    #[arg(long, short = 's')]
    size: bool,
    arguments: Vec<String>,
}

/// Lists the containers.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let format = flags.format.as_deref().unwrap_or_default();
    let columns = if flags.size {
        &COLUMNS[..]
    } else {
        &COLUMNS[..COLUMNS.len() - 1]
    };
    let layout = Layout::parse(format, columns, &FIELDS).map_err(Exit::failed)?;
    let mut filters = Filters::default();
    for (key, value) in &flags.filter {
        filters.add(key, value);
    }
    let last = if flags.latest { Some(1) } else { flags.last };
    let options = ListOptions {
        all: flags.all,
        limit: last.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0),
        size: flags.size || (!format.is_empty() && layout.shows("Size", &FIELDS)),
        filters,
    };
    let client = context.client().await?;
    let found = client
        .containers()
        .list(&options)
        .await
        .map_err(|e| refused(&e))?;
    if flags.quiet && format.is_empty() {
        for container in &found {
            say!("{}", shown_id(&container.id, flags.no_trunc));
        }
        return Ok(0);
    }
    let now = Timestamp::now();
    let rows: Vec<Row> = found.iter().map(|c| row(c, flags.no_trunc, now)).collect();
    crate::say::out(&layout.write(&rows, &FIELDS).map_err(Exit::failed)?);
    Ok(0)
}

/// The table of containers that disk usage has: what each wrote, without its image.
pub fn space_table(containers: &[&ContainerSummary], now: Timestamp) -> Result<String, String> {
    let columns = [
        "ID",
        "Image",
        "Command",
        "LocalVolumes",
        "Size",
        "RunningFor",
        "Status",
        "Names",
    ];
    let rows: Vec<Row> = containers
        .iter()
        .map(|container| {
            let alone = ContainerSummary {
                size_root_fs: None,
                ..(*container).clone()
            };
            row(&alone, false, now)
        })
        .collect();
    Layout::parse("", &columns, &FIELDS)?.write(&rows, &FIELDS)
}

fn shown_id(id: &str, whole: bool) -> &str {
    if whole { id } else { text::short_id(id) }
}

fn row(container: &ContainerSummary, whole: bool, now: Timestamp) -> Row {
    let cut = |text: &str, width| {
        if whole {
            text.to_owned()
        } else {
            text::ellipsis(text, width)
        }
    };
    let created = Timestamp::from_nanos(container.created.saturating_mul(1_000_000_000));
    let labels: Vec<String> = container
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let networks: Vec<&str> = container
        .network_settings
        .networks
        .keys()
        .map(String::as_str)
        .collect();
    let mounts: Vec<String> = container
        .mounts
        .iter()
        .map(|m| cut(mount_name(m), MOUNT_WIDTH))
        .collect();
    let volumes: BTreeSet<&str> = container
        .mounts
        .iter()
        .filter(|m| m.driver == "local")
        .map(|m| m.name.as_str())
        .collect();
    vec![
        shown_id(&container.id, whole).into(),
        names(&container.names, whole).into(),
        image(container, whole).into(),
        text::quote(&cut(&container.command, COMMAND_WIDTH)).into(),
        human::go_time(container.created).into(),
        format!("{} ago", human::duration(created.age(now))).into(),
        port::all(&container.ports).into(),
        container.state.as_str().into(),
        container.status.as_str().into(),
        size(container).into(),
        labels.join(",").into(),
        mounts.join(",").into(),
        volumes.len().to_string().into(),
        networks.join(",").into(),
        Value::Null,
    ]
}

/// The names without their slash; a name with a second slash is a link's and only shown in full.
fn names(names: &[String], whole: bool) -> String {
    let bare = names
        .iter()
        .map(|name| name.strip_prefix('/').unwrap_or(name));
    let shown: Vec<&str> = bare.filter(|name| whole || !name.contains('/')).collect();
    shown.join(",")
}

fn image(container: &ContainerSummary, whole: bool) -> String {
    let name = container.image.as_str();
    if name.is_empty() {
        return "<no image>".to_owned();
    }
    if whole {
        return name.to_owned();
    }
    let id = text::short_id(&container.image_id);
    if !id.is_empty() && text::short_id(name) == id {
        return id.to_owned();
    }
    name.split_once('@')
        .map_or(name, |(name, _)| name)
        .to_owned()
}

fn mount_name(mount: &MountPoint) -> &str {
    if mount.name.is_empty() {
        &mount.source
    } else {
        &mount.name
    }
}

fn size(container: &ContainerSummary) -> String {
    let written = human::decimal_size(container.size_rw.unwrap_or(0), 3);
    match container.size_root_fs {
        Some(whole) if whole > 0 => {
            format!("{written} (virtual {})", human::decimal_size(whole, 3))
        }
        _ => written,
    }
}
