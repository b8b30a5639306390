//! Name servers for containers, and passing questions on where the host's are out of reach.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::PoisonError;

use super::Network;
use crate::forwarder::Forwarder;
use crate::resolvers;
use crate::service::Resolvers;

impl Network {
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
}
