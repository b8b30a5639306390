//! Other engines on this machine, through `dev/peers-setup.sh`, for columns of the same tables.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use berth_testkit::busybox_rootfs_tar;

use super::IMAGE;
use super::client::Client;
use super::driver::Kind;
use crate::workspace;

const SCRIPT: &str = "dev/peers-setup.sh";
/// Set where peers leave no trace.
const ENCLOSED: &str = "BERTH_BENCH_ENCLOSED";
/// Where the script and the peers have their files; it goes with the enclosure.
const DIRECTORY: &str = "PEERS_DIR";
/// What the script's `env` sets, beside the command lines.
const VARIABLES: [&str; 4] = [
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
    "PODMAN_IGNORE_CGROUPSV1_WARNING",
    "DOCKER_CONFIG",
];

/// One peer: its name, the name of its command line in the script's `env`, its socket below the
/// peers' directory, and what has to be installed.
struct Known {
    kind: Kind,
    label: &'static str,
    command: &'static str,
    socket: &'static str,
    programs: [&'static str; 2],
}

const KNOWN: [Known; 2] = [
    Known {
        kind: Kind::Docker,
        label: "dockerd",
        command: "DOCKER",
        socket: "docker.sock",
        programs: ["dockerd", "containerd"],
    },
    Known {
        kind: Kind::Podman,
        label: "podman",
        command: "PODMAN_CRUN",
        socket: "podman.sock",
        programs: ["podman", "crun"],
    },
];

/// A peer that answers and has the image.
pub struct Peer {
    pub kind: Kind,
    pub socket: PathBuf,
    pub client: Client,
}

/// The peers that are installed. Dropping it ends the daemons it has started.
pub struct Peers {
    pub peers: Vec<Peer>,
    /// Their versions, and who is missing, for the head of the tables.
    pub head: String,
    script: PathBuf,
    pub directory: PathBuf,
}

/// Begins this program again where peers leave no trace; returns where that is so already.
pub fn enclose(root: &Path) -> Result<()> {
    if std::env::var_os(ENCLOSED).is_some() {
        return Ok(());
    }
    let script = root.join(SCRIPT);
    let error = Command::new(&script)
        .arg("enclosed")
        .arg(workspace::own_program()?)
        .args(std::env::args_os().skip(1))
        .env(ENCLOSED, "yes")
        .env(
            DIRECTORY,
            format!("/var/tmp/berth-peers-{}", std::process::id()),
        )
        .exec();
    Err(error).with_context(|| format!("executing {}", script.display()))
}

impl Peers {
    /// Starts what is installed, with its files where [`enclose`] says, and gives it the image.
    pub fn start(root: &Path, complaints: &Path) -> Result<Self> {
        let directory = std::env::var_os(DIRECTORY);
        let directory = PathBuf::from(directory.context("the peers have no directory")?);
        let mut peers = Self {
            peers: Vec::new(),
            head: String::new(),
            script: root.join(SCRIPT),
            directory,
        };
        let installed = |peer: &Known| peer.programs.iter().all(|name| is_installed(name));
        for peer in KNOWN.iter().filter(|peer| !installed(peer)) {
            let missing = peer.programs.join(" and ");
            peers.head.push_str(&format!(
                "No column for {}: {missing} are not installed (`{SCRIPT} install` does).\n",
                peer.label
            ));
        }
        peers.said("bench")?;
        let versions = peers.said("versions")?;
        peers.head.push_str(&format!(
            "Peers, of the distribution's packages unless PEERS_BIN names others: {}.\n",
            versions.trim_end().replace('\n', "; ")
        ));
        let lines = peers.said("env")?;
        let environment = variables(&lines);
        let archive = busybox_rootfs_tar();
        for peer in KNOWN.iter().filter(|peer| installed(peer)) {
            let line = command_line(&lines, peer.command)?;
            let client = client(peer.label, &line, &environment, complaints)?;
            client.time(&["import", &archive.to_string_lossy(), IMAGE])?;
            peers.peers.push(Peer {
                kind: peer.kind,
                socket: peers.directory.join(peer.socket),
                client,
            });
        }
        Ok(peers)
    }

    fn said(&self, verb: &str) -> Result<String> {
        let output = self
            .command(verb)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("starting {}", self.script.display()))?;
        if !output.status.success() {
            bail!(
                "`{} {verb}` ended with {}",
                self.script.display(),
                output.status
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.script);
        command.arg(verb).stdin(Stdio::null());
        command
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // Their containers would hold mounts below the directory that is to be removed.
        for peer in &self.peers {
            if let Err(error) = remove_containers(&peer.client, peer.kind) {
                eprintln!("bench: {error:#}");
            }
        }
        if let Err(error) = self.command("stop").status() {
            eprintln!("bench: the peers may still run: {error}");
        }
    }
}

/// Also those that a failure has left.
fn remove_containers(client: &Client, kind: Kind) -> Result<()> {
    let listed = client.said(&["ps", "--all", "--quiet"])?;
    let names: Vec<&str> = listed.split_whitespace().collect();
    if names.is_empty() {
        return Ok(());
    }
    let mut words = vec!["rm", "-f"];
    if kind == Kind::Podman {
        words.extend(["-t", "0"]);
    }
    words.extend(names);
    client.time(&words).map(drop)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// The part of `text` between `NAME='` and what ends it, `;` or `'`.
fn command_line(text: &str, name: &str) -> Result<String> {
    let begin = format!("{name}='");
    let found = text
        .split_whitespace()
        .any(|word| word.starts_with(&begin))
        .then(|| text.split_once(&begin))
        .flatten();
    let (_, rest) = found.with_context(|| format!("{SCRIPT} env names no {name}"))?;
    let end = rest.find([';', '\'']).unwrap_or(rest.len());
    Ok(rest.get(..end).unwrap_or_default().to_owned())
}

fn variables(text: &str) -> Vec<(String, String)> {
    text.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .filter(|(name, _)| VARIABLES.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn client(
    label: &str,
    line: &str,
    environment: &[(String, String)],
    complaints: &Path,
) -> Result<Client> {
    let mut words = line.split_whitespace();
    let program = words
        .next()
        .with_context(|| format!("{label} has no command line"))?;
    Ok(Client {
        label: label.to_owned(),
        program: program.into(),
        arguments: words.map(str::to_owned).collect(),
        environment: environment.to_vec(),
        complaints: complaints.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_answer() {
        let text = "export CONTAINERS_CONF=/p/c.conf DOCKER_CONFIG=/p/d\n\
            DOCKER='/bin/docker -H unix:///p/s;pid=/p/x;restart=y' PODMAN_CRUN='podman --runtime crun'\n";
        assert_eq!(
            command_line(text, "DOCKER").ok().as_deref(),
            Some("/bin/docker -H unix:///p/s")
        );
        assert_eq!(
            command_line(text, "PODMAN_CRUN").ok().as_deref(),
            Some("podman --runtime crun")
        );
        assert!(command_line(text, "PODMAN_RUNC").is_err());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            variables(text),
            [
                pair("CONTAINERS_CONF", "/p/c.conf"),
                pair("DOCKER_CONFIG", "/p/d")
            ]
        );
    }
}
