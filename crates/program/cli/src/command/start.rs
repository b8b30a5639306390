//! `berth start`

use berth_api::client::{AttachOptions, Client, ClientError};
use berth_api::container::WaitCondition;
use berth_console::Ended;
use clap::Args;

use super::attached::Seat;
use super::timings::Stopwatch;
use super::{attached, run};
use crate::engine::{Context, refused, sentence};
use crate::exit::{Exit, FAILED, Outcome, code_of_refusal};
use crate::say::{complain, say};
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start one or more stopped containers",
    aliases: "berth container start, berth start",
    arity: Arity::Some,
};

#[derive(Debug, Args)]
struct Flags {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(long, short = 'a')]
    attach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Attach container's STDIN
    #[arg(long, short = 'i')]
    interactive: bool,
    /// Print where the time of the start went
    #[arg(long)]
    timings: bool,
    arguments: Vec<String>,
}

/// Starts the containers one after the other, or one with its streams attached.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let attaching = flags.attach || flags.interactive;
    if attaching && flags.arguments.len() > 1 {
        return Err(Exit::failed(
            "you cannot start and attach multiple containers at once",
        ));
    }
    let mut watch = Stopwatch::start();
    let client = context.client().await?;
    watch.lap("connect");
    if let Some(name) = flags.arguments.first().filter(|_| attaching) {
        return start_attached(&client, name, &flags, watch).await;
    }
    let mut failed = Vec::new();
    for name in &flags.arguments {
        match start(&client, name, &flags, &mut watch).await {
            Ok(()) => say!("{name}"),
            Err(e) => {
                complain!("{}", sentence(&e));
                failed.push(name.as_str());
            }
        }
    }
    if failed.is_empty() {
        return Ok(0);
    }
    let message = format!("Error: failed to start containers: {}", failed.join(", "));
    Err(Exit {
        code: FAILED,
        message,
    })
}

async fn start(
    client: &Client,
    name: &str,
    flags: &Flags,
    watch: &mut Stopwatch,
) -> Result<(), ClientError> {
    let started = client.containers().start(name, flags.timings).await?;
    watch.lap("start");
    if flags.timings {
        watch.print(started.timings.as_ref());
    }
    Ok(())
}

async fn start_attached(
    client: &Client,
    name: &str,
    flags: &Flags,
    mut watch: Stopwatch,
) -> Outcome {
    let container = client
        .containers()
        .inspect(name, false)
        .await
        .map_err(|e| refused(&e))?;
    let config = &container.config;
    let stdin = flags.interactive && config.open_stdin;
    let seat = Seat::take(config.tty, stdin, flags.detach_keys.as_deref())?;
    watch.lap("inspect");
    let options = AttachOptions {
        stdin,
        stdout: true,
        stderr: true,
        stream: true,
        logs: false,
        detach_keys: flags.detach_keys.clone(),
        ..AttachOptions::default()
    };
    let id = container.id.as_str();
    let attached = client
        .containers()
        .attach(id, &options)
        .await
        .map_err(|e| refused(&e))?;
    watch.lap("attach");
    let end = match container.host_config.auto_remove {
        true => WaitCondition::Removed,
        false => WaitCondition::NextExit,
    };
    let wait = client
        .containers()
        .wait(id, end)
        .await
        .map_err(|e| refused(&e))?;
    watch.lap("wait");
    if !config.tty {
        attached::forward_signals(client, id)?;
    }
    start(client, id, flags, &mut watch)
        .await
        .map_err(|e| Exit {
            code: code_of_refusal(&e.to_string()),
            ..refused(&e)
        })?;
    let _size = match config.tty {
        true => Some(attached::follow_size(client, id)?),
        false => None,
    };
    match seat.converse(attached).await? {
        Ended::Detached => Ok(0),
        Ended::Closed => run::exit_status(wait).await,
    }
}
