//! `berth rename`

use clap::Args;

use crate::engine::{Context, sentence};
use crate::exit::{Exit, Outcome};
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "CONTAINER NEW_NAME",
    about: "Rename a container",
    aliases: "berth container rename, berth rename",
    arity: Arity::Two,
};

#[derive(Debug, Args)]
struct Flags {
    arguments: Vec<String>,
}

/// Gives a container another name.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let [old, new] = flags.arguments.as_slice() else {
        return Err(Exit::failed(
            "Error: Neither old nor new names may be empty",
        ));
    };
    if old.trim().is_empty() || new.trim().is_empty() {
        return Err(Exit::failed(
            "Error: Neither old nor new names may be empty",
        ));
    }
    let client = context.client().await?;
    let renamed = client.containers().rename(old, new).await;
    renamed.map(|()| 0).map_err(|e| {
        Exit::failed(format!(
            "{}\nError: failed to rename container named {old}",
            sentence(&e)
        ))
    })
}
