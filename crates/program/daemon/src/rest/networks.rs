//! `/networks`: the default network and the two that are always there.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use berth_api::network::{
    EndpointResource, Ipam, IpamConfig, IpamStatus, NetworkInspect, NetworkStatus, NetworkSummary,
    SubnetStatus,
};
use berth_api::{Filters, FiltersError, shape};
use berth_container::{Containers, Network};
use berth_network::Networks;
use berth_types::{Caller, ErrorKind, Timestamp};
use regex_lite::Regex;

use super::error::{ApiError, ApiResult};
use super::reply;
use super::router::Call;
use crate::config::Config;

/// The keys that Docker knows.
const KEYS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];
/// Addresses of a subnet that no container gets: the network's, the bridge's, the broadcast.
const RESERVED: u64 = 3;

/// The networks router.
#[derive(Clone)]
pub struct NetworksApi {
    /// The networks.
    pub networks: Networks,
    /// Who is on them.
    pub containers: Containers,
    /// What the engine was started with.
    pub config: Arc<Config>,
    /// When the engine made the networks or took them up.
    pub since: Timestamp,
}

impl NetworksApi {
    pub(super) fn list(&self, call: &Call) -> ApiResult {
        let filters = Filters::from_query(call.query.get("filters"))?;
        filters.accept(&KEYS)?;
        let dangling = filters.switch("dangling")?;
        for kind in filters.values("type") {
            if !matches!(kind, "builtin" | "custom") {
                return Err(FiltersError::Value {
                    key: "type".to_owned(),
                    value: kind.to_owned(),
                }
                .into());
            }
        }
        let found = self.all(&call.caller);
        let fits = |network: &&NetworkInspect| {
            let any = |key: &str, test: &dyn Fn(&str) -> bool| {
                !filters.contains(key) || filters.values(key).any(test)
            };
            any("driver", &|v| network.driver == v)
                && any("id", &|v| matches(&network.id, v))
                && any("name", &|v| matches(&network.name, v))
                && any("scope", &|v| network.scope == v)
                && any("type", &|v| v == "builtin")
                && !filters.contains("label")
                // Docker never calls a network dangling that it made itself.
                && dangling != Some(true)
        };
        let list: Vec<NetworkSummary> = found.iter().filter(fits).map(summary).collect();
        Ok(reply::ok(&list))
    }

    pub(super) fn inspect(&self, call: &Call, key: &str) -> ApiResult {
        let all = self.all(&call.caller);
        let exact = all.iter().find(|n| n.id == key || n.name == key);
        let mut prefixed = all
            .iter()
            .filter(|n| !key.is_empty() && n.id.starts_with(key));
        let found = match (exact, prefixed.next(), prefixed.next()) {
            (Some(network), ..) | (None, Some(network), None) => network,
            (None, Some(_), Some(_)) => {
                return Err(ApiError::invalid(format!(
                    "network {key} is ambiguous: give more digits of its id"
                )));
            }
            (None, None, _) => {
                return Err(ApiError::new(
                    ErrorKind::NotFound,
                    format!("network {key} not found"),
                ));
            }
        };
        Ok(reply::shaped(found, call.version, shape::network_inspect))
    }

    /// The networks that there are, with those of the caller's containers that run on them.
    fn all(&self, caller: &Caller) -> Vec<NetworkInspect> {
        [Network::Bridge, Network::Host, Network::None]
            .into_iter()
            .filter_map(|network| self.one(network, caller))
            .collect()
    }

    fn one(&self, network: Network, caller: &Caller) -> Option<NetworkInspect> {
        let mut wire = NetworkInspect {
            name: network.name(),
            id: self.containers.network_id(network)?,
            created: self.since.to_string(),
            scope: "local".to_owned(),
            driver: network.driver().to_owned(),
            enable_ipv4: true,
            containers: self.members(network, caller),
            ipam: Ipam {
                driver: "default".to_owned(),
                ..Ipam::default()
            },
            ..NetworkInspect::default()
        };
        if network == Network::Bridge {
            self.describe_bridge(&mut wire)?;
        }
        Some(wire)
    }

    fn members(&self, network: Network, caller: &Caller) -> BTreeMap<String, EndpointResource> {
        let all = self.containers.all(caller);
        let on = all
            .iter()
            .filter(|r| r.host.network == network && r.state.phase.is_live());
        on.map(|record| {
            let mut wire = EndpointResource {
                name: record.name.clone(),
                ..EndpointResource::default()
            };
            if let Some(endpoint) = &record.state.endpoint {
                wire.endpoint_id.clone_from(&endpoint.id);
                wire.mac_address.clone_from(&endpoint.mac);
                wire.ipv4_address = format!("{}/{}", endpoint.address, endpoint.prefix);
            }
            (record.id.to_string(), wire)
        })
        .collect()
    }

    /// What only the bridge has; none where there is none.
    fn describe_bridge(&self, wire: &mut NetworkInspect) -> Option<()> {
        let summary = self.networks.summary()?;
        let options = &self.config.network;
        let subnet = cidr(summary.subnet);
        let used = RESERVED + u64::try_from(wire.containers.len()).unwrap_or(u64::MAX);
        let pool = options.pool.unwrap_or(summary.subnet);
        let room = 1_u64 << 32_u32.saturating_sub(u32::from(pool.1));
        wire.ipam.config = vec![IpamConfig {
            subnet: subnet.clone(),
            ip_range: options.pool.map(cidr).unwrap_or_default(),
            gateway: summary.gateway.to_string(),
            auxiliary_addresses: BTreeMap::new(),
        }];
        wire.status = Some(NetworkStatus {
            ipam: IpamStatus {
                subnets: [(
                    subnet,
                    SubnetStatus {
                        ips_in_use: used,
                        dynamic_ips_available: room.saturating_sub(used),
                    },
                )]
                .into(),
            },
        });
        wire.options = [
            ("bridge.default_bridge", "true".to_owned()),
            ("bridge.enable_icc", options.talk.to_string()),
            (
                "bridge.enable_ip_masquerade",
                options.masquerade.to_string(),
            ),
            ("bridge.host_binding_ipv4", options.publish_on.to_string()),
            ("bridge.name", summary.bridge),
            ("driver.mtu", summary.mtu.to_string()),
        ]
        .map(|(key, value)| (format!("com.docker.network.{key}"), value))
        .into();
        Some(())
    }
}

fn cidr((address, prefix): (Ipv4Addr, u8)) -> String {
    format!("{address}/{prefix}")
}

/// A filter's value is a regular expression; one that is none is a plain text.
fn matches(text: &str, wanted: &str) -> bool {
    text == wanted || Regex::new(wanted).is_ok_and(|regex| regex.is_match(text))
}

/// The entry of a list.
fn summary(network: &NetworkInspect) -> NetworkSummary {
    let network = network.clone();
    NetworkSummary {
        name: network.name,
        id: network.id,
        created: network.created,
        scope: network.scope,
        driver: network.driver,
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        ipam: network.ipam,
        internal: network.internal,
        attachable: network.attachable,
        ingress: network.ingress,
        config_from: network.config_from,
        config_only: network.config_only,
        options: network.options,
        labels: network.labels,
        peers: network.peers,
    }
}
