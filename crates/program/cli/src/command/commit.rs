//! `berth commit`

use berth_api::client::CommitOptions;
use clap::Args;

use super::image_name::new_name;
use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::say::{complain, say};
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    about: "Create a new image from a container's changes",
    aliases: "berth container commit, berth commit",
    arity: Arity::FromOneToTwo,
};

#[derive(Debug, Args)]
struct Flags {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(long, short = 'a', value_name = "string")]
    author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(long, short = 'c', value_name = "list")]
    change: Vec<String>,
    /// Commit message
    #[arg(long, short = 'm', value_name = "string")]
    message: Option<String>,
    /// Do not pause container during commit
    #[arg(long)]
    no_pause: bool,
    /// Pause container during commit (default true)
    #[arg(long, short = 'p', action = clap::ArgAction::SetFalse)]
    pause: bool,
    arguments: Vec<String>,
}

/// Makes an image of a container and prints its id.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    if !flags.pause {
        complain!("Flag --pause has been deprecated, and enabled by default. Use --no-pause");
    }
    let container = flags.arguments.first().map_or("", String::as_str);
    let name = flags.arguments.get(1).map_or("", String::as_str);
    let (repo, tag) = match name {
        "" => (String::new(), String::new()),
        name => new_name(name).map_err(|reason| Exit::failed(format!("{name:?}: {reason}")))?,
    };
    let options = CommitOptions {
        repo,
        tag,
        message: flags.message.unwrap_or_default(),
        author: flags.author.unwrap_or_default(),
        changes: flags.change,
        running: flags.no_pause || !flags.pause,
    };
    let client = context.client().await?;
    let made = client.images().commit(container, &options).await;
    say!("{}", made.map_err(|e| refused(&e))?.id);
    Ok(0)
}
