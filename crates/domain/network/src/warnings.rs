//! What of the host stands in the way of containers, with the remedy.

use std::fs;

use berth_sys::netlink::nft::Tables;
use berth_sys::netlink::route::{self, Link};

use crate::link::alias_prefix;
use crate::service::NetworkConfig;

/// Where the kernel lists the tables of the older packet filter in this namespace.
const LEGACY_TABLES: &str = "/proc/thread-self/net/ip_tables_names";

/// All there is to say.
pub(crate) fn of(config: &NetworkConfig, bridge: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if !config.firewall {
        warnings.push("Published ports are not forwarded and what containers send keeps their addresses: the engine runs with --iptables=false".to_owned());
    }
    let foreign = foreign_ports(config, bridge);
    if foreign > 0 {
        warnings.push(format!(
            "Others use the bridge {bridge}, too ({foreign} of its links are not this engine's), and may give the same addresses to theirs: choose another bridge with --bridge"
        ));
    }
    let own = format!("berth-{}", config.install_id);
    let chains = Tables::open().and_then(|mut tables| tables.dropping_forward_chains());
    for chain in chains.unwrap_or_default() {
        let (family, table, name) = (chain.family, chain.table, chain.chain);
        if table != own {
            warnings.push(format!(
                "Chain {name} of the firewall table {family} {table} drops what passes through this host, so containers may not reach others: allow it there, for instance with `nft insert rule {family} {table} {name} iifname {bridge} accept` and `nft insert rule {family} {table} {name} oifname {bridge} accept`"
            ));
        }
    }
    let legacy = fs::read_to_string(LEGACY_TABLES).unwrap_or_default();
    if legacy.lines().any(|table| table == "filter") {
        warnings.push(format!(
            "iptables-legacy has a filter table on this host; if its FORWARD chain drops by default, containers do not reach others: allow it there with `iptables-legacy -I FORWARD -i {bridge} -j ACCEPT` and `iptables-legacy -I FORWARD -o {bridge} -j ACCEPT`"
        ));
    }
    warnings
}

/// How many links on the bridge are others'.
fn foreign_ports(config: &NetworkConfig, bridge: &str) -> usize {
    let links = route::open()
        .and_then(|mut socket| route::links(&mut socket))
        .unwrap_or_default();
    let index = links
        .iter()
        .find(|link| link.name == bridge)
        .map(|link| link.index);
    let own = alias_prefix(config.install_id);
    let foreign = |link: &&Link| {
        link.master.is_some() && link.master == index && !link.alias.starts_with(&own)
    };
    links.iter().filter(foreign).count()
}
