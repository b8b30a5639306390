//! `berth-lab`: the verbs of `berth lab`, which give every name of a list a box of its own.
//!
//! A list is read and checked as a whole ([`roster`], [`list`]), what is to be done is decided
//! from what is there ([`plan`], pure), then done ([`execute`]) and reported ([`report`]).
//! [`board`] shows the class at work, and [`session`] joins a terminal to a seat's. The engine's
//! API is all it uses.

mod board;
mod execute;
mod list;
mod plan;
mod report;
mod roster;
mod seat;
mod session;
mod status;
mod verbs;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use berth_api::client::{Client, endpoint};
use clap::Parser as _;

use execute::Leaving;
use seat::Offer;
use session::Manner;
use verbs::{Allocate, Deallocate, Verb};

/// The verbs that are planned and not built.
const UNBUILT: [&str; 8] = [
    "apply", "check", "collect", "exam", "fork", "push", "replay", "reset",
];

fn main() -> ExitCode {
    if let Some(verb) = std::env::args()
        .nth(1)
        .filter(|v| UNBUILT.contains(&v.as_str()))
    {
        let _ = writeln!(
            io::stderr(),
            "berth: 'lab {verb}' is not built yet.\nSee 'berth lab --help' for what is"
        );
        return ExitCode::FAILURE;
    }
    let verb = Verb::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = runtime
        .context("cannot start the event loop")
        .and_then(|runtime| {
            let done = runtime.block_on(run(verb));
            // A thread may still wait for a key that nobody will press.
            runtime.shutdown_background();
            done
        });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // There is no better place to tell that standard error is gone.
            let _ = writeln!(io::stderr(), "berth: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything went well.
async fn run(verb: Verb) -> Result<bool> {
    match verb {
        Verb::Allocate(flags) => allocate(flags).await,
        Verb::Deallocate(flags) => deallocate(flags).await,
        Verb::Status(flags) => board::show(&connect().await?, &flags).await,
        Verb::Open(flags) => session::open(&connect().await?, &flags).await,
        Verb::Watch(flags) => session::look(&connect().await?, &flags, Manner::Watch).await,
        Verb::Join(flags) => session::look(&connect().await?, &flags, Manner::Join).await,
    }
}

async fn connect() -> Result<Client> {
    let endpoint = endpoint::discover_here(&endpoint::Wish::default())?;
    Ok(Client::connect(&endpoint.host).await?)
}

async fn allocate(flags: Allocate) -> Result<bool> {
    let lab = roster::lab(flags.lab.as_deref(), &flags.list)?;
    let names = roster::read(&flags.list)?;
    let offer = Offer {
        lab,
        image: flags.image,
        network: flags.network,
        memory: flags.memory,
        nano_cpus: flags.cpus,
        pids: flags.pids,
    };
    let client = connect().await?;
    let results = execute::allocate(&client, names, offer).await?;
    let text = match flags.json {
        true => report::seats_json(&results),
        false => report::seats(&results),
    };
    tell(&text, &results)
}

async fn deallocate(flags: Deallocate) -> Result<bool> {
    let leaving = match flags.list {
        Some(list) => {
            let lab = roster::lab(flags.lab.as_deref(), &list)?;
            Leaving::Names(roster::read(&list)?, lab)
        }
        None => Leaving::All(flags.lab),
    };
    let client = connect().await?;
    let results = execute::deallocate(&client, leaving).await?;
    let text = match flags.json {
        true => report::removals_json(&results),
        false => report::removals(&results),
    };
    tell(&text, &results)
}

/// Prints the report, then every failure; whether there was none.
fn tell<T>(text: &str, results: &[report::Result<T>]) -> Result<bool> {
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write the report")?;
    let mut fine = true;
    for (name, result) in results {
        if let Err(reason) = result {
            fine = false;
            writeln!(io::stderr(), "{name}: {reason}").context("cannot write the report")?;
        }
    }
    Ok(fine)
}
