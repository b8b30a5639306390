//! `berth run`: create, attach, wait, start, in this order, so that neither the first byte nor
//! the end of a short program is missed.

use berth_api::client::{AttachOptions, Client, Wait};
use berth_api::container::{WaitCondition, WaitResponse};
use berth_console::Ended;
use clap::Args;

use super::attached::Seat;
use super::timings::Stopwatch;
use super::{attached, create};
use crate::engine::{Context, not_run, not_started, sentence};
use crate::exit::{Exit, NOT_RUN, Outcome};
use crate::options::flags::CreateFlags;
use crate::say::{complain, say};
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create and run a new container from an image",
    aliases: "berth container run, berth run",
    arity: Arity::Some,
};

#[derive(Debug, Args)]
struct Flags {
    #[command(flatten)]
    create: CreateFlags,
    /// Run container in background and print container ID
    #[arg(long, short = 'd')]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Proxy received signals to the process (default true)
    #[arg(long, action = clap::ArgAction::SetFalse)]
    sig_proxy: bool,
    /// Print where the time of the start went
    #[arg(long)]
    timings: bool,
}

/// Runs a container; the exit status is its own unless it is detached.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    check(&flags)?;
    let mut request = create::prepare(&flags.create, invoked)?;
    if flags.detach {
        let config = &mut request.config;
        config.attach_stdin = false;
        config.attach_stdout = false;
        config.attach_stderr = false;
        config.stdin_once = false;
    } else {
        attached::check(request.config.tty, request.config.attach_stdin)?;
        request.host_config.console_size =
            attached::console_size(request.config.tty).unwrap_or(request.host_config.console_size);
    }
    let mut watch = Stopwatch::start();
    let client = context
        .connect()
        .await
        .map_err(|e| not_run(invoked, &sentence(&e)))?;
    watch.lap("connect");
    let id = create::create(&client, &flags.create, &request, invoked).await?;
    watch.lap("create");
    if flags.detach {
        start(&client, &id, &flags, &mut watch, invoked).await?;
        say!("{id}");
        return Ok(0);
    }
    let failed = |e| not_run(invoked, &sentence(&e));
    let config = &request.config;
    let options = AttachOptions {
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        stream: true,
        logs: false,
        detach_keys: flags.detach_keys.clone(),
        ..AttachOptions::default()
    };
    let seat = Seat::take(
        config.tty,
        config.attach_stdin,
        flags.detach_keys.as_deref(),
    )?;
    let attached = client
        .containers()
        .attach(&id, &options)
        .await
        .map_err(failed)?;
    watch.lap("attach");
    let end = match flags.create.rm {
        true => WaitCondition::Removed,
        false => WaitCondition::NextExit,
    };
    let wait = client.containers().wait(&id, end).await.map_err(failed)?;
    watch.lap("wait");
    if flags.sig_proxy && !config.tty {
        attached::forward_signals(&client, &id)?;
    }
    start(&client, &id, &flags, &mut watch, invoked).await?;
    let _size = match config.tty {
        true => Some(attached::follow_size(&client, &id)?),
        false => None,
    };
    match seat.converse(attached).await? {
        Ended::Detached => Ok(0),
        Ended::Closed => exit_status(wait).await,
    }
}

fn check(flags: &Flags) -> Result<(), Exit> {
    if flags.detach && !flags.create.attach.is_empty() {
        return Err(Exit::failed(
            "conflicting options: cannot specify both --attach and --detach",
        ));
    }
    Ok(())
}

async fn start(
    client: &Client,
    id: &str,
    flags: &Flags,
    watch: &mut Stopwatch,
    invoked: &str,
) -> Result<(), Exit> {
    let started = client.containers().start(id, flags.timings).await;
    let started = started.map_err(|e| not_started(invoked, &e))?;
    watch.lap("start");
    if flags.timings {
        watch.print(started.timings.as_ref());
    }
    Ok(())
}

/// The exit status of a container whose end is awaited.
pub async fn exit_status(wait: Wait) -> Outcome {
    let end = wait.finish().await.map_err(|e| Exit {
        code: NOT_RUN,
        message: sentence(&e),
    })?;
    Ok(status_of(&end))
}

fn status_of(end: &WaitResponse) -> u8 {
    if let Some(error) = &end.error {
        complain!(
            "berth: the wait for the container failed: {}",
            error.message
        );
        return NOT_RUN;
    }
    // As a shell would see it: the lowest eight bits.
    (end.status_code & 0xff).try_into().unwrap_or(NOT_RUN)
}
