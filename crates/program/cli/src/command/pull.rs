//! `berth pull`, and the pull of an image that `run` and `create` miss.

use berth_api::client::Client;
use berth_console::Stream;
use clap::Args;

use super::image_name;
use super::progress::Display;
use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::say::say;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Download an image from a registry",
    aliases: "berth image pull, berth pull",
    arity: Arity::One,
};

#[derive(Debug, Args)]
struct Flags {
    /// Download all tagged images in the repository
    #[arg(long, short = 'a')]
    all_tags: bool,
    /// Skip image verification (default true)
    #[arg(long, action = clap::ArgAction::SetFalse)]
    disable_content_trust: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(long, short = 'q')]
    quiet: bool,
    arguments: Vec<String>,
}

/// Has the engine bring an image, and tells how far it is; its full name at the end.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    if flags.all_tags {
        return Err(Exit::failed(
            "berth: '--all-tags' is not built yet: name one tag",
        ));
    }
    let name = flags.arguments.first().map_or("", String::as_str);
    let (repo, version) = image_name::wanted(name).map_err(Exit::failed)?;
    if version == "latest" && !name.ends_with(":latest") && !flags.quiet {
        say!("Using default tag: latest");
    }
    let platform = flags.platform.unwrap_or_default();
    let client = context.client().await?;
    let shown = (!flags.quiet).then_some(Stream::Stdout);
    pull(&client, (&repo, &version), &platform, shown).await?;
    say!("{}", image_name::canonical(name));
    Ok(0)
}

/// Pulls one image and shows the messages, if at all, on `shown`.
///
/// # Errors
/// The engine refused, or failed on the way.
pub async fn pull(
    client: &Client,
    (repo, version): (&str, &str),
    platform: &str,
    shown: Option<Stream>,
) -> Result<(), Exit> {
    let mut progress = client
        .images()
        .pull(repo, version, platform)
        .await
        .map_err(|e| refused(&e))?;
    if let Some(stream) = shown {
        return Display::new(stream).all(&mut progress).await;
    }
    while let Some(message) = progress.next().await.map_err(|e| refused(&e))? {
        if let Some(failure) = message.failed() {
            return Err(Exit::failed(failure));
        }
    }
    Ok(())
}
