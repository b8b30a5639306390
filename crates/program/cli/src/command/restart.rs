//! `berth restart`

use clap::Args;

use super::each::each;
use crate::engine::Context;
use crate::exit::Outcome;
use crate::options::value;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Restart one or more containers",
    aliases: "berth container restart, berth restart",
    arity: Arity::Some,
};

#[derive(Debug, Args)]
struct Flags {
    /// Signal to send to the container
    #[arg(long, short = 's', value_name = "string")]
    signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(long, short = 't', alias = "time", value_name = "int", value_parser = value::integer)]
    timeout: Option<i64>,
    arguments: Vec<String>,
}

/// Restarts the containers, side by side.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    each(context, flags.arguments, |client, name| {
        let signal = flags.signal.clone();
        async move {
            client
                .containers()
                .restart(&name, flags.timeout, signal.as_deref())
                .await?;
            Ok(name)
        }
    })
    .await
}
