//! `berth load`

use std::io::{self, Read};

use berth_console::{Stream, terminal};
use clap::Args;

use super::archive::Blocking;
use super::progress::Display;
use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::options::sources::open_failed;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS]",
    about: "Load an image from a tar archive or STDIN",
    aliases: "berth image load, berth load",
    arity: Arity::None,
};

#[derive(Debug, Args)]
struct Flags {
    /// Read from tar archive file, instead of STDIN
    #[arg(long, short = 'i', value_name = "string")]
    input: Option<String>,
    /// Load only the given platform variant
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Suppress the load output
    #[arg(long, short = 'q')]
    quiet: bool,
    arguments: Vec<String>,
}

/// Sends an archive of images to the engine and tells what came of it.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    if flags.platform.is_some() {
        return Err(Exit::failed(
            "berth: '--platform' is not built yet: images have one here",
        ));
    }
    let reader: Box<dyn Read + Send> = match flags.input.as_deref() {
        Some(path) if !path.is_empty() => {
            let opened = std::fs::File::open(path);
            Box::new(opened.map_err(|e| Exit::failed(open_failed(path, &e)))?)
        }
        _ if terminal::is_terminal(Stream::Stdin) => {
            return Err(Exit::failed(
                "requested load from stdin, but stdin is empty",
            ));
        }
        _ => Box::new(io::stdin()),
    };
    let client = context.client().await?;
    let quiet = flags.quiet || !terminal::is_terminal(Stream::Stdout);
    let mut progress = client
        .images()
        .load(Blocking::new(reader), quiet)
        .await
        .map_err(|e| refused(&e))?;
    Display::new(Stream::Stdout).all(&mut progress).await?;
    Ok(0)
}
