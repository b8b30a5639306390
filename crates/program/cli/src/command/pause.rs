//! `berth pause` and `berth unpause`

use clap::Args;

use super::each::each;
use crate::engine::Context;
use crate::exit::Outcome;
use crate::usage::{Arity, Usage};

const PAUSE: Usage = Usage {
    synopsis: "CONTAINER [CONTAINER...]",
    about: "Pause all processes within one or more containers",
    aliases: "berth container pause, berth pause",
    arity: Arity::Some,
};

const UNPAUSE: Usage = Usage {
    synopsis: "CONTAINER [CONTAINER...]",
    about: "Unpause all processes within one or more containers",
    aliases: "berth container unpause, berth unpause",
    arity: Arity::Some,
};

#[derive(Debug, Args)]
struct Flags {
    arguments: Vec<String>,
}

/// Pauses the containers, side by side.
pub async fn pause(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = PAUSE.parse(invoked, args)?;
    each(context, flags.arguments, |client, name| async move {
        client.containers().pause(&name).await?;
        Ok(name)
    })
    .await
}

/// Lets them go on.
pub async fn unpause(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = UNPAUSE.parse(invoked, args)?;
    each(context, flags.arguments, |client, name| async move {
        client.containers().unpause(&name).await?;
        Ok(name)
    })
    .await
}
