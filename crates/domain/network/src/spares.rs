//! Network namespaces made ahead of the containers that get them.
//!
//! Two kinds: an empty one, for a container without a network, and one with a link to the default
//! bridge, which lacks only what tells one container from another: address, hardware address, way
//! out, and the container's name on the host's end. Both are held by a descriptor of the engine
//! and by nothing else, so they go with it, killed or not; their links go with them.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use berth_sys::ahead::Spare;
use berth_sys::netlink::socket::Socket;
use berth_sys::netlink::{LOOPBACK_INDEX, route};
use berth_sys::netns;
use berth_types::{InstallId, chain};

use crate::bridge::{self, Bridge};
use crate::error::NetworkError;
use crate::link::{self, INSIDE_INDEX, Wanted, alias_prefix, kernel};
use crate::service::NetworkConfig;

/// What follows the prefix in the alias of a link that no container has yet.
const ALIAS: &str = "spare";

/// The alias of a link that no container has yet.
pub(crate) fn alias(install: InstallId) -> String {
    format!("{}{ALIAS}", alias_prefix(install))
}

/// A namespace with nothing in it but its loopback, which is up.
#[derive(Debug)]
pub(crate) struct Empty(pub(crate) OwnedFd);

impl Spare for Empty {}

impl Empty {
    /// Makes one.
    pub(crate) fn make() -> Option<Self> {
        let made = netns::create(|| route::open()?.transact(vec![route::set_up(LOOPBACK_INDEX)]));
        let made = made.inspect_err(|error| {
            tracing::debug!(%error, "cannot make a network namespace ahead");
        });
        made.ok().map(|(namespace, ())| Self(namespace))
    }
}

/// A namespace with a link that is a port of the bridge.
#[derive(Debug)]
pub(crate) struct Linked {
    namespace: OwnedFd,
    inside: Socket,
    /// The host's end.
    name: String,
    mtu: u32,
    through_firewall: bool,
}

impl Spare for Linked {}

/// What spare links are made of.
pub(crate) struct Maker {
    pub(crate) config: NetworkConfig,
    pub(crate) home: Arc<OwnedFd>,
    pub(crate) bridge: Arc<Bridge>,
}

impl Maker {
    /// Makes a namespace with a link.
    pub(crate) fn make(&self) -> Option<Linked> {
        let made = self.try_make();
        let made = made.inspect_err(|error| {
            tracing::debug!(error = chain(error), "cannot make a link ahead");
        });
        made.ok()
    }

    fn try_make(&self) -> Result<Linked, NetworkError> {
        let mut host = route::open().map_err(kernel("cannot open a netlink socket"))?;
        let mtu = bridge::mtu(&self.config, &mut host);
        let name = link::random_name()?;
        let (namespace, mut inside) = link::namespace()?;
        let pair = route::Pair {
            name: link::INSIDE,
            index: INSIDE_INDEX,
            mac: link::NO_MAC,
            mtu,
            peer: &name,
            namespace: self.home.as_fd(),
        };
        let requests = vec![route::make_pair(&pair), route::set_up(LOOPBACK_INDEX)];
        let what = format!("cannot make the link {name} of a container to come");
        inside.transact(requests).map_err(kernel(what))?;
        let alias = alias(self.config.install_id);
        let through_firewall = link::through_firewall();
        let talk = self.config.talk;
        link::connect(&mut host, &mut inside, &self.bridge, &name, &alias, talk)?;
        Ok(Linked {
            namespace,
            inside,
            name,
            mtu,
            through_firewall,
        })
    }

    /// Makes the link a container's, who gives it its name. None if it does not fit, or is not
    /// what it was; then it is gone.
    pub(crate) fn dress(
        &self,
        mut spare: Linked,
        host: &mut Socket,
        wanted: &mut Wanted,
    ) -> Option<OwnedFd> {
        if spare.mtu != wanted.mtu || spare.through_firewall != link::through_firewall() {
            return None;
        }
        let dressed = self.try_dress(&mut spare, host, wanted);
        let is_ours = dressed.unwrap_or_else(|error| {
            tracing::debug!(link = spare.name, %error, "a link made ahead cannot be used");
            false
        });
        is_ours.then(|| {
            wanted.name = spare.name;
            spare.namespace
        })
    }

    fn try_dress(
        &self,
        spare: &mut Linked,
        host: &mut Socket,
        wanted: &Wanted,
    ) -> std::io::Result<bool> {
        // Somebody may have removed it, or the bridge.
        let bridge = self.bridge.index();
        let found = route::link_named(host, &spare.name)?;
        let Some(found) = found.filter(|link| link.master == Some(bridge)) else {
            return Ok(false);
        };
        let address = route::Address {
            link: INSIDE_INDEX,
            address: wanted.address,
            prefix: self.bridge.subnet.prefix(),
        };
        spare.inside.transact(vec![
            route::set_mac(INSIDE_INDEX, wanted.mac),
            route::add_address(&address),
            route::add_default_route(self.bridge.gateway, INSIDE_INDEX),
        ])?;
        let alias = format!("{}{}", alias_prefix(self.config.install_id), wanted.id);
        host.transact(vec![route::set_alias(found.index, &alias)])?;
        Ok(true)
    }
}

impl Linked {
    /// Removes the link at once: the kernel takes its time with a namespace.
    pub(crate) fn remove(self, host: &mut Socket) {
        let removed = route::link_named(host, &self.name).and_then(|found| match found {
            Some(link) => host.transact(vec![route::remove_link(link.index)]),
            None => Ok(()),
        });
        if let Err(error) = removed {
            tracing::warn!(link = self.name, %error, "cannot remove a link made ahead");
        }
    }
}
