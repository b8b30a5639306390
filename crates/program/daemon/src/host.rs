//! What the host is: read once at start.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use berth_sys::{cgroup, rustix};
use berth_types::oci::Device;

/// Deepest directory below `/dev` that device nodes are looked for in.
const DEV_DEPTH: u32 = 4;
/// Most device nodes that a privileged container gets.
const DEVICES_MAX: usize = 1024;

/// Facts about the host.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// The kernel's release.
    pub kernel: String,
    /// The machine, `x86_64`.
    pub machine: String,
    /// `PRETTY_NAME` of its distribution.
    pub operating_system: String,
    /// `VERSION_ID` of its distribution.
    pub os_version: String,
    /// Processors that this process may use.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// Version of the control groups in use, 1 or 2.
    pub cgroup_version: u8,
    /// Who makes containers' control groups: `cgroupfs` or `systemd`.
    pub cgroup_driver: &'static str,
    /// Which limits containers can have; see [`Host::look_at_groups`].
    pub support: cgroup::Support,
}

impl Host {
    /// Reads the facts; what cannot be read is left empty.
    pub fn read() -> Self {
        let uname = rustix::system::uname();
        let text = |s: &std::ffi::CStr| s.to_string_lossy().into_owned();
        let release = fs::read_to_string("/etc/os-release")
            .or_else(|_| fs::read_to_string("/usr/lib/os-release"))
            .unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let layout = match cgroup::Layout::detect().map(|layout| layout.version) {
            Ok(cgroup::Version::V1) => 1,
            _ => 2,
        };
        Self {
            name: text(uname.nodename()),
            kernel: text(uname.release()),
            machine: text(uname.machine()),
            operating_system: os_release(&release, "PRETTY_NAME"),
            os_version: os_release(&release, "VERSION_ID"),
            cpus: u32::try_from(cpus).unwrap_or(1),
            memory: memory(),
            cgroup_version: layout,
            cgroup_driver: "cgroupfs",
            support: cgroup::Support::default(),
        }
    }

    /// Finds out which limits containers can have: `group` is the control group that theirs are made
    /// below, and is there.
    pub fn look_at_groups(&mut self, group: &str) {
        let layout = cgroup::Layout::detect();
        self.support = layout.map(|l| l.support(group)).unwrap_or_default();
        for warning in &self.support.warnings {
            tracing::warn!("{}", warning.trim_start_matches("WARNING: "));
        }
    }
}

fn os_release(text: &str, key: &str) -> String {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or("").trim().trim_matches('"').to_owned()
}

fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Most open files that a process started here may be allowed.
pub fn open_files() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum.unwrap_or(u64::MAX)
}

/// Lets this process have as many open files as it may: each running container costs three, and
/// the usual soft limit is for programs that know no better.
pub fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files is left as it was");
    }
}

/// The device nodes of the host, for privileged containers.
pub fn devices() -> Vec<Device> {
    let mut found = Vec::new();
    walk(Path::new("/dev"), DEV_DEPTH, &mut found);
    found
}

fn walk(dir: &Path, depth: u32, found: &mut Vec<Device>) {
    // What the container has of its own is not the host's.
    const SKIPPED: [&str; 8] = [
        "pts", "shm", "mqueue", "fd", "console", "ptmx", "tty", ".lxc",
    ];
    const STANDARD: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(meta) = fs::symlink_metadata(entry.path()) else {
            continue;
        };
        if found.len() >= DEVICES_MAX || SKIPPED.contains(&name.as_str()) {
            continue;
        }
        let kind = meta.file_type();
        if kind.is_dir() && depth > 0 {
            walk(&entry.path(), depth - 1, found);
        } else if (kind.is_char_device() || kind.is_block_device())
            && !STANDARD.contains(&name.as_str())
        {
            found.push(Device {
                path: entry.path().to_string_lossy().into_owned(),
                kind: if kind.is_char_device() { 'c' } else { 'b' },
                major: rustix::fs::major(meta.rdev()),
                minor: rustix::fs::minor(meta.rdev()),
                file_mode: meta.mode() & 0o7777,
                uid: meta.uid(),
                gid: meta.gid(),
            });
        }
    }
}

/// The id of a group, from `/etc/group`.
pub fn group_id(name: &str) -> Option<u32> {
    if let Ok(id) = name.parse() {
        return Some(id);
    }
    let text = fs::read_to_string("/etc/group").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// A helper program: beside this one, then in `../libexec/berth`; never by `PATH`.
///
/// # Errors
/// It is in neither place.
pub fn helper(name: &str) -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let dir = own.parent().unwrap_or(Path::new("/"));
    let places = [dir.join(name), dir.join("../libexec/berth").join(name)];
    places.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        let dir = dir.display();
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("helper program {name} is neither in {dir} nor in {dir}/../libexec/berth: install it there"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distributions_name_is_unquoted() {
        let text = "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID='12'\n";
        assert_eq!(os_release(text, "PRETTY_NAME"), "Debian GNU/Linux 12");
        assert_eq!(os_release(text, "NOTHING"), "");
    }

    #[test]
    fn root_is_a_group() {
        assert_eq!(group_id("root"), Some(0));
        assert_eq!(group_id("1234"), Some(1234));
        assert_eq!(group_id("no-such-group-here"), None);
    }
}
