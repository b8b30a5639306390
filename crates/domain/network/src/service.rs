//! The verbs: what containers and fronts ask of networks.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use berth_sys::ahead::Stock;
use berth_types::{ContainerId, InstallId};

use crate::endpoint::{AttachRequest, Attachment, Endpoint};
use crate::error::NetworkError;
use crate::network::Network;
use crate::spares::Empty;
use crate::{resolvers, warnings};

/// How the default network is set up, from the engine's flags.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Whose it is; names the firewall table.
    pub install_id: InstallId,
    /// Name of the bridge; none for an engine without one (`--bridge none`).
    pub bridge: Option<String>,
    /// The bridge's own address and prefix (`--bip`); none for 172.17.0.1/16, or what the bridge
    /// has already.
    pub address: Option<(Ipv4Addr, u8)>,
    /// Where addresses are taken from (`--fixed-cidr`); none for the whole subnet.
    pub pool: Option<(Ipv4Addr, u8)>,
    /// MTU of links (`--mtu`); none for that of the host's uplink.
    pub mtu: Option<u32>,
    /// Whether containers reach each other (`--icc`).
    pub talk: bool,
    /// Whether what leaves is given the host's address (`--ip-masq`).
    pub masquerade: bool,
    /// Whether the kernel is told to forward (`--ip-forward`).
    pub forward: bool,
    /// Whether firewall rules are made at all (`--iptables`).
    pub firewall: bool,
    /// How many network namespaces of each kind are made ahead of the containers that get them.
    pub spares: usize,
}

/// Name servers that work from inside a container on the default network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// Addresses.
    pub servers: Vec<String>,
    /// Search domains.
    pub search: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

/// The default network as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Id: 64 hexadecimal digits.
    pub id: String,
    /// Name of the bridge link.
    pub bridge: String,
    /// Network address and prefix.
    pub subnet: (Ipv4Addr, u8),
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// MTU of its links.
    pub mtu: u32,
    /// Who is on it.
    pub endpoints: Vec<(ContainerId, Endpoint)>,
}

/// The networks of one engine. Cheap to clone. Every verb may block.
#[derive(Clone)]
pub struct Networks {
    inner: Arc<Inner>,
}

struct Inner {
    config: NetworkConfig,
    /// The default network, or why there is none.
    network: Result<Network, String>,
    /// Namespaces for containers without a network; none before the first sweep.
    empty: OnceLock<Stock<Empty>>,
}

impl Networks {
    /// Makes the bridge or takes up the one that is there. What the kernel refuses is kept as the
    /// answer to every [`Networks::attach`]: an engine starts without a network.
    ///
    /// The firewall table of an earlier engine stays in force, ports and all, until
    /// [`Networks::sweep`]; so an engine that starts calls `open`, [`Networks::adopt`] for each
    /// running container, then `sweep`.
    pub fn open(config: NetworkConfig) -> Self {
        let network = match &config.bridge {
            None => Err("there is no bridge: the engine runs with --bridge none".to_owned()),
            Some(name) => Network::open(&config, name).map_err(|error| {
                let sentence = sentence(&error);
                tracing::error!(error = sentence, "the default network cannot be used");
                sentence
            }),
        };
        Self {
            inner: Arc::new(Inner {
                config,
                network,
                empty: OnceLock::new(),
            }),
        }
    }

    fn network(&self) -> Result<&Network, NetworkError> {
        let network = self.inner.network.as_ref();
        network.map_err(|why| {
            NetworkError::Unavailable(format!("network bridge cannot be used: {why}"))
        })
    }

    /// Makes a namespace with a link to the bridge, and publishes ports.
    ///
    /// # Errors
    /// No bridge, no address or port left, or the kernel refuses; then nothing is left of it.
    pub fn attach(
        &self,
        id: ContainerId,
        request: &AttachRequest,
    ) -> Result<Attachment, NetworkError> {
        self.network()?.attach(id, request)
    }

    /// Takes up the endpoint of a container that an earlier engine started. A port that another
    /// program of the host has by now stays published: the redirection comes first.
    ///
    /// # Errors
    /// Its address or one of its ports is another container's; then nothing is taken up.
    pub fn adopt(&self, id: ContainerId, endpoint: &Endpoint) -> Result<(), NetworkError> {
        self.network()?.adopt(id, endpoint)
    }

    /// Gives back what a container had: ports at once, the link with its namespace. Nothing where
    /// it had nothing.
    pub fn detach(&self, id: ContainerId) {
        if let Ok(network) = self.network() {
            network.detach(id);
        }
    }

    /// Takes the link away of a container that ended and whose namespace others still have;
    /// before [`Networks::detach`].
    pub fn cut(&self, id: ContainerId) {
        if let Ok(network) = self.network() {
            network.cut(id);
        }
    }

    /// Gives back what nobody of `live` has: after a boot, when all were adopted. From now on the
    /// firewall table says what this engine knows, and no more.
    ///
    /// From now on namespaces are made ahead, too, [`NetworkConfig::spares`] of each kind.
    pub fn sweep(&self, live: &BTreeSet<ContainerId>) {
        if let Ok(network) = self.network() {
            network.sweep(live);
        }
        if self.inner.empty.get().is_none() {
            match Stock::open("spare-netns", self.inner.config.spares, Empty::make) {
                Ok(stock) => drop(self.inner.empty.set(stock)),
                Err(error) => tracing::warn!(%error, "no network namespaces are made ahead"),
            }
        }
    }

    /// A namespace for a container without a network, its loopback up, if one was made ahead. It
    /// is gone with the last descriptor and process.
    pub fn take_empty(&self) -> Option<OwnedFd> {
        Some(self.inner.empty.get()?.take()?.0)
    }

    /// Says that this is a good moment to make namespaces ahead: a start has just been done.
    pub fn refill(&self) {
        if let Some(stock) = self.inner.empty.get() {
            stock.refill();
        }
        if let Ok(network) = self.network() {
            network.refill();
        }
    }

    /// The default network; none for an engine without one.
    pub fn summary(&self) -> Option<Summary> {
        self.network().ok().map(Network::summary)
    }

    /// What a person should know: other firewall tables that drop what this one accepts, a
    /// bridge that could not be made.
    pub fn warnings(&self) -> Vec<String> {
        match &self.inner.network {
            Ok(network) => warnings::of(&self.inner.config, network.bridge_name()),
            Err(_) if self.inner.config.bridge.is_none() => Vec::new(),
            Err(why) => vec![format!("The default network cannot be used: {why}")],
        }
    }

    /// Name servers for `/etc/resolv.conf`, from the host's own.
    pub fn resolvers(&self) -> Resolvers {
        match self.network() {
            Ok(network) => network.resolvers(),
            Err(_) => resolvers::of_host().usable(),
        }
    }

    /// Takes away what was made on the host and is of no use without containers: at an orderly
    /// end of an engine that has none left on the network. What was made ahead is given up in any
    /// case.
    pub fn close(&self) {
        if let Some(stock) = self.inner.empty.get() {
            drop(stock.close());
        }
        if let Ok(network) = self.network() {
            network.close();
        }
    }
}

/// An error with its causes, in one line.
fn sentence(error: &NetworkError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
