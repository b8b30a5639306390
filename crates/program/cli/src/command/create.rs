//! `berth create`, and the creation that `run` begins with.

use std::io::Write as _;
use std::str::FromStr as _;

use berth_api::client::{Client, ClientError};
use berth_api::container::ContainerCreateRequest;
use berth_types::{ErrorKind, ImageReference};

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
    if pull == "always" {
        return Err(wrong(
            "'--pull always' is not built yet: import the image instead".into(),
        ));
    }
    let request = resolve::request(flags, &Process).map_err(wrong)?;
    match &flags.cidfile {
        Some(path) if std::path::Path::new(path).exists() => Err(wrong(format!(
            "container ID file found, make sure the other container isn't running or delete {path}"
        ))),
        _ => Ok(request),
    }
}

/// Creates the container, tells its warnings and writes its id file.
pub async fn create(
    client: &Client,
    flags: &CreateFlags,
    request: &ContainerCreateRequest,
    invoked: &str,
) -> Result<String, Exit> {
    let created = client
        .containers()
        .create(flags.name.as_deref(), request)
        .await;
    let created = created.map_err(|e| not_created(&e, flags, &request.config.image, invoked))?;
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

/// A create that failed. What is missing is nearly always the image, which Docker would now pull.
fn not_created(error: &ClientError, flags: &CreateFlags, image: &str, invoked: &str) -> Exit {
    let mut text = sentence(error);
    let missing = error.status().is_some() && error.kind() == ErrorKind::NotFound;
    if missing && flags.pull.as_deref() != Some("never") {
        let name = ImageReference::from_str(image)
            .map_or_else(|_| image.to_owned(), |name| name.or_latest().to_string());
        if !flags.quiet {
            complain!("Unable to find image '{name}' locally");
        }
        text.push_str("\npull is not built yet: bring the image in with 'berth import'");
    }
    not_run(invoked, &text)
}
