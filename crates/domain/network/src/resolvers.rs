//! Name servers for containers, from the host's own.

use std::fs;
use std::net::IpAddr;

use crate::service::Resolvers;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved writes the servers behind its own address 127.0.0.53.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";
/// Most servers, search domains and options that are taken over, each.
const ENTRIES_MAX: usize = 32;

/// What the host resolves names with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Host {
    /// Servers that are reached from everywhere.
    pub(crate) servers: Vec<IpAddr>,
    /// The first server that only the host itself reaches: on its loopback, or by IPv6, which
    /// the default network has not.
    pub(crate) local: Option<IpAddr>,
    search: Vec<String>,
    options: Vec<String>,
}

impl Host {
    /// Without the servers that a container cannot reach.
    pub(crate) fn usable(self) -> Resolvers {
        Resolvers {
            servers: self.servers.iter().map(IpAddr::to_string).collect(),
            search: self.search,
            options: self.options,
        }
    }
}

/// Reads the host's files.
pub(crate) fn of_host() -> Host {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    choose(&read(RESOLV_CONF), &read(BEHIND_STUB))
}

/// The host's own file, unless all its servers are on the loopback and those behind are not.
fn choose(own: &str, behind: &str) -> Host {
    let own = parse(own);
    if !own.servers.is_empty() || own.local.is_none() {
        return own;
    }
    let behind = parse(behind);
    match behind.servers.is_empty() {
        true => own,
        false => Host {
            local: own.local,
            ..behind
        },
    }
}

/// `resolv.conf(5)`: of several `search` or `domain` lines the last counts.
fn parse(text: &str) -> Host {
    let mut host = Host::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (word, rest) = (words.next().unwrap_or_default(), words);
        let all = || rest.clone().take(ENTRIES_MAX).map(str::to_owned).collect();
        match word {
            "nameserver" => {
                // A zone names a link of the host's, which means nothing elsewhere.
                let address = rest
                    .clone()
                    .next()
                    .and_then(|text| text.parse::<IpAddr>().ok());
                match address {
                    Some(address) if address.is_loopback() || address.is_ipv6() => {
                        host.local = host.local.or(Some(address));
                    }
                    Some(address) if host.servers.len() < ENTRIES_MAX => {
                        host.servers.push(address);
                    }
                    _ => {}
                }
            }
            "search" | "domain" => host.search = all(),
            "options" => host.options = all(),
            _ => {}
        }
    }
    host
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(own: &str, behind: &str) -> (Vec<String>, Option<String>) {
        let host = choose(own, behind);
        (
            host.servers.iter().map(IpAddr::to_string).collect(),
            host.local.map(|address| address.to_string()),
        )
    }

    #[test]
    fn servers_that_a_container_reaches() {
        let check = |own: &str, behind: &str, expected: &[&str], local: Option<&str>| {
            let expected = expected.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(
                servers(own, behind),
                (expected, local.map(str::to_owned)),
                "{own:?} {behind:?}"
            );
        };
        let stub = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n";
        check("nameserver 10.0.0.1\n", "", &["10.0.0.1"], None);
        check(
            "nameserver 127.0.0.1\nnameserver 10.0.0.1\n",
            "nameserver 9.9.9.9\n",
            &["10.0.0.1"],
            Some("127.0.0.1"),
        );
        check(
            stub,
            "nameserver 9.9.9.9\n",
            &["9.9.9.9"],
            Some("127.0.0.53"),
        );
        check(stub, "", &[], Some("127.0.0.53"));
        check(stub, "nameserver 127.0.0.53\n", &[], Some("127.0.0.53"));
        check(
            "# nameserver 1.1.1.1\nnameserver ::1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1",
            "",
            &[],
            Some("::1"),
        );
        check("nameserver 2001:db8::1\n", "", &[], Some("2001:db8::1"));
        check("", "nameserver 9.9.9.9\n", &[], None);
    }

    #[test]
    fn search_domains_and_options() {
        let usable =
            parse("domain a.example\nsearch b.example c.example\noptions ndots:2\n").usable();
        assert_eq!(usable.search, ["b.example", "c.example"]);
        assert_eq!(usable.options, ["ndots:2"]);
    }
}
