//! A container's namespace and the link that leads out of it.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use berth_sys::netlink::socket::Socket;
use berth_sys::netlink::{LOOPBACK_INDEX, route};
use berth_sys::netns;
use berth_sys::rustix::io::Errno;
use berth_types::{ContainerId, InstallId};

use crate::bridge::Bridge;
use crate::error::NetworkError;
use crate::network::random_hex;
use crate::sysctl;

/// What the link is called inside.
pub(crate) const INSIDE: &str = "eth0";
/// Its number inside: fixed, so that one request can make the link and the next ones speak of
/// it, and above those of the tunnel links that some kernels put into every namespace.
pub(crate) const INSIDE_INDEX: u32 = 16;
/// Hardware address of a link that is nobody's yet.
pub(crate) const NO_MAC: [u8; 6] = [0x02, 0x42, 0, 0, 0, 0];
/// A container on the default network has no IPv6, and believes no router that offers it.
const INSIDE_SETTINGS: [(&str, &str); 2] = [("accept_ra", "0"), ("disable_ipv6", "1")];
/// Says whether packets between ports of a bridge pass the firewall.
const BRIDGE_FIREWALL: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// Ports that a bridge of the kernel can have.
const PORTS_MAX: u32 = 1023;

/// What a link is made of.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) id: ContainerId,
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u32,
    /// Whether other containers are reached.
    pub(crate) talk: bool,
}

/// The alias of every link of an engine begins with this; the container's id follows.
pub(crate) fn alias_prefix(install: InstallId) -> String {
    format!("berth-{install}:")
}

/// Makes a namespace with a link to the bridge. When it fails, nothing is left.
pub(crate) fn make(
    host: &mut Socket,
    home: &OwnedFd,
    bridge: &Bridge,
    install: InstallId,
    wanted: &Wanted,
) -> Result<OwnedFd, NetworkError> {
    let (namespace, mut inside) = self::namespace()?;
    let address = route::Address {
        link: INSIDE_INDEX,
        address: wanted.address,
        prefix: bridge.subnet.prefix(),
    };
    let pair = route::Pair {
        name: INSIDE,
        index: INSIDE_INDEX,
        mac: wanted.mac,
        mtu: wanted.mtu,
        peer: &wanted.name,
        namespace: home.as_fd(),
    };
    let requests = vec![
        route::make_pair(&pair),
        route::set_up(LOOPBACK_INDEX),
        route::add_address(&address),
        route::add_default_route(bridge.gateway, INSIDE_INDEX),
    ];
    let what = format!("cannot make the link {} of a container", wanted.name);
    inside.transact(requests).map_err(kernel(what))?;

    let alias = format!("{}{}", alias_prefix(install), wanted.id);
    connect(host, &mut inside, bridge, &wanted.name, &alias, wanted.talk)?;
    Ok(namespace)
}

/// A new namespace, with a socket in it.
pub(crate) fn namespace() -> Result<(OwnedFd, Socket), NetworkError> {
    netns::create(prepare).map_err(kernel("cannot make a network namespace"))
}

/// Makes the host's end of a new link a port of the bridge. Both ends carry packets when it is
/// done.
pub(crate) fn connect(
    host: &mut Socket,
    inside: &mut Socket,
    bridge: &Bridge,
    name: &str,
    alias: &str,
    talk: bool,
) -> Result<(), NetworkError> {
    let joined = join(host, bridge, name, alias, talk).and_then(|()| {
        // That a link has its other end now is worked through in a queue of the kernel, and what
        // is sent before is dropped; a first question would be repeated only after a second. To
        // ask for a link makes the kernel do that work at once (Linux 6.8; earlier ones do it
        // when they do).
        route::link_named(host, name)?;
        route::link_numbered(inside, INSIDE_INDEX)?;
        route::link_numbered(host, bridge.index())
    });
    let what = format!(
        "cannot connect the link {name} to the bridge {}",
        bridge.name
    );
    joined
        .map(drop)
        .map_err(|source| not_joined(&bridge.name, what, source))
}

/// Whether packets between ports of a bridge pass the firewall.
pub(crate) fn through_firewall() -> bool {
    std::fs::read(BRIDGE_FIREWALL).is_ok_and(|value| value.starts_with(b"1"))
}

/// A name for the host's end of a link.
pub(crate) fn random_name() -> Result<String, NetworkError> {
    Ok(format!("veth{:.7}", random_hex::<4>()?))
}

/// The kernel numbers the ports of a bridge with ten bits (`BR_MAX_PORTS`), whatever the subnet
/// has room for.
fn not_joined(bridge: &str, what: String, source: io::Error) -> NetworkError {
    match Errno::from_io_error(&source) {
        Some(Errno::XFULL) => NetworkError::Unavailable(format!(
            "the bridge {bridge} has {PORTS_MAX} links, which is the most that Linux connects to one: stop containers on the network bridge, or start some with --network none, host or container:NAME"
        )),
        _ => kernel(what)(source),
    }
}

/// Makes a link in the host a port of the bridge.
pub(crate) fn join(
    host: &mut Socket,
    bridge: &Bridge,
    name: &str,
    alias: &str,
    talk: bool,
) -> io::Result<()> {
    let through_firewall = through_firewall();
    let port = route::Port {
        name,
        bridge: bridge.index(),
        alias,
        hairpin: through_firewall,
        // Where the firewall sees what passes between ports it decides that by itself.
        isolated: !talk && !through_firewall,
    };
    host.transact(route::join_bridge(&port))
}

fn prepare() -> io::Result<Socket> {
    for (name, value) in INSIDE_SETTINGS {
        sysctl::set(&sysctl::of_link("ipv6", "default", name), value)?;
    }
    route::open()
}

/// Makes the error of what the kernel refused.
pub(crate) fn kernel(what: impl Into<String>) -> impl FnOnce(io::Error) -> NetworkError {
    let what = what.into();
    move |source| NetworkError::Kernel { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bridge_is_told_from_a_kernel_that_refuses() {
        let told = |errno: Errno| not_joined("br", "cannot connect".into(), errno.into());
        assert!(told(Errno::XFULL).to_string().contains("has 1023 links"));
        assert!(matches!(told(Errno::PERM), NetworkError::Kernel { .. }));
    }
}
