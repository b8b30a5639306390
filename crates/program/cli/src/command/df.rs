//! `berth system df`

use berth_api::container::ContainerSummary;
use berth_api::disk::{DiskUsage, Usage as Space};
use berth_types::Timestamp;
use clap::Args;
use serde_json::Value;

use super::{images, ps};
use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::format::human::decimal_size;
use crate::format::list::{Field, Layout, Row};
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS]",
    about: "Show docker disk usage",
    aliases: "",
    arity: Arity::None,
};

/// What a row has, by its name in templates, with its heading.
const FIELDS: [Field; 5] = [
    ("Active", "ACTIVE"),
    ("Reclaimable", "RECLAIMABLE"),
    ("Size", "SIZE"),
    ("TotalCount", "TOTAL"),
    ("Type", "TYPE"),
];

/// The columns of the table.
const COLUMNS: [&str; 5] = ["Type", "TotalCount", "Active", "Size", "Reclaimable"];

#[derive(Debug, Args)]
struct Flags {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show detailed information on space usage
    #[arg(long, short = 'v')]
    verbose: bool,
    arguments: Vec<String>,
}

/// Prints what takes up space, by sort or object by object.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let format = flags.format.as_deref().unwrap_or_default();
    if flags.verbose && !matches!(format, "" | "table") {
        return Err(Exit::failed(
            "berth: '--verbose' with '--format' is not supported yet: leave one of them out",
        ));
    }
    let layout = Layout::parse(format, &COLUMNS, &FIELDS).map_err(Exit::failed)?;
    let client = context.client().await?;
    let usage = client.disk_usage().await.map_err(|e| refused(&e))?;
    let text = match flags.verbose {
        true => verbose(&usage),
        false => layout.write(&totals(&usage), &FIELDS),
    };
    crate::say::out(&text.map_err(Exit::failed)?);
    Ok(0)
}

fn totals(usage: &DiskUsage) -> Vec<Row> {
    vec![
        total("Images", usage.image_usage.as_ref(), true),
        total("Containers", usage.container_usage.as_ref(), true),
        total("Local Volumes", usage.volume_usage.as_ref(), true),
        total("Build Cache", usage.build_cache_usage.as_ref(), false),
    ]
}

fn total<T>(sort: &str, space: Option<&Space<T>>, with_share: bool) -> Row {
    let nothing = (0, 0, 0, 0);
    let (active, all, size, rest) = space.map_or(nothing, |space| {
        (
            space.active_count,
            space.total_count,
            space.total_size,
            space.reclaimable,
        )
    });
    let mut reclaimable = decimal_size(rest, 4);
    if with_share && size > 0 {
        reclaimable.push_str(&format!(" ({}%)", rest.saturating_mul(100) / size));
    }
    vec![
        active.to_string().into(),
        reclaimable.into(),
        decimal_size(size, 4).into(),
        all.to_string().into(),
        sort.into(),
    ]
}

/// Every object, in four tables.
fn verbose(usage: &DiskUsage) -> Result<String, String> {
    let now = Timestamp::now();
    let mut text = "Images space usage:\n\n".to_owned();
    let found = usage.image_usage.iter().flat_map(|space| &space.items);
    text.push_str(&images::space_table(found, now)?);
    text.push_str("\nContainers space usage:\n\n");
    let found: Vec<&ContainerSummary> = usage
        .container_usage
        .iter()
        .flat_map(|space| &space.items)
        .collect();
    text.push_str(&ps::space_table(&found, now)?);
    text.push_str("\nLocal Volumes space usage:\n\n");
    text.push_str(&volumes(usage.volume_usage.as_ref())?);
    let cache = usage.build_cache_usage.as_ref();
    let cached = cache.map_or(0, |cache| cache.total_size);
    text.push_str(&format!(
        "\nBuild cache usage: {}\n\n",
        decimal_size(cached, 4)
    ));
    let fields = [
        ("ID", "CACHE ID"),
        ("Type", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("Created", "CREATED"),
        ("Used", "LAST USED"),
        ("Usage", "USAGE"),
        ("Shared", "SHARED"),
    ];
    text.push_str(&Layout::Table((0..fields.len()).collect()).write(&[], &fields)?);
    Ok(text)
}

fn volumes(space: Option<&Space<Value>>) -> Result<String, String> {
    let fields = [
        ("Name", "VOLUME NAME"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
    ];
    let number = |volume: &Value, name: &str| {
        let number = volume.pointer(&format!("/UsageData/{name}"));
        number.and_then(Value::as_i64).unwrap_or(0)
    };
    let rows: Vec<Row> = space
        .iter()
        .flat_map(|space| &space.items)
        .map(|volume| {
            vec![
                volume.get("Name").cloned().unwrap_or_default(),
                number(volume, "RefCount").to_string().into(),
                decimal_size(number(volume, "Size"), 4).into(),
            ]
        })
        .collect();
    Layout::Table(vec![0, 1, 2]).write(&rows, &fields)
}
