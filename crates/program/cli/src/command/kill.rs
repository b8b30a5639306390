//! `berth kill`

use clap::Args;

use super::each::each;
use crate::engine::Context;
use crate::exit::Outcome;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Kill one or more running containers",
    aliases: "berth container kill, berth kill",
    arity: Arity::Some,
};

#[derive(Debug, Args)]
struct Flags {
    /// Signal to send to the container
    #[arg(long, short = 's', value_name = "string")]
    signal: Option<String>,
    arguments: Vec<String>,
}

/// Sends the signal to the containers, side by side.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    each(context, flags.arguments, |client, name| {
        let signal = flags.signal.clone();
        async move {
            client.containers().kill(&name, signal.as_deref()).await?;
            Ok(name)
        }
    })
    .await
}
