//! The default network: who is on it, and how one comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_sys::netlink::{conntrack, route};
use berth_sys::netns;
use berth_sys::rustix::rand::{GetRandomFlags, getrandom};
use berth_types::ContainerId;
use sha2::{Digest, Sha256};

use crate::bridge::{self, Bridge};
use crate::endpoint::{AttachRequest, Attachment, Endpoint, Protocol, Published};
use crate::error::NetworkError;
use crate::firewall::{Firewall, Layout};
use crate::forwarder::Forwarder;
use crate::link::{self, kernel};
use crate::pool::{Pool, Refusal};
use crate::ports::Ports;
use crate::resolvers;
use crate::service::{NetworkConfig, Resolvers, Summary};
use crate::subnet::Subnet;
use crate::sysctl;

/// Tells the kernel to pass packets on between links.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
/// The first bytes of every hardware address, as Docker's.
const MAC_PREFIX: [u8; 2] = [0x02, 0x42];

/// Number of UDP.
const UDP: u8 = 17;
/// For how many ports old streams are forgotten: each looks through all connections of the host.
const FORGOTTEN_MAX: usize = 16;

/// An engine's default network.
pub(crate) struct Network {
    config: NetworkConfig,
    id: String,
    bridge: Bridge,
    /// The namespace of the host, where the bridge is.
    home: OwnedFd,
    firewall: Option<Firewall>,
    forwarder: Mutex<Option<Forwarder>>,
    state: Mutex<State>,
}

/// Held for memory and for binding sockets, never while links are made.
struct State {
    pool: Pool,
    ports: Ports,
    members: BTreeMap<ContainerId, Member>,
    /// Addresses whose last holder had published ports: connections to it may still be known.
    stale: BTreeSet<Ipv4Addr>,
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
        let bridge = bridge::ensure(config, name, &mut socket)?;
        let home = netns::current().map_err(kernel("cannot open the network namespace"))?;
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
        Ok(Self {
            id: network_id(config, name),
            config: config.clone(),
            home,
            firewall,
            forwarder: Mutex::new(None),
            state: Mutex::new(State {
                pool: Pool::new(subnet, bridge.gateway, range),
                ports: Ports::default(),
                members: BTreeMap::new(),
                stale: BTreeSet::new(),
            }),
            bridge,
        })
    }

    pub(crate) fn bridge_name(&self) -> &str {
        &self.bridge.name
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let name = format!("veth{:.7}", random_hex::<4>()?);
        let wanted = link::Wanted {
            id,
            name: &name,
            address,
            mac,
            mtu: bridge::mtu(&self.config, &mut host),
            talk: self.config.talk,
        };
        let namespace = link::make(
            &mut host,
            &self.home,
            &self.bridge,
            self.config.install_id,
            &wanted,
        )?;
        self.publish(&published, address)?;
        let endpoint = Endpoint {
            network: self.id.clone(),
            id: endpoint,
            link: name,
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

    pub(crate) fn adopt(&self, id: ContainerId, endpoint: &Endpoint) -> Result<(), NetworkError> {
        let mut state = self.state();
        let state = &mut *state;
        if state.members.contains_key(&id) {
            return Ok(());
        }
        let address = endpoint.address;
        let taken = state.pool.take(id, address);
        taken.map_err(|refusal| self.refused(refusal, Some(address)))?;
        for (place, port) in endpoint.published.iter().enumerate() {
            if let Err(refusal) = state.ports.adopt(port) {
                let before = endpoint.published.iter().take(place);
                before.for_each(|port| state.ports.release(port));
                state.pool.give_back(address);
                return Err(NetworkError::Taken(refusal.0));
            }
        }
        if let Some(firewall) = &self.firewall {
            firewall.adopt(&endpoint.published, address);
        }
        let member = Member {
            address,
            published: endpoint.published.clone(),
            endpoint: Some(endpoint.clone()),
        };
        state.members.insert(id, member);
        Ok(())
    }

    pub(crate) fn detach(&self, id: ContainerId) {
        let mut state = self.state();
        let Some(member) = state.members.remove(&id) else {
            return;
        };
        if let Some(firewall) = &self.firewall {
            firewall.withdraw(&member.published, member.address);
        }
        member
            .published
            .iter()
            .for_each(|port| state.ports.release(port));
        state.pool.give_back(member.address);
        if !member.published.is_empty() {
            state.stale.insert(member.address);
        }
    }

    pub(crate) fn sweep(&self, live: &BTreeSet<ContainerId>) {
        let members: Vec<ContainerId> = self.state().members.keys().copied().collect();
        for id in members.into_iter().filter(|id| !live.contains(id)) {
            self.detach(id);
        }
        if let Some(firewall) = &self.firewall
            && let Err(error) = firewall.settle()
        {
            tracing::error!(%error, "cannot set up the firewall table");
        }
        if !self.state().members.is_empty() {
            // Who was adopted may have been told to ask at the bridge's address.
            self.resolvers();
        }
        if let Err(error) = self.remove_links(live) {
            tracing::warn!(%error, "cannot remove the links of containers that are gone");
        }
    }

    /// Removes links of containers that are gone: their namespaces are held by somebody, or they
    /// would be gone, too.
    fn remove_links(&self, live: &BTreeSet<ContainerId>) -> std::io::Result<()> {
        let mut socket = route::open()?;
        let prefix = link::alias_prefix(self.config.install_id);
        for link in route::links(&mut socket)? {
            let id = link
                .alias
                .strip_prefix(&prefix)
                .and_then(|id| id.parse().ok());
            if id.is_some_and(|id| !live.contains(&id) && !self.state().members.contains_key(&id)) {
                tracing::info!(
                    link = link.name,
                    "a link of a container that is gone is removed"
                );
                socket.transact(vec![route::remove_link(link.index)])?;
            }
        }
        Ok(())
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

    pub(crate) fn resolvers(&self) -> Resolvers {
        let host = resolvers::of_host();
        let local = host.local.filter(|_| host.servers.is_empty());
        let mut resolvers = host.usable();
        if let Some(server) = local
            && self.forward_names(server)
        {
            resolvers.servers = vec![self.bridge.gateway.to_string()];
        }
        resolvers
    }

    /// Makes the bridge's address answer questions for names, and says whether it does.
    fn forward_names(&self, server: IpAddr) -> bool {
        let mut forwarder = self
            .forwarder
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(forwarder) = &*forwarder {
            forwarder.ask(server);
            return true;
        }
        match Forwarder::start(self.bridge.gateway, self.bridge.subnet, server) {
            Ok(started) => {
                *forwarder = Some(started);
                true
            }
            // The host's own server listens on all addresses: it answers there by itself.
            Err(error) if error.kind() == ErrorKind::AddrInUse => true,
            Err(error) => {
                tracing::warn!(%error, %server, "containers cannot use the host's resolver; name one with --dns");
                false
            }
        }
    }

    pub(crate) fn close(&self) {
        if !self.state().members.is_empty() {
            return;
        }
        *self
            .forwarder
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(firewall) = &self.firewall
            && let Err(error) = firewall.remove()
        {
            tracing::warn!(%error, "cannot remove the firewall table");
        }
        if let Ok(mut socket) = route::open() {
            bridge::remove(self.config.install_id, &self.bridge, &mut socket);
        }
    }
}

/// The id of the default network: the same for every engine on the same data root.
fn network_id(config: &NetworkConfig, bridge: &str) -> String {
    let text = format!("berth default network {} {bridge}", config.install_id);
    hex(&Sha256::digest(text.as_bytes()))
}

fn random_hex<const BYTES: usize>() -> Result<String, NetworkError> {
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
