//! What an engine finds of an earlier one, and what it leaves to none.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use berth_sys::ahead::Stock;
use berth_sys::netlink::route;
use berth_types::ContainerId;
use berth_types::task::{Wait, lock};

use super::{Member, Network, Strangers};
use crate::bridge;
use crate::endpoint::Endpoint;
use crate::error::NetworkError;
use crate::link::{self, kernel};
use crate::spares;

impl Network {
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

    pub(crate) fn sweep(&self, live: &BTreeSet<ContainerId>) {
        let members: BTreeSet<ContainerId> = self.state().members.keys().copied().collect();
        for id in members.difference(live) {
            self.detach(*id);
        }
        self.state().strangers = Strangers::Known(live.difference(&members).copied().collect());
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
        self.open_spares();
    }

    /// Not earlier than the first sweep, which takes spare links for an earlier engine's.
    fn open_spares(&self) {
        if self.spares.get().is_some() {
            return;
        }
        let maker = Arc::clone(&self.maker);
        match Stock::open("spare-links", self.config.spares, move || maker.make()) {
            Ok(stock) => drop(self.spares.set(stock)),
            Err(error) => tracing::warn!(%error, "no links are made ahead"),
        }
    }

    /// Gives the links up that were made ahead.
    fn close_spares(&self) {
        let (Some(stock), Ok(mut socket)) = (self.spares.get(), route::open()) else {
            return;
        };
        for spare in stock.close() {
            spare.remove(&mut socket);
        }
    }

    /// Removes links of containers that are gone: their namespaces are held by somebody, or they
    /// would be gone, too.
    fn remove_links(&self, live: &BTreeSet<ContainerId>) -> std::io::Result<()> {
        let mut socket = route::open()?;
        let prefix = link::alias_prefix(self.config.install_id);
        let spare = spares::alias(self.config.install_id);
        for link in route::links(&mut socket)? {
            if link.alias == spare && self.spares.get().is_none() {
                // The kernel may be about to: it held on to nothing but an engine that is gone.
                let _ = socket.transact(vec![route::remove_link(link.index)]);
                continue;
            }
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

    /// Takes the link of a container away, whose namespace others go on with: its address is
    /// the next one's before long.
    pub(crate) fn cut(&self, id: ContainerId) {
        let link = |state: &super::State| Some(state.members.get(&id)?.endpoint.clone()?.link);
        let Some(link) = link(&self.state()) else {
            return;
        };
        let removed =
            route::open().and_then(|mut socket| match route::link_named(&mut socket, &link)? {
                Some(found) => socket.transact(vec![route::remove_link(found.index)]),
                None => Ok(()),
            });
        if let Err(error) = removed {
            tracing::warn!(link, %error, "cannot remove the link of a container that ended");
        }
    }

    pub(crate) fn close(&self) {
        self.close_spares();
        let state = self.state();
        let alone = match &state.strangers {
            Strangers::Unknown => false,
            Strangers::Known(strangers) => strangers.is_empty(),
        };
        if !alone || !state.members.is_empty() {
            return;
        }
        drop(state);
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

    /// Makes the bridge again if somebody removed it, with the links of all containers on it.
    /// Says whether it has another number than `seen` now.
    pub(super) fn mend(&self, seen: u32) -> Result<bool, NetworkError> {
        let _one = lock(&self.mending, Wait::Turn);
        let name = &self.bridge.name;
        let failed = || kernel(format!("cannot look for the bridge {name}"));
        let mut socket = route::open().map_err(failed())?;
        if self.bridge.index() != seen {
            return Ok(true);
        }
        let is_there = route::link_numbered(&mut socket, seen).map_err(failed())?;
        if is_there.is_some_and(|link| link.name == *name) {
            return Ok(false);
        }
        tracing::warn!(
            bridge = name,
            "somebody removed the bridge; it is made again"
        );
        let mut config = self.config.clone();
        config.address = Some((self.bridge.gateway, self.bridge.subnet.prefix()));
        let made = bridge::ensure(&config, name, &mut socket)?;
        self.bridge.set_index(made.index());
        if self
            .state()
            .members
            .values()
            .any(|member| !member.published.is_empty())
        {
            bridge::route_loopback(name)?;
        }
        let prefix = link::alias_prefix(config.install_id);
        for port in route::links(&mut socket).map_err(failed())? {
            if port.alias.starts_with(&prefix) && port.master.is_none() {
                let what = format!("cannot connect the link {} to the bridge {name}", port.name);
                let (talk, bridge) = (config.talk, &self.bridge);
                link::join(&mut socket, bridge, &port.name, &port.alias, talk)
                    .map_err(kernel(what))?;
            }
        }
        Ok(true)
    }
}
