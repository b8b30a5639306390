//! `berth rmi`

use berth_types::ErrorKind;
use clap::Args;

use crate::engine::{Context, sentence};
use crate::exit::{Exit, FAILED, Outcome};
use crate::say::{complain, say};
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Remove one or more images",
    aliases: "berth image rm, berth image remove, berth rmi",
    arity: Arity::Some,
};

#[derive(Debug, Args)]
struct Flags {
    /// Force removal of the image
    #[arg(long, short = 'f')]
    force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    no_prune: bool,
    /// Remove only the given platform variant
    #[arg(long, value_name = "strings")]
    platform: Option<String>,
    arguments: Vec<String>,
}

/// Takes names off images, and removes those that have none left, one after the other. With
/// `--force` one that is not there is no failure, but it is told.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    if flags.platform.is_some() {
        return Err(Exit::failed(
            "berth: '--platform' is not built yet: images have one here",
        ));
    }
    let client = context.client().await?;
    let (mut failures, mut fatal) = (Vec::new(), false);
    for name in &flags.arguments {
        match client
            .images()
            .remove(name, flags.force, flags.no_prune)
            .await
        {
            Ok(done) => {
                for item in done {
                    match (item.deleted, item.untagged) {
                        (Some(id), _) => say!("Deleted: {id}"),
                        (None, Some(name)) => say!("Untagged: {name}"),
                        (None, None) => {}
                    }
                }
            }
            Err(e) => {
                let missing = e.status().is_some() && e.kind() == ErrorKind::NotFound;
                fatal |= !(missing && flags.force);
                failures.push(sentence(&e));
            }
        }
    }
    let message = failures.join("\n");
    match (failures.is_empty(), fatal) {
        (true, _) => Ok(0),
        (false, true) => Err(Exit {
            code: FAILED,
            message,
        }),
        (false, false) => {
            complain!("{message}");
            Ok(0)
        }
    }
}
