//! `cargo xtask soak NAME [OPTIONS]`: the long forms of tests that `ci` runs bounded. Each is a
//! row of [`SOAKS`]; none has a place in `ci`.

mod measure;
pub mod thousand;

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Result, bail};

/// One long test: whether it held, for the options that were given.
struct Soak {
    name: &'static str,
    run: fn(&Path, &[OsString]) -> Result<bool>,
}

const SOAKS: [Soak; 1] = [Soak {
    name: "thousand",
    run: thousand::run,
}];

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
