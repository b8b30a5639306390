//! `berth history`

use berth_api::image::HistoryItem;
use berth_types::Timestamp;
use clap::Args;

use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::format::list::{Field, Layout, Row};
use crate::format::{human, text};
use crate::say::say;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] IMAGE",
    about: "Show the history of an image",
    aliases: "berth image history, berth history",
    arity: Arity::One,
};

/// What a row has, by its name in templates, with its heading.
const FIELDS: [Field; 6] = [
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// How much of a step's command is shown.
const COMMAND_COLUMNS: usize = 45;

#[derive(Debug, Args)]
struct Flags {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Print sizes and dates in human readable format (default true)
    #[arg(long, short = 'H', action = clap::ArgAction::SetFalse)]
    human: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Show history for the given platform
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Only show image IDs
    #[arg(long, short = 'q')]
    quiet: bool,
    arguments: Vec<String>,
}

/// Lists the steps of an image, the newest first.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    if flags.platform.is_some() {
        return Err(Exit::failed(
            "berth: '--platform' is not built yet: images have one here",
        ));
    }
    let format = flags.format.as_deref().unwrap_or_default();
    let columns: &[&str] = match flags.human {
        true => &["ID", "CreatedSince", "CreatedBy", "Size", "Comment"],
        false => &["ID", "CreatedAt", "CreatedBy", "Size", "Comment"],
    };
    let layout = Layout::parse(format, columns, &FIELDS).map_err(Exit::failed)?;
    let name = flags.arguments.first().map_or("", String::as_str);
    let client = context.client().await?;
    let steps = client.images().history(name).await;
    let steps = steps.map_err(|e| refused(&e))?;
    if flags.quiet && format.is_empty() {
        for step in &steps {
            say!("{}", shown_id(&step.id, flags.no_trunc));
        }
        return Ok(0);
    }
    let now = Timestamp::now();
    let rows: Vec<Row> = steps.iter().map(|step| row(step, &flags, now)).collect();
    crate::say::out(&layout.write(&rows, &FIELDS).map_err(Exit::failed)?);
    Ok(0)
}

fn shown_id(id: &str, whole: bool) -> &str {
    if whole { id } else { text::short_id(id) }
}

fn row(step: &HistoryItem, flags: &Flags, now: Timestamp) -> Row {
    let created = Timestamp::from_nanos(step.created.saturating_mul(1_000_000_000));
    let at = created.to_string();
    let since = match (step.created <= 0, flags.human) {
        (true, true) => "N/A".to_owned(),
        (false, true) => format!("{} ago", human::duration(created.age(now))),
        (_, false) => at.clone(),
    };
    let command = step.created_by.replace('\t', " ");
    let size = match flags.human {
        true => human::decimal_size(step.size, 3),
        false => step.size.to_string(),
    };
    vec![
        shown_id(&step.id, flags.no_trunc).into(),
        since.into(),
        at.into(),
        match flags.no_trunc {
            true => command.into(),
            false => text::ellipsis(&command, COMMAND_COLUMNS).into(),
        },
        size.into(),
        step.comment.as_str().into(),
    ]
}
