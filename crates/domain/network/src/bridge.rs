//! The bridge that containers hang on: made, or taken up as it is.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use berth_sys::netlink::route::{self, Link};
use berth_sys::netlink::socket::Socket;
use berth_sys::rustix::rand::{GetRandomFlags, getrandom};
use berth_types::InstallId;

use crate::error::NetworkError;
use crate::link::{alias_prefix, kernel};
use crate::service::NetworkConfig;
use crate::subnet::{self, Subnet};
use crate::sysctl;

/// An address of the Internet, to ask the kernel which link leads there. Nothing is sent to it.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
/// MTU of a link where the host has no way out.
const DEFAULT_MTU: u32 = 1500;
/// Smallest and largest MTU of a link that IPv4 runs on.
const MTU_LIMITS: (u32, u32) = (68, 65_535);
/// A bridge that containers are on believes none of them: no router, no redirect, no sender from
/// elsewhere.
const SETTINGS: [(&str, &str, &str); 4] = [
    ("ipv6", "accept_ra", "0"),
    ("ipv6", "accept_redirects", "0"),
    ("ipv4", "accept_redirects", "0"),
    ("ipv4", "secure_redirects", "0"),
];
/// What a bridge is set to beside that if nobody else uses it.
const OWN_SETTINGS: [(&str, &str, &str); 2] =
    [("ipv6", "disable_ipv6", "1"), ("ipv4", "rp_filter", "1")];

/// The bridge.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) name: String,
    /// Its number, another one after somebody removed it and it was made again.
    index: AtomicU32,
    pub(crate) subnet: Subnet,
    pub(crate) gateway: Ipv4Addr,
}

impl Bridge {
    fn new(name: &str, index: u32, gateway: Ipv4Addr, prefix: u8) -> Self {
        Self {
            name: name.to_owned(),
            index: AtomicU32::new(index),
            subnet: Subnet::of(gateway, prefix),
            gateway,
        }
    }

    pub(crate) fn index(&self) -> u32 {
        self.index.load(Ordering::Acquire)
    }

    pub(crate) fn set_index(&self, index: u32) {
        self.index.store(index, Ordering::Release);
    }
}

/// Whether there are links of this engine's, or of an earlier one's, containers.
pub(crate) fn has_links_of(install: InstallId, socket: &mut Socket) -> bool {
    let prefix = alias_prefix(install);
    let links = route::links(socket).unwrap_or_default();
    links.iter().any(|link| link.alias.starts_with(&prefix))
}

/// The alias of a bridge that the engine made.
fn alias(install: InstallId) -> String {
    format!("berth-{install}")
}

/// MTU for the links: what is configured, else that of the way out.
pub(crate) fn mtu(config: &NetworkConfig, socket: &mut Socket) -> u32 {
    let uplink = |socket: &mut Socket| {
        let index = route::way_to(socket, OUTSIDE).ok()??;
        route::link_numbered(socket, index).ok()?
    };
    let mtu = config.mtu.or_else(|| uplink(socket).map(|link| link.mtu));
    mtu.unwrap_or(DEFAULT_MTU).clamp(MTU_LIMITS.0, MTU_LIMITS.1)
}

/// Makes the bridge of that name, or takes up the one that is there.
pub(crate) fn ensure(
    config: &NetworkConfig,
    name: &str,
    socket: &mut Socket,
) -> Result<Bridge, NetworkError> {
    check(name, config)?;
    let refused = |what: &str| kernel(format!("cannot {what} the bridge {name}"));
    let found = route::link_named(socket, name).map_err(refused("look for"))?;
    if let Some(link) = &found
        && link.kind != "bridge"
    {
        let kind = if link.kind.is_empty() {
            "device"
        } else {
            &link.kind
        };
        return Err(NetworkError::Unavailable(format!(
            "the host has a link {name} that is a {kind} and no bridge: choose another name with --bridge, or rename that link"
        )));
    }
    let bridge = match found {
        Some(link) => take_up(config, &link, socket)?,
        None => make(config, name, socket)?,
    };
    for (family, setting, value) in SETTINGS {
        set(name, family, setting, value)?;
    }
    route_up(socket, bridge.index()).map_err(refused("bring up"))?;
    Ok(bridge)
}

fn check(name: &str, config: &NetworkConfig) -> Result<(), NetworkError> {
    let bad = |c: char| c == '/' || c == ':' || c == '%' || c.is_whitespace() || c.is_control();
    if name.is_empty()
        || name.len() > route::NAME_MAX
        || name.contains(bad)
        || name.starts_with('.')
    {
        let most = route::NAME_MAX;
        return Err(NetworkError::Invalid(format!(
            "{name:?} is no name for a bridge: up to {most} characters, no spaces, '/', ':' or '%'"
        )));
    }
    if let Some((address, prefix)) = config.address {
        let subnet = Subnet::of(address, prefix);
        let of_network = [subnet.network(), subnet.last()].contains(&address);
        if prefix == 0
            || prefix > 30
            || of_network
            || address.is_loopback()
            || address.is_multicast()
        {
            return Err(NetworkError::Invalid(format!(
                "--bip {address}/{prefix} is no address for a bridge: it needs one of a host, and a prefix from 1 to 30"
            )));
        }
    }
    Ok(())
}

fn take_up(
    config: &NetworkConfig,
    link: &Link,
    socket: &mut Socket,
) -> Result<Bridge, NetworkError> {
    let name = &link.name;
    let addresses =
        route::addresses(socket).map_err(kernel(format!("cannot list the addresses of {name}")))?;
    let of_link = || {
        addresses
            .iter()
            .filter(|address| address.link == link.index)
    };
    let place = match config.address {
        Some((address, prefix)) => match of_link().next() {
            None => give_address(socket, link, (address, prefix))?,
            Some(_) if of_link().any(|has| (has.address, has.prefix) == (address, prefix)) => {
                (address, prefix)
            }
            Some(has) if link.alias == alias(config.install_id) && is_empty(socket, link) => {
                tracing::info!(bridge = name, old = %has.address, new = %address, "the bridge is made anew for its new address");
                let gone = socket.transact(vec![route::remove_link(link.index)]);
                gone.map_err(kernel(format!("cannot remove the bridge {name}")))?;
                return make(config, name, socket);
            }
            Some(has) => {
                let (has, bits) = (has.address, has.prefix);
                return Err(NetworkError::Unavailable(format!(
                    "the bridge {name} has the address {has}/{bits}, and --bip says {address}/{prefix}: leave --bip away to use it as it is, or remove the bridge with `ip link delete {name}`"
                )));
            }
        },
        None => match of_link().find(|has| has.prefix <= 30) {
            Some(has) => (has.address, has.prefix),
            None => {
                let chosen = choose(config, socket)?;
                give_address(socket, link, chosen)?
            }
        },
    };
    Ok(Bridge::new(name, link.index, place.0, place.1))
}

/// Whether nothing hangs on a bridge.
fn is_empty(socket: &mut Socket, bridge: &Link) -> bool {
    let ports = route::links(socket);
    ports.is_ok_and(|links| links.iter().all(|link| link.master != Some(bridge.index)))
}

fn make(config: &NetworkConfig, name: &str, socket: &mut Socket) -> Result<Bridge, NetworkError> {
    let (address, prefix) = match config.address {
        Some(address) => address,
        None => choose(config, socket)?,
    };
    let refused = |what: &str| kernel(format!("cannot {what} the bridge {name}"));
    let mut random = [0; 4];
    getrandom(&mut random, GetRandomFlags::empty())
        .map_err(|error| refused("draw a hardware address for")(error.into()))?;
    // A bridge without an address of its own takes one of its ports', and another one as they
    // come and go; whoever spoke to it then waits for its neighbour table.
    let mac = [0x02, 0x42, random[0], random[1], random[2], random[3]];
    let mtu = mtu(config, socket);
    socket
        .transact(vec![route::make_bridge(name, mac, mtu)])
        .map_err(refused("make"))?;
    let link = route::link_named(socket, name).map_err(refused("look for"))?;
    let link = link.ok_or_else(|| {
        NetworkError::Unavailable(format!(
            "the bridge {name} went away at once: another program removes it"
        ))
    })?;
    let alias = route::set_alias(link.index, &alias(config.install_id));
    socket.transact(vec![alias]).map_err(refused("name"))?;
    for (family, setting, value) in OWN_SETTINGS {
        set(name, family, setting, value)?;
    }
    give_address(socket, &link, (address, prefix))?;
    tracing::info!(bridge = name, %address, prefix, mtu, "bridge made");
    Ok(Bridge::new(name, link.index, address, prefix))
}

/// The first default pool that the host does not use; the bridge gets its first address.
fn choose(config: &NetworkConfig, socket: &mut Socket) -> Result<(Ipv4Addr, u8), NetworkError> {
    let refused = || kernel("cannot list the routes of the host");
    let routes = route::routes(socket).map_err(refused())?;
    let addresses = route::addresses(socket).map_err(refused())?;
    let routes = routes
        .iter()
        .map(|route| Subnet::of(route.destination, route.prefix));
    let addresses = addresses
        .iter()
        .map(|has| Subnet::of(has.address, has.prefix));
    let used: Vec<Subnet> = routes.chain(addresses).collect();
    let pool = match config.pool {
        Some((address, prefix)) => {
            subnet::default_pools().find(|pool| pool.overlaps(Subnet::of(address, prefix)))
        }
        None => None,
    };
    let chosen = pool.or_else(|| subnet::choose(&used)).ok_or_else(|| {
        NetworkError::Unavailable(
            "every default subnet overlaps a route of the host: name a free one with --bip ADDRESS/PREFIX".to_owned(),
        )
    })?;
    if let Some(first) = subnet::default_pools().next()
        && chosen != first
    {
        tracing::warn!(usual = %first, %chosen, "the host has routes to the usual subnet; another one is used for the bridge");
    }
    Ok((
        Ipv4Addr::from(u32::from(chosen.network()) + 1),
        chosen.prefix(),
    ))
}

fn give_address(
    socket: &mut Socket,
    link: &Link,
    (address, prefix): (Ipv4Addr, u8),
) -> Result<(Ipv4Addr, u8), NetworkError> {
    let given = route::Address {
        link: link.index,
        address,
        prefix,
    };
    let what = format!(
        "cannot give the bridge {} the address {address}/{prefix}",
        link.name
    );
    socket
        .transact(vec![route::add_address(&given)])
        .map_err(kernel(what))?;
    Ok((address, prefix))
}

fn route_up(socket: &mut Socket, index: u32) -> std::io::Result<()> {
    socket.transact(vec![route::set_up(index)])
}

fn set(link: &str, family: &str, setting: &str, value: &str) -> Result<(), NetworkError> {
    let path = sysctl::of_link(family, link, setting);
    sysctl::set(&path, value).map_err(kernel(format!("cannot set {} to {value}", path.display())))
}

/// Lets packets to 127.0.0.0/8 leave by the bridge: those to ports that are published there.
/// The firewall keeps everybody else from using it.
pub(crate) fn route_loopback(bridge: &str) -> Result<(), NetworkError> {
    set(bridge, "ipv4", "route_localnet", "1")
}

/// Removes the bridge if it is the engine's own and nothing of others hangs on it. The links of
/// containers that ended may still be there: the kernel removes them when it has time.
pub(crate) fn remove(install: InstallId, bridge: &Bridge, socket: &mut Socket) {
    let links = route::links(socket).unwrap_or_default();
    let own = |link: &Link| link.index == bridge.index() && link.alias == alias(install);
    let port_alias = alias_prefix(install);
    let foreign =
        |link: &Link| link.master == Some(bridge.index()) && !link.alias.starts_with(&port_alias);
    if links.iter().any(own)
        && !links.iter().any(foreign)
        && let Err(error) = socket.transact(vec![route::remove_link(bridge.index())])
    {
        tracing::warn!(bridge = bridge.name, %error, "cannot remove the bridge");
    }
}
