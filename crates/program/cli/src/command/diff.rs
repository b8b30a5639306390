//! `berth diff`

use berth_api::archive::FilesystemChange;
use clap::Args;

use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "CONTAINER",
    about: "Inspect changes to files or directories on a container's filesystem",
    aliases: "berth container diff, berth diff",
    arity: Arity::One,
};

#[derive(Debug, Args)]
struct Flags {
    arguments: Vec<String>,
}

/// Prints what the container has changed, a path a line.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let name = flags.arguments.first().map_or("", String::as_str);
    if name.is_empty() {
        return Err(Exit::failed("Container name cannot be empty"));
    }
    let client = context.client().await?;
    let changes = client.containers().changes(name).await;
    let mut text = String::new();
    for change in changes.map_err(|e| refused(&e))? {
        let letter = match change.kind {
            FilesystemChange::ADDED => 'A',
            FilesystemChange::DELETED => 'D',
            _ => 'C',
        };
        text.push_str(&format!("{letter} {}\n", change.path));
    }
    crate::say::out(&text);
    Ok(0)
}
