//! `berth rm`

use berth_api::client::{ClientError, RemoveOptions};
use berth_types::ErrorKind;
use clap::Args;

use super::each::each;
use crate::engine::{Context, sentence};
use crate::exit::{Exit, Outcome};
use crate::say::complain;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Remove one or more containers",
    aliases: "berth container rm, berth container remove, berth rm",
    arity: Arity::Some,
};

#[derive(Debug, Args)]
struct Flags {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(long, short = 'f')]
    force: bool,
    /// Remove the specified link
    #[arg(long, short = 'l')]
    link: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(long, short = 'v')]
    volumes: bool,
    arguments: Vec<String>,
}

/// Removes the containers, side by side. With `--force` one that is not there is no failure, but
/// it is told.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    if flags.link {
        return Err(Exit::failed(
            "berth: '--link' is not built yet: there are no links",
        ));
    }
    let options = RemoveOptions {
        force: flags.force,
        volumes: flags.volumes,
    };
    each(context, flags.arguments, |client, name| async move {
        match client.containers().remove(&name, options).await {
            Ok(()) => Ok(Some(name)),
            Err(e) if options.force && is_missing(&e) => {
                complain!("{}", sentence(&e));
                Ok(None)
            }
            Err(e) => Err(e),
        }
    })
    .await
}

fn is_missing(error: &ClientError) -> bool {
    error.kind() == ErrorKind::NotFound && error.status().is_some()
}
