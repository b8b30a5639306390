//! `berth create`, and the creation that `run` begins with.

use std::io::Write as _;

use berth_api::client::{Client, ClientError};
use berth_api::container::ContainerCreateRequest;
use berth_console::Stream;
use berth_types::ErrorKind;

use super::{image_name, pull};
use crate::engine::{Context, not_run, sentence};
use crate::exit::{Exit, Outcome};
use crate::options::flags::CreateFlags;
use crate::options::resolve;
use crate::options::sources::Process;
use crate::say::{complain, say};
use crate::usage::{Arity, Usage};

/// How `create` is called.
pub const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create a new container",
    aliases: "berth container create, berth create",
    arity: Arity::Some,
};

/// Creates a container and prints its id.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: CreateFlags = USAGE.parse(invoked, args)?;
    let request = prepare(&flags, invoked)?;
    let client = context
        .connect()
        .await
        .map_err(|e| not_run(invoked, &sentence(&e)))?;
    say!("{}", create(&client, &flags, &request, invoked).await?);
    Ok(0)
}

/// The request that the flags mean, checked as far as that is possible without the engine.
pub fn prepare(flags: &CreateFlags, invoked: &str) -> Result<ContainerCreateRequest, Exit> {
    let wrong = |text: String| not_run(invoked, &text);
    let pull = flags.pull.as_deref().unwrap_or("missing");
    if !matches!(pull, "always" | "missing" | "never") {
        return Err(wrong(format!(
            "invalid pull option: '{pull}': must be one of \"always\", \"missing\" or \"never\""
        )));
    }
    let request = resolve::request(flags, &Process).map_err(wrong)?;
    match &flags.cidfile {
        Some(path) if std::path::Path::new(path).exists() => Err(wrong(format!(
            "container ID file found, make sure the other container isn't running or delete {path}"
        ))),
        _ => Ok(request),
    }
}

/// Creates the container, pulls its image first where that is wanted, tells its warnings and writes
/// its id file.
pub async fn create(
    client: &Client,
    flags: &CreateFlags,
    request: &ContainerCreateRequest,
    invoked: &str,
) -> Result<String, Exit> {
    let image = &request.config.image;
    if flags.pull.as_deref() == Some("always") {
        pull(client, flags, image, invoked).await?;
    }
    let attempt = || client.containers().create(flags.name.as_deref(), request);
    let created = match attempt().await {
        Err(e) if is_missing(&e) && matches!(flags.pull.as_deref(), None | Some("missing")) => {
            if !flags.quiet {
                complain!(
                    "Unable to find image '{}' locally",
                    image_name::familiar(image)
                );
            }
            pull(client, flags, image, invoked).await?;
            attempt().await
        }
        other => other,
    };
    let created = created.map_err(|e| not_run(invoked, &sentence(&e)))?;
    for warning in &created.warnings {
        complain!("WARNING: {warning}");
    }
    if let Some(path) = &flags.cidfile {
        let written = std::fs::File::create_new(path)
            .and_then(|mut file| file.write_all(created.id.as_bytes()));
        written.map_err(|e| {
            let id = &created.id;
            not_run(
                invoked,
                &format!("cannot write the container ID file {path}: {e}; the container is {id}"),
            )
        })?;
    }
    Ok(created.id)
}

/// Whether it is the image that is not there; a create asks for nothing else that may be missing.
fn is_missing(error: &ClientError) -> bool {
    error.status().is_some() && error.kind() == ErrorKind::NotFound
}

/// Pulls the image; what the engine says about it goes to standard error, for standard output is
/// the container's.
async fn pull(
    client: &Client,
    flags: &CreateFlags,
    image: &str,
    invoked: &str,
) -> Result<(), Exit> {
    let failed = |text: &str| not_run(invoked, text);
    let (repo, version) = image_name::wanted(image).map_err(|e| failed(&e))?;
    let shown = (!flags.quiet).then_some(Stream::Stderr);
    let pulled = pull::pull(client, (&repo, &version), "", shown).await;
    pulled.map_err(|e| failed(&e.message))
}
