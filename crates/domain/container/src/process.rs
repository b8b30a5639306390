//! The process half of a launch: what runs, and with which rights. A container's own program and
//! every further process in it come from here, so that neither has a right that the other lacks.

use berth_types::oci::{self, ConsoleSize};

use crate::error::ContainerError;
use crate::exec::ExecSettings;
use crate::record::{HostSettings, Record};
use crate::spec::{HostFacts, capabilities, hostname};

/// Search path of a container whose image has none.
pub(crate) const DEFAULT_PATH: &str =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a terminal is called unless the container says otherwise (Docker's word).
const TERM: &str = "TERM=xterm";
/// Soft and hard limit of open files (Docker 29's default: an unlimited soft limit makes old
/// programs loop over a thousand million descriptors).
pub(crate) const NOFILE: (u64, u64) = (1024, 524_288);

/// The container's own program.
pub(crate) fn main(record: &Record, facts: &HostFacts) -> Result<oci::Process, ContainerError> {
    let settings = &record.settings;
    let [height, width] = record.host.console_size;
    Ok(oci::Process {
        terminal: settings.tty,
        console_size: size(settings.tty, ConsoleSize { height, width }),
        args: record.command(),
        env: environment(record, facts, settings.tty),
        cwd: cwd(&settings.working_dir),
        ..rights(&record.host, facts)?
    })
}

/// A further process: the container's settings with those of the request over them.
pub(crate) fn further(
    record: &Record,
    facts: &HostFacts,
    own: &ExecSettings,
    console: Option<ConsoleSize>,
) -> Result<oci::Process, ContainerError> {
    let rights = if own.privileged && !record.host.privileged {
        let all = HostSettings {
            privileged: true,
            ..record.host.clone()
        };
        rights(&all, facts)?
    } else {
        rights(&record.host, facts)?
    };
    let mut env = environment(record, facts, own.tty);
    for entry in &own.env {
        let name = entry.split('=').next().unwrap_or_default();
        let same = |e: &String| e.split('=').next() == Some(name);
        let at = env.iter().position(same);
        match (at, entry.contains('=')) {
            (Some(at), true) => env[at].clone_from(entry),
            (None, true) => env.push(entry.clone()),
            // A name alone takes the container's variable away.
            (Some(at), false) => drop(env.remove(at)),
            (None, false) => {}
        }
    }
    let dir = if own.working_dir.is_empty() {
        &record.settings.working_dir
    } else {
        &own.working_dir
    };
    Ok(oci::Process {
        terminal: own.tty,
        console_size: console.and_then(|console| size(own.tty, console)),
        args: own.command.clone(),
        env,
        cwd: cwd(dir),
        ..rights
    })
}

/// The part that does not depend on what runs.
fn rights(host: &HostSettings, facts: &HostFacts) -> Result<oci::Process, ContainerError> {
    let caps: Vec<String> = capabilities(host, facts.capabilities)?
        .iter()
        .map(|c| c.name().to_owned())
        .collect();
    Ok(oci::Process {
        capabilities: Some(oci::Capabilities {
            bounding: caps.clone(),
            effective: caps.clone(),
            permitted: caps,
            ..oci::Capabilities::default()
        }),
        rlimits: rlimits(host, facts.open_files),
        no_new_privileges: no_new_privileges(host),
        oom_score_adj: Some(host.oom_score_adj),
        ..oci::Process::default()
    })
}

/// The container's variables, behind those that the engine adds where it has none of that name.
fn environment(record: &Record, facts: &HostFacts, tty: bool) -> Vec<String> {
    let own = &record.settings.env;
    let has = |name: &str| own.iter().any(|e| e.starts_with(name));
    let mut env = Vec::with_capacity(own.len() + 3);
    if !has("PATH=") {
        env.push(DEFAULT_PATH.to_owned());
    }
    if !has("HOSTNAME=") {
        env.push(format!("HOSTNAME={}", hostname(record, facts)));
    }
    if tty && !has("TERM=") {
        env.push(TERM.to_owned());
    }
    env.extend(own.iter().cloned());
    env
}

fn cwd(dir: &str) -> String {
    if dir.is_empty() { "/" } else { dir }.to_owned()
}

/// The size of a terminal at its start, where there is one and the client said.
fn size(tty: bool, size: ConsoleSize) -> Option<ConsoleSize> {
    (tty && size != ConsoleSize::default()).then_some(size)
}

fn rlimits(host: &HostSettings, open_files: u64) -> Vec<oci::Rlimit> {
    let value = |n: i64| u64::try_from(n).unwrap_or(u64::MAX);
    let mut limits: Vec<oci::Rlimit> = host
        .ulimits
        .iter()
        .map(|(name, soft, hard)| oci::Rlimit {
            kind: format!("RLIMIT_{}", name.to_ascii_uppercase()),
            soft: value(*soft),
            hard: value(*hard),
        })
        .collect();
    if !limits.iter().any(|l| l.kind == "RLIMIT_NOFILE") {
        let (soft, hard) = (NOFILE.0.min(open_files), NOFILE.1.min(open_files));
        limits.push(oci::Rlimit {
            kind: "RLIMIT_NOFILE".into(),
            soft,
            hard,
        });
    }
    limits
}

fn no_new_privileges(host: &HostSettings) -> bool {
    host.security_opt.iter().any(|o| {
        matches!(
            o.as_str(),
            "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true"
        )
    })
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
