//! What engines and their helpers hold, from `/proc/PID/smaps_rollup`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use berth_testkit::Engine;

use super::driver::Kind;
use super::samples::Samples;

/// The monitor as it shows in a list of processes.
const MONITOR: &str = "berth-shim";
const KIB_PER_MIB: f64 = 1024.0;

/// Network namespaces that are made to see what one takes.
const NAMESPACES: u32 = 100;
/// Becomes, again and again, a shell in a further network namespace, holding the one it comes
/// from; says what the kernel has grown by, in KiB.
const NAMESPACE_BY_NAMESPACE: &str = r#"
kernel() { awk '/^(Slab|Percpu|KernelStack):/ { sum += $2 } END { print sum }' /proc/meminfo; }
left=$1 before=${3:-$(kernel)}
if [ "$left" = 0 ]; then echo $(($(kernel) - before)); exit; fi
eval "exec $((left + 20))</proc/self/ns/net"
exec unshare --net bash -c 'ip link set lo up && exec bash -c "$2" bash "$1" "$2" "$3"' bash $((left - 1)) "$2" "$before"
"#;

/// Memory of one process in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// Its own pages, and its share of those that several processes map.
    proportional: f64,
    /// Pages that nobody else maps: what its end would free.
    private: f64,
}

/// How the processes of an engine are found.
pub enum Source<'a> {
    Engine(&'a Engine),
    /// Those whose command line names the peers' directory.
    Peer(Kind, PathBuf),
}

/// An engine at one moment.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    daemon: Memory,
    /// One for each helper process; those of containers are none.
    helpers: Vec<Memory>,
}

/// What a process is to its engine.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    Daemon,
    Helper,
}

impl Source<'_> {
    pub fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        for (process, role) in self.processes()? {
            // A process that has ended since it was listed holds nothing.
            let Ok(memory) = of_process(process) else {
                continue;
            };
            match role {
                Role::Daemon => usage.daemon = usage.daemon.plus(memory),
                Role::Helper => usage.helpers.push(memory),
            }
        }
        Ok(usage)
    }

    fn processes(&self) -> Result<Vec<(u32, Role)>> {
        match self {
            Self::Engine(engine) => {
                let id = engine.id().context("the engine runs")?;
                let monitors = engine
                    .processes()
                    .into_iter()
                    .filter(|(process, line)| *process != id && line.contains(MONITOR))
                    .map(|(process, _)| (process, Role::Helper));
                Ok([(id, Role::Daemon)].into_iter().chain(monitors).collect())
            }
            Self::Peer(kind, directory) => {
                let directory = directory.to_string_lossy();
                let mut found = Vec::new();
                for entry in fs::read_dir("/proc").context("listing processes")? {
                    let name = entry.context("listing processes")?.file_name();
                    let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
                        continue;
                    };
                    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
                    let line = String::from_utf8_lossy(&line).replace('\0', " ");
                    if line.contains(&*directory)
                        && let Some(role) = role(*kind, &line)
                    {
                        found.push((process, role));
                    }
                }
                Ok(found)
            }
        }
    }
}

/// By the command line. What follows a process of `podman exec` for minutes is no container's.
fn role(kind: Kind, line: &str) -> Option<Role> {
    let program = line.split(' ').next()?;
    let program = program.rsplit('/').next()?;
    match (kind, program) {
        (Kind::Docker, "dockerd" | "containerd") => Some(Role::Daemon),
        (Kind::Docker, "containerd-shim-runc-v2") => Some(Role::Helper),
        (Kind::Podman, "podman") if line.contains("system service") => Some(Role::Daemon),
        (Kind::Podman, "conmon") if !line.contains("--exec-process-spec") => Some(Role::Helper),
        _ => None,
    }
}

impl Memory {
    fn plus(self, other: Self) -> Self {
        Self {
            proportional: self.proportional + other.proportional,
            private: self.private + other.private,
        }
    }

    fn cell(self, decimals: usize) -> String {
        let Self {
            proportional,
            private,
        } = self;
        format!("{proportional:.decimals$} ({private:.decimals$})")
    }
}

impl Usage {
    fn all(&self) -> Memory {
        let helpers = self.helpers.iter().copied();
        helpers.fold(self.daemon, Memory::plus)
    }

    /// Medians over the helpers.
    fn helper(&self) -> Option<Memory> {
        let median = |of: fn(&Memory) -> f64| {
            let mut samples = Samples::default();
            self.helpers
                .iter()
                .map(of)
                .for_each(|one| samples.push(one));
            samples.median()
        };
        Some(Memory {
            proportional: median(|memory| memory.proportional)?,
            private: median(|memory| memory.private)?,
        })
    }
}

/// The memory of a process as the kernel adds it up.
pub fn of_process(id: u32) -> Result<Memory> {
    let path = format!("/proc/{id}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    parse(&text).with_context(|| format!("{path} lacks a line:\n{text}"))
}

fn parse(text: &str) -> Option<Memory> {
    let of = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let number = line.trim().strip_suffix("kB")?.trim();
        Some(number.parse::<f64>().ok()? / KIB_PER_MIB)
    };
    Some(Memory {
        proportional: of("Pss:")?,
        private: of("Private_Clean:")? + of("Private_Dirty:")?,
    })
}

/// What the kernel holds for a network namespace with its loopback, in MiB: in the account of no
/// process. Only as exact as the machine is quiet.
pub fn of_namespace() -> Result<f64> {
    let output = Command::new("bash")
        .args([
            "-c",
            NAMESPACE_BY_NAMESPACE,
            "bash",
            &NAMESPACES.to_string(),
        ])
        .arg(NAMESPACE_BY_NAMESPACE)
        .output()
        .context("starting bash")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let grown: f64 = said.trim().parse().with_context(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        format!("network namespaces: {said:?} {complaint}")
    })?;
    Ok(grown / KIB_PER_MIB / f64::from(NAMESPACES))
}

/// Every engine: freshly started, before many containers, and while `count` of them sleep.
pub struct Account {
    pub labels: Vec<String>,
    pub fresh: Vec<Usage>,
    pub before: Vec<Usage>,
    pub many: Vec<Usage>,
    pub count: u32,
    /// Of one network namespace, where some are made ahead; see [`of_namespace`].
    pub namespace: Option<f64>,
}

impl Account {
    /// PSS and, in parentheses, private memory.
    pub fn markdown(&self) -> String {
        let count = self.count;
        let mut text = "| |".to_owned();
        for label in &self.labels {
            let _ = write!(text, " {label} |");
        }
        let _ = writeln!(text, "\n|---|{}", "---|".repeat(self.labels.len()));
        let mut row = |name: &str, cells: Vec<String>| {
            let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
        };
        let each = |usages: &[Usage], cell: &dyn Fn(&Usage) -> String| {
            usages.iter().map(cell).collect::<Vec<_>>()
        };
        row(
            "daemon, freshly started",
            each(&self.fresh, &|usage| usage.daemon.cell(1)),
        );
        row(
            "processes made ahead, freshly started",
            each(&self.fresh, &|usage| match usage.helper() {
                Some(one) => format!("{} x {}", usage.helpers.len(), one.cell(2)),
                None => "none".to_owned(),
            }),
        );
        let namespace = self.namespace.map(|one| {
            format!("\nA network namespace made ahead, in the kernel's account: {one:.2} MiB.\n")
        });
        if self.many.is_empty() {
            return text + &namespace.unwrap_or_default();
        }
        row(
            "daemon, after the rows above",
            each(&self.before, &|usage| usage.daemon.cell(1)),
        );
        row(
            &format!("daemon, {count} running"),
            each(&self.many, &|usage| usage.daemon.cell(1)),
        );
        row(
            &format!("helper of one idle container of {count}"),
            each(&self.many, &|usage| {
                usage
                    .helper()
                    .map_or_else(|| "-".to_owned(), |one| one.cell(2))
            }),
        );
        let grown = self.before.iter().zip(&self.many).map(|(before, many)| {
            let grown = many.all().proportional - before.all().proportional;
            format!("{:.2}", grown / f64::from(count))
        });
        row(
            &format!("all processes of the engine: growth by {count} containers / {count}"),
            grown.collect(),
        );
        for (label, usage) in self.labels.iter().zip(&self.many) {
            if u32::try_from(usage.helpers.len()).unwrap_or(u32::MAX) < count {
                let found = usage.helpers.len();
                let _ = writeln!(
                    text,
                    "\nNot so for {label}: {found} helpers for {count} containers."
                );
            }
        }
        text + &namespace.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_sums() {
        let text = "400000-7ff rollup\nRss:  4096 kB\nPss:   2048 kB\nPss_Dirty:  8 kB\n\
            Private_Clean:   512 kB\nPrivate_Dirty:   256 kB\n";
        let expected = Memory {
            proportional: 2.0,
            private: 0.75,
        };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("Rss: 1 kB\n"), None);
    }

    #[test]
    fn our_own() {
        let own = of_process(std::process::id()).unwrap();
        assert!(
            own.private > 0.0 && own.proportional >= own.private,
            "{own:?}"
        );
    }

    #[test]
    fn who_is_who() {
        for (kind, line, expected) in [
            (
                Kind::Docker,
                "/usr/sbin/dockerd --data-root /p/d",
                Some(Role::Daemon),
            ),
            (Kind::Docker, "containerd --config /p/c", Some(Role::Daemon)),
            (
                Kind::Docker,
                "/usr/bin/containerd-shim-runc-v2 -namespace moby",
                Some(Role::Helper),
            ),
            (Kind::Docker, "docker -H unix:///p/s ps", None),
            (
                Kind::Podman,
                "podman --runtime crun system service -t 0",
                Some(Role::Daemon),
            ),
            (Kind::Podman, "/usr/bin/conmon -b /p/x", Some(Role::Helper)),
            (
                Kind::Podman,
                "/usr/bin/conmon -e --exec-process-spec /p/x",
                None,
            ),
        ] {
            assert_eq!(role(kind, line), expected, "{line}");
        }
    }
}
