//! The default network: who is on it, and how one comes and goes.

mod boot;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use berth_sys::ahead::Stock;
use berth_sys::netlink::socket::Socket;
use berth_sys::netlink::{conntrack, route};
use berth_sys::netns;
use berth_sys::rustix::rand::{GetRandomFlags, getrandom};
use berth_types::ContainerId;
use berth_types::task::{Wait, lock};
use sha2::{Digest, Sha256};

use crate::bridge::{self, Bridge};
use crate::endpoint::{AttachRequest, Attachment, Endpoint, Protocol, Published};
use crate::error::NetworkError;
use crate::firewall::{Firewall, Layout};
use crate::forwarder::Forwarder;
use crate::link::{self, kernel};
use crate::pool::{Pool, Refusal};
use crate::ports::Ports;
use crate::service::{NetworkConfig, Summary};
use crate::spares::{Linked, Maker};
use crate::subnet::Subnet;
use crate::sysctl;

/// Tells the kernel to pass packets on between links.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
/// The first bytes of every hardware address, as Docker's.
const MAC_PREFIX: [u8; 2] = [0x02, 0x42];

/// Number of UDP.
const UDP: u8 = 17;
/// Ports that one container may publish: each takes a socket, made while others wait.
const PORTS_MAX: usize = 4096;
/// For how many ports old streams are forgotten: each looks through all connections of the host.
const FORGOTTEN_MAX: usize = 16;

/// An engine's default network.
pub(crate) struct Network {
    config: NetworkConfig,
    id: String,
    bridge: Arc<Bridge>,
    /// The namespace of the host, where the bridge is.
    home: Arc<OwnedFd>,
    maker: Arc<Maker>,
    /// Links made ahead; none before the first sweep.
    spares: OnceLock<Stock<Linked>>,
    firewall: Option<Firewall>,
    forwarder: Mutex<Option<Forwarder>>,
    /// Held by who makes the bridge again.
    mending: Mutex<()>,
    state: Mutex<State>,
}

/// Held for memory and for binding sockets, never while links are made.
struct State {
    pool: Pool,
    ports: Ports,
    members: BTreeMap<ContainerId, Member>,
    strangers: Strangers,
    /// Addresses whose last holder had published ports: connections to it may still be known.
    stale: BTreeSet<Ipv4Addr>,
}

/// Containers of an earlier engine that run on the network and could not be taken up.
enum Strangers {
    /// Nobody said yet who runs.
    Unknown,
    /// These, after a sweep.
    Known(BTreeSet<ContainerId>),
}

/// Who is on the network, or about to be.
struct Member {
    address: Ipv4Addr,
    published: Vec<Published>,
    endpoint: Option<Endpoint>,
}

impl Network {
    /// Makes the bridge and the firewall table, or takes them up.
    pub(crate) fn open(config: &NetworkConfig, name: &str) -> Result<Self, NetworkError> {
        let mut socket = route::open().map_err(kernel("cannot open a netlink socket"))?;
        let bridge = Arc::new(bridge::ensure(config, name, &mut socket)?);
        let home = netns::current().map_err(kernel("cannot open the network namespace"))?;
        let home = Arc::new(home);
        let subnet = bridge.subnet;
        let range = match config
            .pool
            .map(|(address, prefix)| Subnet::of(address, prefix))
        {
            None => subnet,
            Some(range) if subnet.has(range.network()) && range.prefix() >= subnet.prefix() => {
                range
            }
            Some(range) => {
                return Err(NetworkError::Invalid(format!(
                    "--fixed-cidr {range} is not inside of the subnet {subnet} of the bridge {name}: name a part of it, or another --bip"
                )));
            }
        };
        let layout = Layout {
            table: format!("berth-{}", config.install_id),
            bridge: name.to_owned(),
            subnet,
            masquerade: config.masquerade,
            talk: config.talk,
        };
        // The table comes before forwarding: at no moment does the host pass packets on that the
        // table would have dropped.
        let firewall = match config.firewall {
            true => Some(
                Firewall::open(layout)
                    .map_err(kernel("cannot set up the firewall table (nf_tables)"))?,
            ),
            false => None,
        };
        if config.forward {
            sysctl::set(Path::new(FORWARD), "1")
                .map_err(kernel(format!("cannot set {FORWARD} to 1")))?;
        }
        let strangers = match bridge::has_links_of(config.install_id, &mut socket) {
            true => Strangers::Unknown,
            false => Strangers::Known(BTreeSet::new()),
        };
        Ok(Self {
            id: network_id(config, name),
            config: config.clone(),
            maker: Arc::new(Maker {
                config: config.clone(),
                home: Arc::clone(&home),
                bridge: Arc::clone(&bridge),
            }),
            spares: OnceLock::new(),
            home,
            firewall,
            forwarder: Mutex::new(None),
            mending: Mutex::new(()),
            state: Mutex::new(State {
                pool: Pool::new(subnet, bridge.gateway, range),
                ports: Ports::default(),
                members: BTreeMap::new(),
                strangers,
                stale: BTreeSet::new(),
            }),
            bridge,
        })
    }

    pub(crate) fn bridge_name(&self) -> &str {
        &self.bridge.name
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state, Wait::NetworkLock)
    }

    pub(crate) fn attach(
        &self,
        id: ContainerId,
        request: &AttachRequest,
    ) -> Result<Attachment, NetworkError> {
        let endpoint = random_hex::<32>()?;
        self.enter(id, request, &endpoint)?;
        let attached = self.attach_entered(id, request, endpoint);
        if attached.is_err() {
            self.detach(id);
        }
        attached
    }

    /// Takes the address and the ports: all, or none.
    fn enter(
        &self,
        id: ContainerId,
        request: &AttachRequest,
        endpoint: &str,
    ) -> Result<(), NetworkError> {
        if request.ports.len() > PORTS_MAX {
            return Err(NetworkError::Invalid(format!(
                "container {} publishes {} ports, and {PORTS_MAX} are the most: publish with -p those that are needed",
                id.short(),
                request.ports.len()
            )));
        }
        let mut state = self.state();
        let state = &mut *state;
        if state.members.contains_key(&id) {
            return Err(NetworkError::Invalid(format!(
                "container {} is on the network bridge already",
                id.short()
            )));
        }
        let address = match request.address {
            None => state.pool.take_next(id),
            Some(address) => state.pool.take(id, address).map(|()| address),
        };
        let address = address.map_err(|refusal| self.refused(refusal, request.address))?;
        let mut published = Vec::with_capacity(request.ports.len());
        for port in &request.ports {
            match state.ports.reserve(port) {
                Ok(port) => published.push(port),
                Err(refusal) => {
                    published.iter().for_each(|port| state.ports.release(port));
                    state.pool.give_back(address);
                    // Clients look for the beginning of this sentence, too.
                    return Err(NetworkError::Taken(format!(
                        "driver failed programming external connectivity on endpoint {} ({endpoint}): {}",
                        id.short(),
                        refusal.0
                    )));
                }
            }
        }
        let member = Member {
            address,
            published,
            endpoint: None,
        };
        state.members.insert(id, member);
        Ok(())
    }

    fn refused(&self, refusal: Refusal, address: Option<Ipv4Addr>) -> NetworkError {
        let wanted = address
            .map(|address| address.to_string())
            .unwrap_or_default();
        let subnet = self.bridge.subnet;
        match refusal {
            Refusal::Exhausted => NetworkError::Unavailable(format!(
                "no available IPv4 addresses on this network's address pools: bridge ({}): remove containers that are not needed, or give the engine a larger subnet with --bip or --fixed-cidr",
                self.id
            )),
            Refusal::Taken => NetworkError::Taken(format!(
                "Address already in use: {wanted} is another container's"
            )),
            Refusal::Foreign => NetworkError::Invalid(format!(
                "invalid address {wanted}: it does not belong to any container of the subnet {subnet}"
            )),
        }
    }

    fn attach_entered(
        &self,
        id: ContainerId,
        request: &AttachRequest,
        endpoint: String,
    ) -> Result<Attachment, NetworkError> {
        let mut state = self.state();
        let (address, published) = match state.members.get(&id) {
            Some(member) => (member.address, member.published.clone()),
            None => {
                return Err(NetworkError::Unavailable(format!(
                    "container {} was taken off the network while it was put on it",
                    id.short()
                )));
            }
        };
        let stale = state.stale.remove(&address);
        drop(state);
        if stale {
            // Who still speaks to the last holder must not reach the next one. Here and not when
            // that one went: it takes a millisecond, and addresses rest long.
            forget(conntrack::forget_answered_by(address));
        }
        let mut host = route::open().map_err(kernel("cannot open a netlink socket"))?;
        let [a, b, c, d] = address.octets();
        let mac = request
            .mac
            .unwrap_or([MAC_PREFIX[0], MAC_PREFIX[1], a, b, c, d]);
        let mtu = bridge::mtu(&self.config, &mut host);
        let mut wanted = link::Wanted {
            id,
            name: link::random_name()?,
            address,
            mac,
            mtu,
            talk: self.config.talk,
        };
        let namespace = match self.take_spare(&mut host, &mut wanted) {
            Some(namespace) => namespace,
            None => self.make_link(&mut host, &mut wanted)?,
        };
        self.publish(&published, address)?;
        let endpoint = Endpoint {
            network: self.id.clone(),
            id: endpoint,
            link: wanted.name,
            address,
            prefix: self.bridge.subnet.prefix(),
            gateway: self.bridge.gateway,
            mac: mac_text(mac),
            published,
        };
        if let Some(member) = self.state().members.get_mut(&id) {
            member.endpoint = Some(endpoint.clone());
        }
        Ok(Attachment {
            namespace,
            endpoint,
        })
    }

    fn take_spare(&self, host: &mut Socket, wanted: &mut link::Wanted) -> Option<OwnedFd> {
        let stock = self.spares.get()?;
        std::iter::from_fn(|| stock.take()).find_map(|spare| self.maker.dress(spare, host, wanted))
    }

    fn make_link(
        &self,
        host: &mut Socket,
        wanted: &mut link::Wanted,
    ) -> Result<OwnedFd, NetworkError> {
        let install = self.config.install_id;
        let seen = self.bridge.index();
        match link::make(host, &self.home, &self.bridge, install, wanted) {
            Err(_) if self.mend(seen)? => {
                // The first one's link goes when the kernel has time: a name of its own.
                wanted.name = link::random_name()?;
                link::make(host, &self.home, &self.bridge, install, wanted)
            }
            made => made,
        }
    }

    /// Says that this is a good moment to make links ahead.
    pub(crate) fn refill(&self) {
        if let Some(stock) = self.spares.get() {
            stock.refill();
        }
    }

    fn publish(&self, ports: &[Published], address: Ipv4Addr) -> Result<(), NetworkError> {
        let Some(firewall) = &self.firewall else {
            return Ok(());
        };
        let on_loopback = |port: &Published| {
            port.host_address.is_unspecified() || port.host_address.is_loopback()
        };
        if ports.iter().any(on_loopback) {
            bridge::route_loopback(&self.bridge.name)?;
        }
        let what = format!("cannot publish the ports of {address}");
        firewall.publish(ports, address).map_err(kernel(what))?;
        let streams = ports.iter().filter(|port| port.protocol == Protocol::Udp);
        for port in streams.take(FORGOTTEN_MAX) {
            // A stream that began when nobody answered, or somebody else, would never come here.
            forget(conntrack::forget_addressed_to(UDP, port.host_port));
        }
        Ok(())
    }

    pub(crate) fn detach(&self, id: ContainerId) {
        let mut state = self.state();
        if let Strangers::Known(strangers) = &mut state.strangers {
            strangers.remove(&id);
        }
        let Some(member) = state.members.remove(&id) else {
            return;
        };
        // The kernel is asked without the lock: its address and ports are still taken.
        drop(state);
        if let Some(firewall) = &self.firewall {
            firewall.withdraw(&member.published, member.address);
        }
        let mut state = self.state();
        member
            .published
            .iter()
            .for_each(|port| state.ports.release(port));
        state.pool.give_back(member.address);
        if !member.published.is_empty() {
            state.stale.insert(member.address);
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        let state = self.state();
        let endpoint =
            |(id, member): (&ContainerId, &Member)| Some((*id, member.endpoint.clone()?));
        let endpoints = state.members.iter().filter_map(endpoint).collect();
        drop(state);
        let mtu = route::open().map(|mut socket| bridge::mtu(&self.config, &mut socket));
        Summary {
            id: self.id.clone(),
            bridge: self.bridge.name.clone(),
            subnet: (self.bridge.subnet.network(), self.bridge.subnet.prefix()),
            gateway: self.bridge.gateway,
            mtu: mtu.unwrap_or_default(),
            endpoints,
        }
    }
}

/// The id of the default network: the same for every engine on the same data root.
fn network_id(config: &NetworkConfig, bridge: &str) -> String {
    let text = format!("berth default network {} {bridge}", config.install_id);
    hex(&Sha256::digest(text.as_bytes()))
}

pub(crate) fn random_hex<const BYTES: usize>() -> Result<String, NetworkError> {
    let mut random = [0; BYTES];
    getrandom(&mut random, GetRandomFlags::empty())
        .map_err(|error| kernel("cannot draw a random number")(error.into()))?;
    Ok(hex(&random))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Kernels without the filter refuse; connections then end by themselves, later.
fn forget(result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "cannot drop entries of the connection tracking");
    }
}
