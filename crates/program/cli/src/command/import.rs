//! `berth import`

use std::io::{self, Read};

use berth_api::client::ImportOptions;
use clap::Args;

use super::archive::Blocking;
use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::options::sources::open_failed;
use crate::say::say;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    about: "Import the contents from a tarball to create a filesystem image",
    aliases: "berth image import, berth import",
    arity: Arity::OneOrTwo,
};

#[derive(Debug, Args)]
struct Flags {
    /// Apply Dockerfile instruction to the created image
    #[arg(long, short = 'c', value_name = "list")]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(long, short = 'm', value_name = "string")]
    message: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    arguments: Vec<String>,
}

/// Sends an archive to the engine, which makes an image of it, and prints the image's id.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    if flags.platform.is_some() {
        return Err(Exit::failed(
            "berth: '--platform' is not built yet: images have one here",
        ));
    }
    let mut arguments = flags.arguments.into_iter();
    let source = arguments.next().unwrap_or_default();
    let repo = arguments.next().unwrap_or_default();
    let reader: Box<dyn Read + Send> = match source.as_str() {
        "-" => Box::new(io::stdin()),
        url if url.starts_with("http://") || url.starts_with("https://") => {
            let sentence = "berth: import from a URL is not built yet: download the archive first";
            return Err(Exit::failed(sentence));
        }
        path => {
            let opened = std::fs::File::open(path);
            Box::new(opened.map_err(|e| Exit::failed(open_failed(path, &e)))?)
        }
    };
    let options = ImportOptions {
        repo,
        tag: String::new(),
        message: flags.message.unwrap_or_default(),
        changes: flags.change,
    };
    let client = context.client().await?;
    let images = client.images();
    let archive = Blocking::new(reader);
    let mut progress = images
        .import(archive, &options)
        .await
        .map_err(|e| refused(&e))?;
    while let Some(message) = progress.next().await.map_err(|e| refused(&e))? {
        if let Some(failure) = message.failed() {
            return Err(Exit::failed(failure));
        }
        if let Some(status) = message.status {
            say!("{status}");
        }
    }
    Ok(0)
}
