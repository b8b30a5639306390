//! `berth tag`

use clap::Args;

use super::image_name::new_name;
use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    aliases: "berth image tag, berth tag",
    arity: Arity::Two,
};

#[derive(Debug, Args)]
struct Flags {
    arguments: Vec<String>,
}

/// Gives an image one more name.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let source = flags.arguments.first().map_or("", String::as_str);
    let target = flags.arguments.get(1).map_or("", String::as_str);
    let (repo, tag) = new_name(target).map_err(|reason| {
        Exit::failed(format!(
            "Error parsing reference: {target:?} is not a valid repository/tag: {reason}"
        ))
    })?;
    let client = context.client().await?;
    let tagged = client.images().tag(source, &repo, &tag).await;
    tagged.map(|()| 0).map_err(|e| refused(&e))
}
