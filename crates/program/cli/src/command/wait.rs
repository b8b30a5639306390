//! `berth wait`

use berth_api::container::WaitCondition;
use clap::Args;

use super::each::each;
use crate::engine::Context;
use crate::exit::Outcome;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "CONTAINER [CONTAINER...]",
    about: "Block until one or more containers stop, then print their exit codes",
    aliases: "berth container wait, berth wait",
    arity: Arity::Some,
};

#[derive(Debug, Args)]
struct Flags {
    arguments: Vec<String>,
}

/// Prints the containers' exit statuses in the order in which they are named.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    each(context, flags.arguments, |client, name| async move {
        let wait = client
            .containers()
            .wait(&name, WaitCondition::NotRunning)
            .await?;
        Ok(wait.finish().await?.status_code.to_string())
    })
    .await
}
