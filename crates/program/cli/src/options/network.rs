//! The networks a container joins: `--network` and the options that go to its first network.

use std::collections::BTreeMap;
use std::net::IpAddr;

use berth_api::network::{EndpointIpamConfig, EndpointSettings, NetworkingConfig};

use super::csv;
use super::flags::CreateFlags;
use super::value;

/// The network that a container joins if none is named.
const DEFAULT: &str = "default";

/// One value of `--network`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachment {
    /// The network's name, `host`, `none`, or `container:<id>`.
    pub target: String,
    /// What is wished for in it.
    pub endpoint: EndpointSettings,
}

/// Reads a network's name, or `name=…` with further `key=value` pairs.
pub fn parse(text: &str) -> Result<Attachment, String> {
    let mut attachment = Attachment::default();
    if !text.contains('=') {
        attachment.target = text.to_owned();
        return Ok(attachment);
    }
    let endpoint = &mut attachment.endpoint;
    for field in csv::split(text)? {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("invalid field {field} must be a key=value pair"))?;
        let value = value.trim();
        match key.trim().to_lowercase().as_str() {
            "name" => attachment.target = value.to_owned(),
            "alias" => endpoint.aliases.push(value.to_owned()),
            "driver-opt" => {
                let (name, value) = value
                    .split_once('=')
                    .ok_or_else(|| "invalid key value pair format in driver options".to_owned())?;
                endpoint
                    .driver_opts
                    .insert(name.trim().to_lowercase(), value.trim().to_owned());
            }
            "ip" => ipam(endpoint).ipv4_address = value.to_owned(),
            "ip6" => ipam(endpoint).ipv6_address = value.to_owned(),
            "mac-address" => endpoint.mac_address = mac_address(value)?,
            "link-local-ip" => ipam(endpoint).link_local_ips.push(address(value)?),
            "gw-priority" => {
                endpoint.gw_priority = value::integer(value)
                    .map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
            }
            other => return Err(format!("invalid field key {other}")),
        }
    }
    Ok(attachment)
}

/// The network mode and the endpoints of a create request.
pub fn resolve(flags: &CreateFlags) -> Result<(String, NetworkingConfig), String> {
    let mut wanted = flags.network.clone();
    if wanted.is_empty() {
        wanted.push(Attachment {
            target: DEFAULT.to_owned(),
            ..Attachment::default()
        });
    }
    let single = flags.network.len() == 1;
    let mut endpoints = BTreeMap::new();
    let mut mode = String::new();
    let (mut defined, mut built_in) = (false, false);
    for (
        index,
        Attachment {
            target,
            mut endpoint,
        },
    ) in wanted.into_iter().enumerate()
    {
        if target.is_empty() {
            return Err("no name set for network".to_owned());
        }
        if is_user_defined(&target) {
            defined = true
        } else {
            built_in = true
        }
        if index == 0 {
            mode.clone_from(&target);
            apply_flags(&mut endpoint, flags)?;
        }
        if !is_user_defined(&target) && !endpoint.aliases.is_empty() {
            let sentence = "network-scoped aliases are only supported for user-defined networks";
            return Err(sentence.to_owned());
        }
        if single && endpoint == EndpointSettings::default() {
            continue;
        }
        if endpoints.insert(target.clone(), endpoint).is_some() {
            return Err(format!("network {target:?} is specified multiple times"));
        }
    }
    if defined && built_in {
        return Err(
            "conflicting options: cannot attach both user-defined and non-user-defined \
                    network-modes"
                .to_owned(),
        );
    }
    Ok((
        mode,
        NetworkingConfig {
            endpoints_config: endpoints,
        },
    ))
}

fn is_user_defined(target: &str) -> bool {
    !matches!(target, DEFAULT | "bridge" | "host" | "none") && !target.starts_with("container:")
}

fn ipam(endpoint: &mut EndpointSettings) -> &mut EndpointIpamConfig {
    endpoint.ipam_config.get_or_insert_default()
}

/// The flags that stand for options of the first network.
fn apply_flags(endpoint: &mut EndpointSettings, flags: &CreateFlags) -> Result<(), String> {
    let both = |flag: &str, what: &str| {
        Err(format!(
            "conflicting options: cannot specify both {flag} and per-network {what}"
        ))
    };
    if !flags.network_alias.is_empty() {
        if !endpoint.aliases.is_empty() {
            return both("--network-alias", "alias");
        }
        endpoint.aliases.clone_from(&flags.network_alias);
    }
    if let Some(ip) = &flags.ip {
        if endpoint
            .ipam_config
            .as_ref()
            .is_some_and(|i| !i.ipv4_address.is_empty())
        {
            return both("--ip", "IPv4 address");
        }
        ipam(endpoint).ipv4_address.clone_from(ip);
    }
    if let Some(ip) = &flags.ip6 {
        if endpoint
            .ipam_config
            .as_ref()
            .is_some_and(|i| !i.ipv6_address.is_empty())
        {
            return both("--ip6", "IPv6 address");
        }
        ipam(endpoint).ipv6_address.clone_from(ip);
    }
    if !flags.link_local_ip.is_empty() {
        if endpoint
            .ipam_config
            .as_ref()
            .is_some_and(|i| !i.link_local_ips.is_empty())
        {
            return both("--link-local-ip", "link-local IP addresses");
        }
        ipam(endpoint)
            .link_local_ips
            .clone_from(&flags.link_local_ip);
    }
    if let Some(mac) = &flags.mac_address {
        if !endpoint.mac_address.is_empty() {
            return both("--mac-address", "MAC address");
        }
        endpoint.mac_address = mac_address(mac)?;
    }
    let user_defined = flags
        .network
        .first()
        .is_some_and(|n| is_user_defined(&n.target));
    if user_defined {
        endpoint.links.clone_from(&flags.link);
    }
    Ok(())
}

fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

fn address(text: &str) -> Result<String, String> {
    if is_ip(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("invalid IP address: {text}"))
    }
}

fn mac_address(text: &str) -> Result<String, String> {
    let text = text.trim();
    let separator = if text.contains('-') { '-' } else { ':' };
    let octet = |o: &str| o.len() == 2 && o.bytes().all(|b| b.is_ascii_hexdigit());
    let octets: Vec<&str> = text.split(separator).collect();
    if matches!(octets.len(), 6 | 8 | 20) && octets.into_iter().all(octet) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text} is not a valid mac address"))
    }
}
