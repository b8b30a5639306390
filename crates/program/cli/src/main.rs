//! `berth`: the command line of Berth, with the commands, words and output of Docker's.
//!
//! A command is read in two steps: what was typed (a flags structure per command), then what was
//! meant (for `create` and `run`: [`options::resolve`], a pure function). Everything else asks the
//! engine through the typed client and prints.
//!
//! The program runs on one thread: most commands are one request. Only the user's input and the
//! container's output, which may block, have threads of their own while attached.

mod command;
mod engine;
mod exit;
mod format;
mod options;
mod say;
mod usage;

use std::process::ExitCode;

use engine::{Context, GlobalFlags};
use exit::{Exit, Outcome};
use say::{complain, say};
use usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] COMMAND [ARG...]",
    about: "A container engine for classrooms, with the commands of Docker",
    aliases: "",
    arity: Arity::Any,
};

fn main() -> ExitCode {
    let code = match arguments().and_then(|args| run(&args)) {
        Ok(code) => code,
        Err(Exit { code, message }) => {
            if !message.is_empty() {
                complain!("{message}");
            }
            code
        }
    };
    ExitCode::from(code)
}

fn arguments() -> Result<Vec<String>, Exit> {
    std::env::args_os()
        .skip(1)
        .map(|arg| {
            arg.into_string()
                .map_err(|arg| Exit::failed(format!("berth: the argument {arg:?} is not UTF-8")))
        })
        .collect()
}

fn run(args: &[String]) -> Outcome {
    let flags: GlobalFlags = match args.first().map(String::as_str) {
        Some("--help") => GlobalFlags::default(),
        _ => USAGE.parse("", args)?,
    };
    if flags.version {
        say!("Berth version {}", env!("CARGO_PKG_VERSION"));
        return Ok(0);
    }
    let context = Context::new(&flags)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Exit::failed(format!("berth: cannot start: {e}")))?;
    let outcome = runtime.block_on(command::dispatch(&context, &flags.arguments));
    // A thread that waits for input would keep the program alive.
    runtime.shutdown_background();
    outcome
}
