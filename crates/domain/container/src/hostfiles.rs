//! The three files that every container gets from its engine: `hosts`, `hostname` and
//! `resolv.conf`, made in the container's directory and mounted over the image's.

use std::fmt::Write as _;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use berth_network::{Endpoint, Resolvers};

use crate::record::{Network, Record};
use crate::shared::Shared;
use crate::spec::{HostFacts, hostname};

/// The files, by their name in `/etc` and in the container's directory.
pub const NAMES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// Most of the host's `hosts` or `resolv.conf` that is copied, in bytes.
const COPY_MAX: u64 = 256 << 10;

/// The word in `--add-host` for the address by which the host is reached.
pub const HOST_GATEWAY: &str = "host-gateway";

/// First line of a `resolv.conf` that follows the host's at every start.
const FOLLOWS: &str = "# Written by Berth at every start; take this line out to keep changes.";

/// What the files tell of the container's network.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// The container's own address.
    address: Option<Ipv4Addr>,
    /// Where the host is reached.
    gateway: Option<Ipv4Addr>,
    /// Name servers that work from inside; none for the host's own file.
    resolvers: Option<Resolvers>,
    /// Directory of the container whose network, and files of it, this one has.
    lender: Option<PathBuf>,
}

impl Surroundings {
    /// Asks the network.
    pub(crate) fn of(shared: &Shared, record: &Record, endpoint: Option<&Endpoint>) -> Self {
        let wants_gateway = || {
            record
                .host
                .extra_hosts
                .iter()
                .any(|e| e.ends_with(HOST_GATEWAY))
        };
        match record.host.network {
            Network::Bridge => Self {
                address: endpoint.map(|e| e.address),
                gateway: endpoint.map(|e| e.gateway),
                resolvers: Some(shared.networks.resolvers()),
                lender: None,
            },
            Network::Container(id) => Self {
                lender: Some(shared.storage.paths().state(id)),
                ..Self::default()
            },
            Network::Host if wants_gateway() => Self {
                gateway: shared.networks.summary().map(|summary| summary.gateway),
                ..Self::default()
            },
            Network::Host | Network::None => Self::default(),
        }
    }
}

/// Writes the files of `record` into `dir`, new or again. A file that is already there is kept,
/// for programs in the container may have changed it; but an address is a new one at every start,
/// and so is `hosts` then.
///
/// # Errors
/// The directory cannot be written.
pub(crate) fn write(
    record: &Record,
    facts: &HostFacts,
    dir: &Path,
    around: &Surroundings,
) -> io::Result<()> {
    let name = hostname(record, facts);
    create(&dir.join("hostname"), &format!("{name}\n"))?;
    let (hosts_file, resolv_file) = (dir.join("hosts"), dir.join("resolv.conf"));
    if let Some(lender) = &around.lender {
        let lent = |name: &str| copy(&lender.join(name).to_string_lossy());
        replace(&hosts_file, &lent("hosts"))?;
        return replace(&resolv_file, &lent("resolv.conf"));
    }
    if around.address.is_some() {
        replace(&hosts_file, &hosts(record, name, "", around))?;
    } else {
        create(
            &hosts_file,
            &hosts(record, name, &copy("/etc/hosts"), around),
        )?;
    }
    match &around.resolvers {
        Some(resolvers) if follows(&resolv_file) => {
            replace(&resolv_file, &bridge_resolv_conf(record, resolvers))
        }
        Some(_) => Ok(()),
        None => create(
            &resolv_file,
            &resolv_conf(record, &copy("/etc/resolv.conf")),
        ),
    }
}

/// Whether a `resolv.conf` is not there yet, or is as the engine writes it at every start.
fn follows(path: &Path) -> bool {
    !path.exists() || copy(&path.to_string_lossy()).starts_with(FOLLOWS)
}

/// Writes a file anew, wholly or not at all. The container does not run.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
    {
        Ok(mut file) => io::Write::write_all(&mut file, text.as_bytes()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

fn copy(path: &str) -> String {
    use std::io::Read as _;
    let mut text = String::new();
    if let Ok(file) = std::fs::File::open(path) {
        // A host without the file, or with one that is no text, gives an empty one.
        let _ = file.take(COPY_MAX).read_to_string(&mut text);
    }
    text
}

fn hosts(record: &Record, name: &str, host: &str, around: &Surroundings) -> String {
    let mut out = if record.host.network == Network::Host {
        host.to_owned()
    } else {
        let address = around.address.unwrap_or(Ipv4Addr::LOCALHOST);
        let domain = match record.settings.domainname.as_str() {
            "" => String::new(),
            domain => format!("{name}.{domain} "),
        };
        format!(
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\n\
             ff02::2\tip6-allrouters\n{address}\t{domain}{name}\n"
        )
    };
    for entry in &record.host.extra_hosts {
        if let Some((name, address)) = entry.split_once(':') {
            // An IPv6 address may come in brackets, which the file does not know.
            let address = address.trim_matches(['[', ']']);
            if address != HOST_GATEWAY {
                let _ = writeln!(out, "{address}\t{name}");
            } else if let Some(gateway) = around.gateway {
                let _ = writeln!(out, "{gateway}\t{name}");
            }
        }
    }
    out
}

fn resolv_conf(record: &Record, host: &str) -> String {
    let own = &record.host;
    if own.dns.is_empty() && own.dns_search.is_empty() && own.dns_options.is_empty() {
        return host.to_owned();
    }
    let of_host = |word: &str| {
        host.lines()
            .filter(|l| l.starts_with(word))
            .map(|l| format!("{l}\n"))
            .collect::<String>()
    };
    let mut out = String::new();
    if own.dns.is_empty() {
        out.push_str(&of_host("nameserver"));
    }
    for server in &own.dns {
        let _ = writeln!(out, "nameserver {server}");
    }
    if own.dns_search.is_empty() {
        out.push_str(&of_host("search"));
    } else {
        let _ = writeln!(out, "search {}", own.dns_search.join(" "));
    }
    if own.dns_options.is_empty() {
        out.push_str(&of_host("options"));
    } else {
        let _ = writeln!(out, "options {}", own.dns_options.join(" "));
    }
    out
}

/// The file of a container on the default network: what was asked for, and what is left from the
/// host's, where it works from inside.
fn bridge_resolv_conf(record: &Record, around: &Resolvers) -> String {
    let own = &record.host;
    let or = |own: &[String], other: &[String]| -> Vec<String> {
        let chosen = if own.is_empty() { other } else { own };
        // A single dot asks for none.
        chosen.iter().filter(|v| *v != ".").cloned().collect()
    };
    let mut out = format!("{FOLLOWS}\n");
    for server in or(&own.dns, &around.servers) {
        let _ = writeln!(out, "nameserver {server}");
    }
    for (word, list) in [
        ("search", or(&own.dns_search, &around.search)),
        ("options", or(&own.dns_options, &around.options)),
    ] {
        if !list.is_empty() {
            let _ = writeln!(out, "{word} {}", list.join(" "));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{HostSettings, Settings, State};
    use berth_types::{ContainerId, Digest, Scope, Timestamp};

    fn record(host: HostSettings, settings: Settings) -> Record {
        Record {
            id: ContainerId::from_bytes([1; 32]),
            name: "box".into(),
            owner: Scope::root(),
            created: Timestamp::from_nanos(0),
            image: Digest::from_sha256([1; 32]),
            image_owner: Scope::root(),
            image_name: "img".into(),
            layers: vec![],
            settings,
            host,
            state: State::created(),
            forms: crate::Forms::default(),
        }
    }

    fn around() -> Surroundings {
        Surroundings {
            address: Some(Ipv4Addr::new(172, 17, 0, 2)),
            gateway: Some(Ipv4Addr::new(172, 17, 0, 1)),
            resolvers: Some(Resolvers {
                servers: vec!["9.9.9.9".into()],
                search: vec!["example.org".into()],
                options: vec![],
            }),
            lender: None,
        }
    }

    #[test]
    fn hosts_has_the_own_address_and_the_hosts() {
        let host = HostSettings {
            network: Network::Bridge,
            extra_hosts: vec!["gate:host-gateway".into(), "six:[::2]".into()],
            ..HostSettings::default()
        };
        let settings = Settings {
            domainname: "lab".into(),
            ..Settings::default()
        };
        let text = hosts(&record(host, settings), "box", "", &around());
        for line in ["172.17.0.2\tbox.lab box", "172.17.0.1\tgate", "::2\tsix"] {
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
        assert!(!text.contains("127.0.0.1\tbox"), "{text}");
    }

    #[test]
    fn name_servers_follow_until_somebody_keeps_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let record = record(
            HostSettings {
                network: Network::Bridge,
                dns_search: vec![".".into()],
                ..HostSettings::default()
            },
            Settings {
                hostname: "box".into(),
                ..Settings::default()
            },
        );
        let facts = HostFacts {
            cgroup_parent: String::new(),
            scopes: None,
            devices: vec![],
            hostname: "host".into(),
            capabilities: berth_sys::caps::CapSet::ALL,
            open_files: 1,
        };
        let mut around = around();
        write(&record, &facts, dir.path(), &around).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{FOLLOWS}\nnameserver 9.9.9.9\n"));
        around.resolvers = Some(Resolvers::default());
        write(&record, &facts, dir.path(), &around).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            format!("{FOLLOWS}\n")
        );
        std::fs::write(&path, "nameserver 1.1.1.1\n").unwrap();
        write(&record, &facts, dir.path(), &around).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "nameserver 1.1.1.1\n"
        );
    }
}
