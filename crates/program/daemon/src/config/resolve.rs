//! From raw options to what the engine does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use berth_types::parse_size;

use super::ConfigError;
use super::groups::{self, GroupOptions};
use super::network::{self, NetworkOptions};
use super::options::{Opt, Use};
use super::values::Values;

/// What an engine does, fully checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where images, containers and the database live.
    pub data_root: PathBuf,
    /// Where running containers announce themselves.
    pub exec_root: PathBuf,
    /// File that holds the process id.
    pub pidfile: PathBuf,
    /// Paths of the sockets.
    pub sockets: Vec<PathBuf>,
    /// Whether to serve on the sockets that the service manager passes, too.
    pub passed_sockets: bool,
    /// Group that may use the sockets.
    pub group: Option<String>,
    /// Log what is done in detail.
    pub debug: bool,
    /// Least severe level that is logged.
    pub log_level: String,
    /// Which control groups containers get.
    pub groups: GroupOptions,
    /// The network of a container that asks for none in particular.
    pub default_network: DefaultNetwork,
    /// How the bridge is set up.
    pub network: NetworkOptions,
    /// What containers get that do not say otherwise.
    pub defaults: Defaults,
    /// What is made ahead of the starts that use it.
    pub spares: Spares,
    /// Labels of the engine.
    pub labels: Vec<String>,
    /// What was accepted without effect, a sentence each.
    pub notices: Vec<String>,
}

/// The network of a container that asks for none in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultNetwork {
    /// Docker's bridge.
    Bridge,
    /// `--bridge none`: no network.
    None,
}

/// How many things of a kind are made ahead of the starts that use them; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spares {
    /// Monitors that wait for a container (`--spare-monitors`).
    pub monitors: usize,
    /// Network namespaces of each kind that containers get (`--spare-networks`).
    pub networks: usize,
}

/// Monitors that are kept ready unless `--spare-monitors` says otherwise.
const SPARE_MONITORS: usize = 2;
/// The same for `--spare-networks`.
const SPARE_NETWORKS: usize = 2;
/// Most that can be kept ready of a kind.
const SPARES_MAX: usize = 64;

/// Defaults for containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Log driver, `json-file` or `none`.
    pub log_driver: String,
    /// Its options.
    pub log_opts: BTreeMap<String, String>,
    /// Resource limits: name, soft, hard.
    pub ulimits: Vec<(String, i64, i64)>,
    /// Bytes of `/dev/shm`; 0 for the built-in default.
    pub shm_size: u64,
    /// `PR_SET_NO_NEW_PRIVS` for all.
    pub no_new_privileges: bool,
    /// The host's view of control groups for all.
    pub host_cgroupns: bool,
    /// Name servers.
    pub dns: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Resolver options.
    pub dns_options: Vec<String>,
}

pub(super) fn bad<T>(text: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value(text.into()))
}

/// Checks all options and puts them together.
pub fn config(values: &Values) -> Result<Config, ConfigError> {
    let notices = notices(values)?;
    check_drivers(values)?;
    let exec_root = absolute(
        "exec-root",
        values.text("exec-root").unwrap_or("/run/berth"),
    )?;
    let pidfile = match values.text("pidfile") {
        Some(path) => absolute("pidfile", path)?,
        None => exec_root.join("berthd.pid"),
    };
    Ok(Config {
        data_root: absolute(
            "data-root",
            values.text("data-root").unwrap_or("/var/lib/berth"),
        )?,
        sockets: sockets(values, &exec_root)?,
        passed_sockets: values.list("host").iter().any(|host| is_passed(host)),
        pidfile,
        exec_root,
        group: values.text("group").map(str::to_owned),
        debug: values.bool("debug")?.unwrap_or(false),
        log_level: log_level(values)?,
        groups: groups::options(values)?,
        default_network: match values.text("bridge") {
            Some("none") => DefaultNetwork::None,
            _ => DefaultNetwork::Bridge,
        },
        network: network::options(values)?,
        defaults: defaults(values)?,
        spares: Spares {
            monitors: spares(values, "spare-monitors", SPARE_MONITORS)?,
            networks: spares(values, "spare-networks", SPARE_NETWORKS)?,
        },
        labels: values.list("label"),
        notices,
    })
}

fn notices(values: &Values) -> Result<Vec<String>, ConfigError> {
    let spell = |o: &Opt| {
        if o.flag.is_empty() {
            format!("{:?}", o.key)
        } else {
            format!("--{}", o.flag)
        }
    };
    let mut notices = Vec::new();
    for option in values.given() {
        match option.used {
            Use::Built => {}
            Use::Idle(why) => notices.push(format!("{} has no effect: {why}", spell(option))),
            Use::Refused if is_off(values, option) => {}
            Use::Refused => {
                return bad(format!(
                    "{} is not built yet: take it out of the command line or the configuration file",
                    spell(option)
                ));
            }
        }
    }
    Ok(notices)
}

/// A switch that is off asks for nothing.
fn is_off(values: &Values, option: &Opt) -> bool {
    let name = if option.flag.is_empty() {
        option.key
    } else {
        option.flag
    };
    values.text(name) == Some("false")
}

fn absolute(what: &str, path: &str) -> Result<PathBuf, ConfigError> {
    if path.starts_with('/') {
        return Ok(PathBuf::from(path));
    }
    match std::path::absolute(path) {
        Ok(path) => Ok(path),
        Err(e) => bad(format!("{what}: {path:?} is not a usable path: {e}")),
    }
}

fn sockets(values: &Values, exec_root: &std::path::Path) -> Result<Vec<PathBuf>, ConfigError> {
    let hosts = values.list("host");
    if hosts.is_empty() {
        return Ok(vec![exec_root.join("berth.sock")]);
    }
    hosts
        .iter()
        .filter(|host| !is_passed(host))
        .map(|host| match host.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(PathBuf::from(path)),
            Some(("unix", path)) => bad(format!("-H {host}: {path:?} is not an absolute path")),
            Some(("fd", _)) => bad(format!(
                "-H {host}: give fd://, which takes all sockets that systemd passes"
            )),
            Some(("tcp" | "npipe", _)) => bad(format!(
                "-H {host}: not built yet; give unix:///path/of.sock"
            )),
            _ => bad(format!("-H {host}: expected unix:///path/of.sock")),
        })
        .collect()
}

/// Whether an address stands for the sockets that the service manager passes.
fn is_passed(host: &str) -> bool {
    matches!(host, "fd://" | "fd://*")
}

fn log_level(values: &Values) -> Result<String, ConfigError> {
    let level = values.text("log-level").unwrap_or("info");
    match level {
        "debug" | "info" | "warn" | "error" => Ok(level.to_owned()),
        "fatal" | "panic" => Ok("error".to_owned()),
        _ => bad(format!(
            "log-level: {level:?} is not debug, info, warn, error or fatal"
        )),
    }
}

fn check_drivers(values: &Values) -> Result<(), ConfigError> {
    if let Some(driver) = values.text("storage-driver")
        && !matches!(driver, "overlay2" | "overlayfs")
    {
        return bad(format!(
            "storage-driver: {driver:?} is not built; overlay2 is"
        ));
    }
    Ok(())
}

fn defaults(values: &Values) -> Result<Defaults, ConfigError> {
    let shm_size = match values.text("default-shm-size") {
        Some(text) => {
            parse_size(text).map_err(|e| ConfigError::Value(format!("default-shm-size: {e}")))?
        }
        None => 0,
    };
    let log_driver = values.text("log-driver").unwrap_or("json-file").to_owned();
    if !matches!(log_driver.as_str(), "json-file" | "none") {
        return bad(format!(
            "log-driver: {log_driver:?} is not built yet; json-file and none are"
        ));
    }
    let host_cgroupns = match values.text("default-cgroupns-mode") {
        None | Some("private") => false,
        Some("host") => true,
        Some(mode) => {
            return bad(format!(
                "default-cgroupns-mode: {mode:?} is not private or host"
            ));
        }
    };
    Ok(Defaults {
        log_driver,
        log_opts: values.map("log-opt")?,
        ulimits: ulimits(values)?,
        shm_size,
        no_new_privileges: values.bool("no-new-privileges")?.unwrap_or(false),
        host_cgroupns,
        dns: values.list("dns"),
        dns_search: values.list("dns-search"),
        dns_options: values.list("dns-opt"),
    })
}

fn spares(values: &Values, name: &str, default: usize) -> Result<usize, ConfigError> {
    let Some(text) = values.text(name) else {
        return Ok(default);
    };
    match text.parse() {
        Ok(number) if number <= SPARES_MAX => Ok(number),
        _ => bad(format!(
            "{name}: {text:?} is no number from 0 (none) to {SPARES_MAX}"
        )),
    }
}

fn ulimits(values: &Values) -> Result<Vec<(String, i64, i64)>, ConfigError> {
    let mut list = Vec::new();
    for (name, text) in values.map("default-ulimit")? {
        // The file has an object {"Name","Soft","Hard"}, the flag SOFT[:HARD].
        let pair = match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(serde_json::Value::Object(o)) => {
                let number = |key: &str| o.get(key).and_then(serde_json::Value::as_i64);
                number("Soft").zip(number("Hard"))
            }
            _ => {
                let (soft, hard) = text.split_once(':').unwrap_or((&text, &text));
                soft.parse().ok().zip(hard.parse().ok())
            }
        };
        match pair {
            Some((soft, hard)) => list.push((name, soft, hard)),
            None => {
                return bad(format!(
                    "default-ulimit: {name}={text:?} is not SOFT[:HARD]"
                ));
            }
        }
    }
    Ok(list)
}
