//! Other engines on this machine, through `dev/peers-setup.sh`, for columns of the same table.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use berth_testkit::{Engine, busybox_rootfs_tar};

use super::IMAGE;
use super::client::Client;

/// A daemon that makes no bridge and no firewall rules: nothing of it is used, and it would stay.
const DOCKERD: &str = "--bridge none --iptables=false --ip6tables=false";
/// What the script's `env` sets, beside the command lines.
const VARIABLES: [&str; 4] = [
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
    "PODMAN_IGNORE_CGROUPSV1_WARNING",
    "DOCKER_CONFIG",
];

/// The peers that are installed, with their files in the measured engine's directory. Dropping
/// it ends the daemon it has started.
pub struct Peers {
    pub clients: Vec<Client>,
    script: PathBuf,
    directory: PathBuf,
}

impl Peers {
    /// Starts what is installed, gives it the image, and says what is not installed.
    pub fn start(root: &Path, engine: &Engine) -> Result<Self> {
        let mut peers = Self {
            clients: Vec::new(),
            script: root.join("dev/peers-setup.sh"),
            directory: engine.scratch().join("p"),
        };
        let docker = is_installed("dockerd") && is_installed("containerd");
        let podman = is_installed("podman") && is_installed("crun");
        for (name, there) in [
            ("dockerd with containerd", docker),
            ("podman with crun", podman),
        ] {
            if !there {
                println!(
                    "No column for {name}: not installed (`dev/peers-setup.sh install` does)."
                );
            }
        }
        println!();
        if docker {
            peers.said("start")?;
        }
        if docker || podman {
            let lines = peers.said("env")?;
            let complaints = engine.scratch().join("complaints");
            let environment = variables(&lines);
            for (label, command, there) in [
                ("dockerd", "DOCKER", docker),
                ("podman and crun", "PODMAN_CRUN", podman),
            ] {
                if there {
                    peers.clients.push(client(
                        label,
                        &command_line(&lines, command)?,
                        &environment,
                        &complaints,
                    )?);
                }
            }
        }
        let archive = busybox_rootfs_tar();
        for client in &peers.clients {
            client.time(&["import", &archive.to_string_lossy(), IMAGE])?;
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
        command
            .arg(verb)
            .env("PEERS_DIR", &self.directory)
            .env("DOCKERD_ARGS", DOCKERD)
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        if let Err(error) = self.command("stop").status() {
            eprintln!("bench: the peers may still run: {error}");
        }
    }
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
    let (_, rest) = found.with_context(|| format!("dev/peers-setup.sh env names no {name}"))?;
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
