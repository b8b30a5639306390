//! The engine's configuration: flags and file, parsed whole before anything is opened.

mod groups;
mod network;
mod options;
mod resolve;
mod values;

pub use groups::Driver;
pub use resolve::{Config, DefaultNetwork};

use std::path::Path;

use values::Values;

/// Where the configuration file is looked for when no flag names one.
const DEFAULT_FILE: &str = "/etc/berth/daemon.json";
/// Largest configuration file in bytes.
const FILE_MAX: u64 = 1 << 20;

/// What the command line asks for.
pub enum Asked {
    /// Run an engine.
    Run(Box<Config>),
    /// Only check the configuration: it is good.
    Validated,
}

/// A configuration that cannot be used; the text says where and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line; clap's text, or its help.
    #[error(transparent)]
    Flags(#[from] clap::Error),
    /// The configuration file cannot be read.
    #[error("unable to configure the Berth engine with file {path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its content is wrong.
    #[error("unable to configure the Berth engine with file {path}: {reason}")]
    Content {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A value is wrong wherever it came from.
    #[error("{0}")]
    Value(String),
}

/// Reads the command line and the file it names.
///
/// # Errors
/// An unknown flag or key, a value of the wrong shape, an option that is not built, the same
/// option in both places.
pub fn read<I: IntoIterator<Item = std::ffi::OsString>>(args: I) -> Result<Asked, ConfigError> {
    let matches = values::command().try_get_matches_from(args)?;
    let mut values = Values::from_flags(&matches);
    let validate = values.bool("validate")?.unwrap_or(false);
    let named = values.text("config-file").map(str::to_owned);
    let path = named.clone().unwrap_or_else(|| DEFAULT_FILE.to_owned());
    match read_file(Path::new(&path)) {
        Ok(text) => {
            let reason = |reason| ConfigError::Content {
                path: path.clone(),
                reason,
            };
            let file = Values::from_json(&text).map_err(reason)?;
            values.merge(file).map_err(reason)?;
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && named.is_none() => {}
        Err(source) => return Err(ConfigError::File { path, source }),
    }
    let config = resolve::config(&values)?;
    Ok(if validate {
        Asked::Validated
    } else {
        Asked::Run(Box::new(config))
    })
}

fn read_file(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(FILE_MAX)
        .read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
