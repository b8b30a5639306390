//! `berth restart`

use super::each::each;
use super::stop::Flags;
use crate::engine::Context;
use crate::exit::Outcome;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Restart one or more containers",
    aliases: "berth container restart, berth restart",
    arity: Arity::Some,
};

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
