//! `berth exec`: a further process in a container that runs.

use berth_api::client::{Client, ClientError};
use berth_api::exec::{ExecConfig, ExecStart};
use berth_console::{Ended, Sizes};
use clap::Args;

use super::attached::{self, Seat};
use crate::engine::{Context, refused, sentence};
use crate::exit::{Exit, FAILED, NOT_RUN, Outcome, code_of_refusal};
use crate::options::sources::{self, Surroundings};
use crate::options::value;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Execute a command in a running container",
    aliases: "berth container exec, berth exec",
    arity: Arity::TwoOrMore,
};

#[derive(Debug, Args)]
struct Flags {
    /// Detached mode: run command in the background
    #[arg(long, short = 'd')]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Set environment variables
    #[arg(long, short = 'e', value_name = "list", value_parser = value::environment)]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<String>,
    /// Keep STDIN open even if not attached
    #[arg(long, short = 'i')]
    interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(long, short = 't')]
    tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(long, short = 'u', value_name = "string")]
    user: Option<String>,
    /// Working directory inside the container
    #[arg(long, short = 'w', value_name = "string")]
    workdir: Option<String>,
    /// The container, then the command and its arguments.
    #[arg(trailing_var_arg = true)]
    arguments: Vec<String>,
}

/// Runs a command in a container; the exit status is the command's unless it is detached.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let (name, config) = resolve(&flags, &sources::Process).map_err(Exit::failed)?;
    if !flags.detach {
        attached::check(config.tty, config.attach_stdin)?;
    }
    let size = attached::console_size(config.tty && !flags.detach);
    let config = ExecConfig {
        console_size: size,
        ..config
    };
    let client = context.client().await?;
    let id = client.containers().exec(&name, &config).await;
    let id = id.map_err(|e| refused(&e))?;
    let start = ExecStart {
        detach: flags.detach,
        tty: config.tty,
        console_size: size,
    };
    if flags.detach {
        let started = client.execs().start_detached(&id, &start).await;
        return started.map(|()| 0).map_err(|e| not_started(&e));
    }
    converse(&client, &id, &config, &start).await
}

/// What was meant: the container and the request. Pure apart from `from`.
fn resolve(flags: &Flags, from: &dyn Surroundings) -> Result<(String, ExecConfig), String> {
    let (name, command) = match flags.arguments.split_first() {
        Some((name, command)) => (name.clone(), command.to_vec()),
        None => (String::new(), Vec::new()),
    };
    let attached = !flags.detach;
    let config = ExecConfig {
        attach_stdin: attached && flags.interactive,
        attach_stdout: attached,
        attach_stderr: attached,
        console_size: None,
        detach_keys: flags.detach_keys.clone().unwrap_or_default(),
        tty: flags.tty,
        env: sources::environment(&flags.env_file, &flags.env, from)?,
        cmd: Some(command),
        privileged: flags.privileged,
        user: flags.user.clone().unwrap_or_default(),
        working_dir: flags.workdir.clone().unwrap_or_default(),
    };
    Ok((name, config))
}

async fn converse(client: &Client, id: &str, config: &ExecConfig, start: &ExecStart) -> Outcome {
    let keys = Some(config.detach_keys.as_str()).filter(|keys| !keys.is_empty());
    let seat = Seat::take(config.tty, config.attach_stdin, keys)?;
    let streams = client.execs().start(id, start, config.attach_stdin).await;
    let streams = streams.map_err(|e| not_started(&e))?;
    let _size = match config.tty {
        true => Some(follow_size(client, id)?),
        false => None,
    };
    match seat.converse(streams).await? {
        Ended::Detached => Err(Exit::failed(attached::ESCAPED)),
        Ended::Closed => exit_status(client, id).await,
    }
}

fn follow_size(client: &Client, id: &str) -> Result<Sizes, Exit> {
    let (client, id) = (client.clone(), id.to_owned());
    let sizes = Sizes::follow(move |size| {
        let (client, id) = (client.clone(), id.clone());
        async move {
            // A process that has ended has no size; its exit status is asked for in the end.
            let _ = client.execs().resize(&id, attached::cells(size)).await;
        }
    });
    sizes.map_err(|e| attached::broken(&e))
}

async fn exit_status(client: &Client, id: &str) -> Outcome {
    let end = client.execs().inspect(id).await.map_err(|e| refused(&e))?;
    if end.running {
        return Err(Exit {
            code: FAILED,
            message: "berth: the command's streams ended while it runs on".to_owned(),
        });
    }
    // As a shell would see it: the lowest eight bits.
    let code = end.exit_code.unwrap_or(NOT_RUN.into());
    Ok((code & 0xff).try_into().unwrap_or(NOT_RUN))
}

/// A command that never came to run; the exit status is what the engine's sentence stands for.
fn not_started(error: &ClientError) -> Exit {
    let code = match code_of_refusal(&error.to_string()) {
        NOT_RUN => FAILED,
        known => known,
    };
    Exit {
        code,
        message: sentence(error),
    }
}
