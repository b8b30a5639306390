//! `cargo xtask soak NAME [OPTIONS]`: the long forms of tests that `ci` runs bounded. Each is a
//! row of [`SOAKS`]; none has a place in `ci`.

mod histories;
mod measure;
mod power;
mod runs;
mod stage;
pub mod thousand;

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::counts::Counts;
use crate::workspace;

/// One long test: whether it held, for the options that were given.
struct Soak {
    name: &'static str,
    run: fn(&Path, &[OsString]) -> Result<bool>,
}

const SOAKS: [Soak; 6] = [
    Soak {
        name: "histories",
        run: histories::run,
    },
    Soak {
        name: "groups",
        run: crate::vm::groups::soak,
    },
    Soak {
        name: "reboot",
        run: crate::vm::systemd::soak,
    },
    Soak {
        name: "power",
        run: power::run,
    },
    Soak {
        name: "thousand",
        run: thousand::run,
    },
    Soak {
        name: "runs",
        run: runs::run,
    },
];

/// What `ci` makes of them: a name and options.
const BOUNDED: [&[&str]; 2] = [
    &["thousand", "--containers", "60"],
    &["runs", "--runs", "200"],
];

/// Runs the bounded forms, each in a process of its own: an engine that leaves something behind
/// ends it.
pub fn bounded(root: &Path) -> Result<Counts> {
    let program = workspace::own_program()?;
    let mut found = Counts::default();
    for words in BOUNDED {
        println!("soak {}", words.join(" "));
        let status = Command::new(&program)
            .arg("soak")
            .args(words)
            .current_dir(root)
            .status()
            .with_context(|| format!("starting {}", program.display()))?;
        found = found.plus(Counts::of_step(status.success()));
    }
    Ok(found)
}

/// Runs the one that is named, or all in turn.
pub fn run(root: &Path, arguments: &[OsString]) -> Result<bool> {
    let Some((name, options)) = arguments.split_first() else {
        let mut held = true;
        for soak in &SOAKS {
            println!("\n== {} ==", soak.name);
            held &= (soak.run)(root, &[])?;
        }
        return Ok(held);
    };
    let wanted = SOAKS.iter().find(|soak| name == soak.name);
    match wanted {
        Some(soak) => (soak.run)(root, options),
        None => {
            let names: Vec<_> = SOAKS.iter().map(|soak| soak.name).collect();
            bail!("there is no soak {name:?}; there are {}", names.join(", "))
        }
    }
}
