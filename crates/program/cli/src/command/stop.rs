//! `berth stop`

use clap::Args;

use super::each::each;
use crate::engine::Context;
use crate::exit::Outcome;
use crate::options::value;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop one or more running containers",
    aliases: "berth container stop, berth stop",
    arity: Arity::Some,
};

/// How containers are asked to end, and which; `restart` asks the same.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Signal to send to the container
    #[arg(long, short = 's', value_name = "string")]
    pub(super) signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(long, short = 't', alias = "time", value_name = "int", value_parser = value::integer)]
    pub(super) timeout: Option<i64>,
    pub(super) arguments: Vec<String>,
}

/// Stops the containers, side by side.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    each(context, flags.arguments, |client, name| {
        let signal = flags.signal.clone();
        async move {
            client
                .containers()
                .stop(&name, flags.timeout, signal.as_deref())
                .await?;
            Ok(name)
        }
    })
    .await
}
