//! Chores of this repository, run as `cargo xtask VERB`.
//!
//!     tidy            the house rules: layers, sizes, leftovers, licences, links
//!     v2              the tests of control groups on version 2, in a virtual machine
//!     ci              everything a change must pass; the last line counts all runners together
//!     bench           how long the everyday commands take, as a table (docs/benchmarks.md)
//!     calls [--write] the system calls of a start and the like against the committed ones
//!     soak [NAME]     the long forms of tests that `ci` runs bounded
//!     vm -- CMD …     CMD as root in a throw-away virtual machine (dev/run-in-vm)

mod bench;
mod ci;
mod counts;
mod soak;
mod tidy;
mod vm;
mod workspace;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask tidy | v2 | ci | bench [--runs N] [--peers] | calls [--write] | soak [NAME [OPTIONS]] | vm [OPTIONS] -- COMMAND [ARGUMENT…]";

fn main() -> ExitCode {
    match dispatch(std::env::args_os().skip(1).collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs the verb; `Ok(false)` means it ran and found something wrong.
fn dispatch(arguments: Vec<OsString>) -> Result<bool> {
    let (verb, rest) = match arguments.split_first() {
        Some((verb, rest)) => (verb.to_string_lossy().into_owned(), rest),
        None => bail!("no verb given; {USAGE}"),
    };
    if !["vm", "bench", "calls", "soak"].contains(&verb.as_str())
        && let Some(extra) = rest.first()
    {
        bail!("`{verb}` takes no argument, got {extra:?}; {USAGE}");
    }
    let root = workspace::root();
    match verb.as_str() {
        "tidy" => tidy::run(&root),
        "v2" => Ok(vm::groups::run(&root)?.failed == 0),
        "ci" => ci::run(&root),
        "bench" => bench::run(&root, rest),
        "calls" if rest == ["--write"] => bench::regression::write(&root),
        "calls" if rest.is_empty() => Ok(bench::regression::check(&root)?.failed == 0),
        "soak" => soak::run(&root, rest),
        "vm" => {
            let program = root.join("dev/run-in-vm");
            let error = Command::new(&program).args(rest).exec();
            Err(error).with_context(|| format!("executing {}", program.display()))
        }
        other => bail!("there is no verb `{other}`; {USAGE}"),
    }
}
