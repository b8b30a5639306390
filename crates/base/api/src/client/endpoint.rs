//! Finding the engine.
//!
//! In this order: `--context`, `-H`, `BERTH_HOST`, `DOCKER_HOST`, the current context
//! (`DOCKER_CONTEXT`, else `currentContext` of Docker's `config.json`), the default socket. The
//! context named `default` is no file: it means the variables, then the default socket.
//!
//! Contexts are Docker's: `$DOCKER_CONFIG` (or `~/.docker`) holds `config.json` and
//! `contexts/meta/<sha256 of the name>/meta.json`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::error::ClientError;
use crate::decode;

/// Where `berthd` listens if nothing else is said.
pub const DEFAULT_HOST: &str = "unix:///run/berth/berth.sock";

/// The context that is no file.
const DEFAULT_CONTEXT: &str = "default";

/// The most bytes of a file of Docker's configuration.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// What the user said on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// `--context`.
    pub context: Option<String>,
    /// `-H`.
    pub host: Option<String>,
}

/// Where the engine is, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The address, for [`Client::connect`](super::Client::connect).
    pub host: String,
    /// Who says so.
    pub origin: Origin,
}

/// Who named the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `-H`.
    Flag,
    /// This variable of the environment.
    Variable(&'static str),
    /// The context of this name.
    Context(String),
    /// Nobody.
    Default,
}

/// Finds the engine by the wish and the environment, which `variable` reads.
pub fn discover(
    wish: &Wish,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Endpoint, ClientError> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let by_context = wish.context.as_deref().filter(|name| !name.is_empty());
    if let Some(name) = by_context.filter(|name| *name != DEFAULT_CONTEXT) {
        return context(name, &config_directory(variable));
    }
    if by_context.is_none()
        && let Some(host) = wish.host.clone().filter(|host| !host.is_empty())
    {
        return Ok(Endpoint {
            host,
            origin: Origin::Flag,
        });
    }
    for name in ["BERTH_HOST", "DOCKER_HOST"] {
        if let Some(host) = variable(name) {
            return Ok(Endpoint {
                host,
                origin: Origin::Variable(name),
            });
        }
    }
    if by_context.is_none() {
        let directory = config_directory(variable);
        let current = match variable("DOCKER_CONTEXT") {
            Some(name) => Some(name),
            None => current_context(&directory)?,
        };
        if let Some(name) = current.filter(|name| name != DEFAULT_CONTEXT) {
            return context(&name, &directory);
        }
    }
    Ok(Endpoint {
        host: DEFAULT_HOST.to_owned(),
        origin: Origin::Default,
    })
}

/// As [`discover`], with the environment of this process.
pub fn discover_here(wish: &Wish) -> Result<Endpoint, ClientError> {
    discover(wish, |name| std::env::var(name).ok())
}

/// `$DOCKER_CONFIG`, else `~/.docker`; `None` without a home.
fn config_directory(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    variable("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".docker")))
}

/// What Berth reads of Docker's `config.json`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    current_context: String,
}

fn current_context(directory: &Option<PathBuf>) -> Result<Option<String>, ClientError> {
    let Some(directory) = directory else {
        return Ok(None);
    };
    let config: Option<Config> = read(&directory.join("config.json"))?;
    Ok(config
        .map(|config| config.current_context)
        .filter(|name| !name.is_empty()))
}

/// What Berth reads of a context's `meta.json`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Meta {
    endpoints: MetaEndpoints,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MetaEndpoints {
    docker: MetaEndpoint,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct MetaEndpoint {
    host: String,
}

fn context(name: &str, directory: &Option<PathBuf>) -> Result<Endpoint, ClientError> {
    let path = directory
        .as_deref()
        .unwrap_or(Path::new(".docker"))
        .join("contexts/meta")
        .join(hexadecimal(&Sha256::digest(name.as_bytes())))
        .join("meta.json");
    let name = name.to_owned();
    match read::<Meta>(&path)? {
        None => Err(ClientError::NoContext { name, path }),
        Some(meta) if meta.endpoints.docker.host.is_empty() => {
            Err(ClientError::EmptyContext { name, path })
        }
        Some(meta) => Ok(Endpoint {
            host: meta.endpoints.docker.host,
            origin: Origin::Context(name),
        }),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Reads a file; `None` if there is none.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ClientError> {
    let unread = |source| ClientError::ConfigFile {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unread(error)),
    };
    let mut text = Vec::new();
    file.take(CONFIG_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(unread)?;
    if text.len() as u64 > CONFIG_BYTES_MAX {
        return Err(unread(io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    decode::from_slice(&text)
        .map(Some)
        .map_err(|cause| ClientError::ConfigSyntax {
            path: path.to_owned(),
            cause,
        })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{DEFAULT_HOST, Endpoint, Origin, Wish, discover};
    use crate::client::ClientError;

    fn find(
        wish: (Option<&str>, Option<&str>),
        variables: &[(&str, &str)],
    ) -> Result<Endpoint, ClientError> {
        let wish = Wish {
            context: wish.0.map(str::to_owned),
            host: wish.1.map(str::to_owned),
        };
        discover(&wish, |name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    /// A configuration with the context `lab`, which is the current one, and the context `bare`,
    /// which names no engine.
    fn configuration() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("config.json", r#"{"auths":{},"currentContext":"lab"}"#);
        // The names are sha256 of "lab" and of "bare".
        write(
            "contexts/meta/a51146d38077ff992eba84cf1d5e9b249073503eb74868699016153b031a38f7/meta.json",
            r#"{"Name":"lab","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///lab.sock"}}}"#,
        );
        write(
            "contexts/meta/9b828d53402d6e332ef05a2fe03063b359192571ba99fcd3b85074f46a72fd7e/meta.json",
            r#"{"Name":"bare"}"#,
        );
        directory
    }

    fn path(directory: &Path) -> &str {
        directory.to_str().unwrap()
    }

    #[test]
    fn the_order_is_the_documented_one() {
        let directory = configuration();
        let config = ("DOCKER_CONFIG", path(directory.path()));
        let all = [
            config,
            ("BERTH_HOST", "unix:///berth.sock"),
            ("DOCKER_HOST", "unix:///docker.sock"),
            ("DOCKER_CONTEXT", "lab"),
        ];
        let found = |wish, variables: &[(&str, &str)]| {
            let endpoint = find(wish, variables).unwrap();
            (endpoint.host, endpoint.origin)
        };
        let lab = (
            "unix:///lab.sock".to_owned(),
            Origin::Context("lab".to_owned()),
        );
        assert_eq!(found((Some("lab"), Some("tcp://flag")), &all), lab);
        assert_eq!(found((None, Some("tcp://flag")), &all).1, Origin::Flag);
        assert_eq!(found((None, None), &all).1, Origin::Variable("BERTH_HOST"));
        let without_berth = [all[0], ("BERTH_HOST", ""), all[2], all[3]];
        assert_eq!(
            found((None, None), &without_berth).1,
            Origin::Variable("DOCKER_HOST")
        );
        assert_eq!(found((None, None), &[all[0], all[3]]), lab);
        assert_eq!(found((None, None), &[config]), lab);
        let default = (DEFAULT_HOST.to_owned(), Origin::Default);
        assert_eq!(found((None, None), &[]), default);
        assert_eq!(
            found((None, None), &[config, ("DOCKER_CONTEXT", "default")]),
            default
        );
        assert_eq!(
            found((Some("default"), Some("tcp://flag")), &[config]),
            default
        );
    }

    #[test]
    fn a_context_that_does_not_lead_anywhere_is_named() {
        let directory = configuration();
        let variables = [("DOCKER_CONFIG", path(directory.path()))];
        let missing = find((Some("nope"), None), &variables).unwrap_err();
        assert!(
            missing
                .to_string()
                .starts_with("context \"nope\" does not exist"),
            "{missing}"
        );
        let bare = find((Some("bare"), None), &variables).unwrap_err();
        assert!(matches!(bare, ClientError::EmptyContext { .. }), "{bare}");
    }

    #[test]
    fn a_damaged_configuration_is_an_error_only_when_it_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.json"), "{\"currentContext\":").unwrap();
        let config = ("DOCKER_CONFIG", path(directory.path()));
        assert!(matches!(
            find((None, None), &[config]),
            Err(ClientError::ConfigSyntax { .. })
        ));
        assert!(find((None, None), &[config, ("DOCKER_HOST", "unix:///x")]).is_ok());
    }
}
