//! `berth export` and `berth save`: file systems and images as archives.

use clap::Args;

use super::archive::{check_output, write_out};
use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::usage::{Arity, Usage};

const EXPORT: Usage = Usage {
    synopsis: "[OPTIONS] CONTAINER",
    about: "Export a container's filesystem as a tar archive",
    aliases: "berth container export, berth export",
    arity: Arity::One,
};

const SAVE: Usage = Usage {
    synopsis: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    aliases: "berth image save, berth save",
    arity: Arity::Some,
};

#[derive(Debug, Args)]
struct ExportFlags {
    /// Write to a file, instead of STDOUT
    #[arg(long, short = 'o', value_name = "string")]
    output: Option<String>,
    arguments: Vec<String>,
}

#[derive(Debug, Args)]
struct SaveFlags {
    /// Write to a file, instead of STDOUT
    #[arg(long, short = 'o', value_name = "string")]
    output: Option<String>,
    /// Save only the given platform variant
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    arguments: Vec<String>,
}

/// Writes a container's file system.
pub async fn export(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: ExportFlags = EXPORT.parse(invoked, args)?;
    let output = flags.output.as_deref();
    check_output(output)
        .map_err(|e| Exit::failed(format!("failed to export container: {}", e.message)))?;
    let name = flags.arguments.first().map_or("", String::as_str);
    let client = context.client().await?;
    let archive = client.containers().export(name).await;
    write_out(archive.map_err(|e| refused(&e))?, output).await?;
    Ok(0)
}

/// Writes images.
pub async fn save(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: SaveFlags = SAVE.parse(invoked, args)?;
    if flags.platform.is_some() {
        return Err(Exit::failed(
            "berth: '--platform' is not built yet: images have one here",
        ));
    }
    let output = flags.output.as_deref();
    check_output(output)
        .map_err(|e| Exit::failed(format!("failed to save image: {}", e.message)))?;
    let client = context.client().await?;
    let archive = client.images().save(&flags.arguments).await;
    write_out(archive.map_err(|e| refused(&e))?, output).await?;
    Ok(0)
}
