//! The three files that every container gets from its engine: `hosts`, `hostname` and
//! `resolv.conf`, made in the container's directory and mounted over the image's.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::record::{Network, Record};
use crate::spec::{HostFacts, hostname};

/// The files, by their name in `/etc` and in the container's directory.
pub const NAMES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// Most of the host's `hosts` or `resolv.conf` that is copied, in bytes.
const COPY_MAX: u64 = 256 << 10;

/// Writes the files of `record` into `dir`, new or again. A file that is already there is kept:
/// programs in the container may have changed it.
///
/// # Errors
/// The directory cannot be written.
pub fn write(record: &Record, facts: &HostFacts, dir: &Path) -> io::Result<()> {
    let name = hostname(record, facts);
    create(&dir.join("hostname"), &format!("{name}\n"))?;
    create(
        &dir.join("hosts"),
        &hosts(record, name, &copy("/etc/hosts")),
    )?;
    create(
        &dir.join("resolv.conf"),
        &resolv_conf(record, &copy("/etc/resolv.conf")),
    )
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

fn hosts(record: &Record, name: &str, host: &str) -> String {
    let mut out = if record.host.network == Network::Host {
        host.to_owned()
    } else {
        format!(
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\n\
             ff02::2\tip6-allrouters\n127.0.0.1\t{name}\n"
        )
    };
    for entry in &record.host.extra_hosts {
        if let Some((name, address)) = entry.split_once(':') {
            // An IPv6 address may come in brackets, which the file does not know.
            let address = address.trim_matches(['[', ']']);
            let _ = writeln!(out, "{address}\t{name}");
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
