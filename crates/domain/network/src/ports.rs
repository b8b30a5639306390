//! Ports of the host that are published: each is held by a socket, so that no other program gets
//! it and a program that has it is noticed. The sockets carry nothing; the firewall redirects
//! what is addressed to them.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use berth_sys::rustix;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::endpoint::{PortRange, PortRequest, Protocol, Published};

/// Where the kernel says which ports it picks from by itself.
const KERNEL_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Where an administrator says which of them it must not.
const KERNEL_RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
/// What the kernel's range is by default.
const DEFAULT_RANGE: (u16, u16) = (32_768, 60_999);

/// Why a port cannot be published: a sentence for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) String);

/// Who holds a port: an address and, where the kernel knows the protocol, a socket.
type Holder = (Ipv4Addr, Option<OwnedFd>);

/// The ports that are published.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    held: BTreeMap<(Protocol, u16), Vec<Holder>>,
    /// The last one picked of the kernel's range.
    picked: u16,
}

impl Ports {
    /// Reserves a port for a request.
    pub(crate) fn reserve(&mut self, request: &PortRequest) -> Result<Published, Refusal> {
        let published = |host_port| Published {
            protocol: request.protocol,
            container_port: request.container_port,
            host_address: request.host_address,
            host_port,
        };
        let PortRange { first, last } = request.host_port;
        if first == 0 {
            return self.pick(request).map(published);
        }
        let mut refusal = None;
        for port in first..=last {
            match self.hold(request.protocol, request.host_address, port) {
                Ok(()) => return Ok(published(port)),
                Err(reason) => refusal = refusal.or(Some(reason)),
            }
        }
        let of_one = refusal.filter(|_| first == last);
        Err(of_one.unwrap_or_else(|| {
            let address = request.host_address;
            Refusal(format!(
                "Bind for {address}:{first}-{last} failed: all ports are allocated"
            ))
        }))
    }

    /// Takes up a port that an earlier engine published. Its redirection is in force, so a
    /// program that has the port by now changes nothing; another container does.
    pub(crate) fn adopt(&mut self, port: &Published) -> Result<(), Refusal> {
        let (protocol, address) = (port.protocol, port.host_address);
        self.unheld(protocol, address, port.host_port)?;
        let socket = bind(protocol, address, port.host_port).unwrap_or_else(|error| {
            tracing::warn!(
                port = port.host_port,
                protocol = protocol.word(),
                %error,
                "another program has a published port; the container still answers on it"
            );
            None
        });
        self.insert(protocol, port.host_port, (address, socket));
        Ok(())
    }

    /// Gives a port back.
    pub(crate) fn release(&mut self, port: &Published) {
        let key = (port.protocol, port.host_port);
        if let Some(holders) = self.held.get_mut(&key) {
            holders.retain(|(address, _)| *address != port.host_address);
            if holders.is_empty() {
                self.held.remove(&key);
            }
        }
    }

    /// Picks the next free port of the kernel's range, after the one picked last.
    fn pick(&mut self, request: &PortRequest) -> Result<u16, Refusal> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (first, last) = range(&read(KERNEL_RANGE)).unwrap_or(DEFAULT_RANGE);
        let reserved = reserved(&read(KERNEL_RESERVED));
        let next = match self.picked {
            picked if (first..last).contains(&picked) => picked + 1,
            _ => first,
        };
        for port in (next..=last).chain(first..next) {
            let is_reserved = reserved
                .iter()
                .any(|(from, to)| (from..=to).contains(&&port));
            if !is_reserved
                && self
                    .hold(request.protocol, request.host_address, port)
                    .is_ok()
            {
                self.picked = port;
                return Ok(port);
            }
        }
        let address = request.host_address;
        Err(Refusal(format!(
            "Bind for {address}:0 failed: no free port from {first} to {last}"
        )))
    }

    fn hold(&mut self, protocol: Protocol, address: Ipv4Addr, port: u16) -> Result<(), Refusal> {
        self.unheld(protocol, address, port)?;
        let socket = bind(protocol, address, port).map_err(|error| {
            let why = match error {
                Errno::ADDRINUSE => "address already in use by another program".to_owned(),
                Errno::ADDRNOTAVAIL => {
                    "cannot assign requested address: the host has no such address".to_owned()
                }
                error => std::io::Error::from(error).to_string(),
            };
            let word = protocol.word();
            Refusal(format!(
                "failed to bind host port {address}:{port}/{word}: {why}"
            ))
        })?;
        self.insert(protocol, port, (address, socket));
        Ok(())
    }

    /// Whether none of our own containers has the port.
    fn unheld(&self, protocol: Protocol, address: Ipv4Addr, port: u16) -> Result<(), Refusal> {
        let all = Ipv4Addr::UNSPECIFIED;
        let holders = self.held.get(&(protocol, port));
        let collides =
            |(holder, _): &Holder| *holder == address || *holder == all || address == all;
        match holders.is_some_and(|holders| holders.iter().any(collides)) {
            false => Ok(()),
            // Clients look for this sentence.
            true => Err(Refusal(format!(
                "Bind for {address}:{port} failed: port is already allocated"
            ))),
        }
    }

    fn insert(&mut self, protocol: Protocol, port: u16, holder: Holder) {
        self.held.entry((protocol, port)).or_default().push(holder);
    }
}

/// A socket bound to the port; none for a protocol that the kernel does not know as a socket's.
fn bind(protocol: Protocol, address: Ipv4Addr, port: u16) -> Result<Option<OwnedFd>, Errno> {
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let open = || {
        rustix::net::socket_with(
            AddressFamily::INET,
            kind,
            SocketFlags::CLOEXEC,
            Some(number),
        )
    };
    let socket = match open() {
        Err(Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT) => return Ok(None),
        result => result?,
    };
    let to = SocketAddrV4::new(address, port);
    match (rustix::net::bind(&socket, &to), protocol) {
        (Ok(()), _) => Ok(Some(socket)),
        // The remains of ended connections of this host hold a port for a minute; a listener
        // may have it in spite of them, and finds out who else listens.
        (Err(Errno::ADDRINUSE), Protocol::Tcp) => {
            let socket = open()?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            rustix::net::bind(&socket, &to)?;
            rustix::net::listen(&socket, 0)?;
            Ok(Some(socket))
        }
        (Err(error), _) => Err(error),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next()?.ok()?, numbers.next()?.ok()?) {
        (first, last) if 0 < first && first <= last => Some((first, last)),
        _ => None,
    }
}

/// `80,8080-8090` as pairs.
fn reserved(text: &str) -> Vec<(u16, u16)> {
    let one = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
    };
    text.split(',').filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_settings_are_read() {
        assert_eq!(range("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(range("9 3"), None);
        assert_eq!(range(""), None);
        assert_eq!(reserved("80,8080-8090\n"), [(80, 80), (8080, 8090)]);
        assert_eq!(reserved("\n"), []);
    }
}
