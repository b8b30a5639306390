//! `berth attach`

use berth_api::client::AttachOptions;
use berth_api::container::WaitCondition;
use berth_console::Ended;
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
    let id = container.id.as_str();
    let wait = client
        .containers()
        .wait(id, WaitCondition::NotRunning)
        .await;
    let wait = wait.map_err(|e| refused(&e))?;
    let tty = container.config.tty;
    let stdin = !flags.no_stdin && container.config.open_stdin;
    let seat = attached::Seat::take(tty, stdin, flags.detach_keys.as_deref())?;
    let options = AttachOptions {
        stdin,
        stdout: true,
        stderr: true,
        stream: true,
        detach_keys: flags.detach_keys,
        // Who comes late sees what is there.
        screen: tty,
        ..AttachOptions::default()
    };
    let attached = client
        .containers()
        .attach(id, &options)
        .await
        .map_err(|e| refused(&e))?;
    let _size = match tty {
        true => Some(attached::follow_size(&client, id)?),
        false => None,
    };
    if flags.sig_proxy && !tty {
        attached::forward_signals(&client, id)?;
    }
    match seat.converse(attached).await? {
        Ended::Detached => Err(Exit::failed(attached::ESCAPED)),
        Ended::Closed => run::exit_status(wait).await,
    }
}
