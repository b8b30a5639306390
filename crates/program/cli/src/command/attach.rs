//! `berth attach`, for containers without a terminal.

use berth_api::client::AttachOptions;
use berth_api::container::WaitCondition;
use clap::Args;

use super::{attached, run};
use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] CONTAINER",
    about: "Attach local standard input, output, and error streams to a running container",
    aliases: "berth container attach, berth attach",
    arity: Arity::One,
};

#[derive(Debug, Args)]
struct Flags {
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy all received signals to the process (default true)
    #[arg(long, action = clap::ArgAction::SetFalse)]
    sig_proxy: bool,
    arguments: Vec<String>,
}

/// Attaches to a running container; the exit status is the container's.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let name = flags.arguments.first().map_or("", String::as_str);
    let client = context.client().await?;
    let container = client
        .containers()
        .inspect(name, false)
        .await
        .map_err(|e| refused(&e))?;
    let stopped = "cannot attach to a stopped container, start it first";
    let paused = "cannot attach to a paused container, unpause it first";
    if !container.state.running {
        return Err(Exit::failed(stopped));
    }
    if container.state.paused {
        return Err(Exit::failed(paused));
    }
    if container.config.tty {
        let sentence = "berth: 'attach' to a container with a terminal is not built yet";
        return Err(Exit::failed(sentence));
    }
    let id = container.id.as_str();
    let wait = client
        .containers()
        .wait(id, WaitCondition::NotRunning)
        .await;
    let wait = wait.map_err(|e| refused(&e))?;
    let stdin = !flags.no_stdin && container.config.open_stdin;
    let options = AttachOptions {
        stdin,
        stdout: true,
        stderr: true,
        stream: true,
        logs: false,
        detach_keys: flags.detach_keys,
        ..AttachOptions::default()
    };
    let attached = client
        .containers()
        .attach(id, &options)
        .await
        .map_err(|e| refused(&e))?;
    if flags.sig_proxy {
        attached::forward_signals(&client, id)?;
    }
    attached::connect(attached, stdin, false).await?;
    run::exit_status(wait).await
}
