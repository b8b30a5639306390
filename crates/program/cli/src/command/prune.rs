//! `berth container prune`, `berth image prune` and `berth system prune`

use std::io::{self, BufRead as _};

use berth_api::Filters;
use berth_api::client::Client;
use clap::Args;

use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::format::human;
use crate::options::value;
use crate::say::{out, say};
use crate::usage::{Arity, Usage};

const CONTAINERS: Usage = Usage {
    synopsis: "[OPTIONS]",
    about: "Remove all stopped containers",
    aliases: "",
    arity: Arity::None,
};

const IMAGES: Usage = Usage {
    synopsis: "[OPTIONS]",
    about: "Remove unused images",
    aliases: "",
    arity: Arity::None,
};

const SYSTEM: Usage = Usage {
    synopsis: "[OPTIONS]",
    about: "Remove unused data",
    aliases: "",
    arity: Arity::None,
};

#[derive(Debug, Args)]
struct ContainerFlags {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter", value_parser = value::filter)]
    filter: Vec<(String, String)>,
    /// Do not prompt for confirmation
    #[arg(long, short = 'f')]
    force: bool,
    arguments: Vec<String>,
}

#[derive(Debug, Args)]
struct ImageFlags {
    /// Remove all unused images, not just dangling ones
    #[arg(long, short = 'a')]
    all: bool,
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter", value_parser = value::filter)]
    filter: Vec<(String, String)>,
    /// Do not prompt for confirmation
    #[arg(long, short = 'f')]
    force: bool,
    arguments: Vec<String>,
}

#[derive(Debug, Args)]
struct SystemFlags {
    /// Remove all unused images not just dangling ones
    #[arg(long, short = 'a')]
    all: bool,
    /// Provide filter values (e.g. "label=<key>=<value>")
    #[arg(long, value_name = "filter", value_parser = value::filter)]
    filter: Vec<(String, String)>,
    /// Do not prompt for confirmation
    #[arg(long, short = 'f')]
    force: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    volumes: bool,
    arguments: Vec<String>,
}

const DANGLING: &str = "This will remove all dangling images.";
const UNUSED: &str =
    "This will remove all images without at least one container associated to them.";

/// Removes the containers that do not run.
pub async fn containers(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: ContainerFlags = CONTAINERS.parse(invoked, args)?;
    let question = "WARNING! This will remove all stopped containers.\n";
    if !flags.force && !confirm(question)? {
        return Ok(0);
    }
    let client = context.client().await?;
    let (text, bytes) = prune_containers(&client, &filters(&flags.filter)).await?;
    out(&text);
    reclaimed(bytes);
    Ok(0)
}

/// Removes the images that nothing needs.
pub async fn images(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: ImageFlags = IMAGES.parse(invoked, args)?;
    let what = if flags.all { UNUSED } else { DANGLING };
    let question = format!("WARNING! {what}\n");
    if !flags.force && !confirm(&question)? {
        return Ok(0);
    }
    let client = context.client().await?;
    let (text, bytes) = prune_images(&client, filters(&flags.filter), flags.all).await?;
    out(&text);
    reclaimed(bytes);
    Ok(0)
}

/// Removes what containers, networks, images and builds have left.
pub async fn system(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: SystemFlags = SYSTEM.parse(invoked, args)?;
    if flags.volumes {
        return Err(Exit::failed(
            "berth: '--volumes' is not supported yet: there are no volumes",
        ));
    }
    let images = match flags.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    let mut question =
        format!("WARNING! This will remove:\n  - all stopped containers\n  - {images}\n");
    if !flags.filter.is_empty() {
        question.push_str("\n  Items to be pruned will be filtered with:\n");
        for (key, value) in &flags.filter {
            question.push_str(&format!("  - {key}={value}\n"));
        }
    }
    question.push('\n');
    if !flags.force && !confirm(&question)? {
        return Ok(0);
    }
    let client = context.client().await?;
    let chosen = filters(&flags.filter);
    let (text, first) = prune_containers(&client, &chosen).await?;
    out(&text);
    let (text, second) = prune_images(&client, chosen, flags.all).await?;
    out(&text);
    reclaimed(first.saturating_add(second));
    Ok(0)
}

fn filters(typed: &[(String, String)]) -> Filters {
    let mut filters = Filters::default();
    for (key, value) in typed {
        filters.add(key, value);
    }
    filters
}

/// What was removed, as text, and the bytes that it gave back.
async fn prune_containers(client: &Client, filters: &Filters) -> Result<(String, u64), Exit> {
    let pruned = client.containers().prune(filters).await;
    let pruned = pruned.map_err(|e| refused(&e))?;
    let mut text = String::new();
    if !pruned.containers_deleted.is_empty() {
        text.push_str("Deleted Containers:\n");
        for id in &pruned.containers_deleted {
            text.push_str(&format!("{id}\n"));
        }
        text.push('\n');
    }
    Ok((text, pruned.space_reclaimed))
}

async fn prune_images(
    client: &Client,
    mut filters: Filters,
    all: bool,
) -> Result<(String, u64), Exit> {
    filters.add("dangling", if all { "false" } else { "true" });
    let pruned = client.images().prune(&filters).await;
    let pruned = pruned.map_err(|e| refused(&e))?;
    let mut text = String::new();
    let done = pruned.images_deleted.unwrap_or_default();
    if !done.is_empty() {
        text.push_str("Deleted Images:\n");
        for item in done {
            match (item.untagged, item.deleted) {
                (Some(name), _) => text.push_str(&format!("untagged: {name}\n")),
                (None, Some(id)) => text.push_str(&format!("deleted: {id}\n")),
                (None, None) => {}
            }
        }
        text.push('\n');
    }
    Ok((text, pruned.space_reclaimed))
}

fn reclaimed(bytes: u64) {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    say!("Total reclaimed space: {}", human::decimal_size(bytes, 4));
}

/// Asks on standard output and reads one line; anything but `y` and `yes` is no.
fn confirm(question: &str) -> Result<bool, Exit> {
    out(&format!(
        "{question}Are you sure you want to continue? [y/N] "
    ));
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|e| Exit::failed(format!("berth: cannot read the answer: {e}")))?;
    Ok(matches!(
        line.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}
