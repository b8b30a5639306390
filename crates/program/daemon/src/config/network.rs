//! Options of the default network.

use std::net::Ipv4Addr;

use super::ConfigError;
use super::resolve::bad;
use super::values::Values;

/// Name of the bridge unless `--bridge` names another: Docker's.
const BRIDGE: &str = "docker0";
/// Longest name of a link in bytes (`IFNAMSIZ` with its NUL byte).
const LINK_NAME_MAX: usize = 15;
/// Longest prefix of a network that has room for a gateway and a container.
const PREFIX_MAX: u8 = 30;
/// Smallest and largest MTU that an interface can have.
const MTU: std::ops::RangeInclusive<u32> = 68..=65_535;

/// How the default network is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Name of the bridge; none for `--bridge none`.
    pub bridge: Option<String>,
    /// `--bip`.
    pub address: Option<(Ipv4Addr, u8)>,
    /// `--fixed-cidr`.
    pub pool: Option<(Ipv4Addr, u8)>,
    /// `--mtu`.
    pub mtu: Option<u32>,
    /// `--icc`.
    pub talk: bool,
    /// `--ip-masq`.
    pub masquerade: bool,
    /// `--ip-forward`.
    pub forward: bool,
    /// `--iptables`.
    pub firewall: bool,
    /// `--ip`: where ports are published that name no address.
    pub publish_on: Ipv4Addr,
}

/// Reads and checks them.
pub fn options(values: &Values) -> Result<NetworkOptions, ConfigError> {
    let bridge = match values.text("bridge") {
        Some("none") => None,
        None | Some("") => Some(BRIDGE.to_owned()),
        Some(name) => Some(link_name(name)?),
    };
    let address = match values.text("bip") {
        Some(text) => Some(subnet("bip", "172.17.0.1/16", text)?),
        None => None,
    };
    if bridge.is_none() && address.is_some() {
        return bad("--bridge none and --bip contradict each other: give one");
    }
    if let Some((ip, prefix)) = address
        && ip == network(ip, prefix)
    {
        return bad(format!(
            "bip: {ip}/{prefix} is the network itself: give the bridge an address in it, like 172.17.0.1/16"
        ));
    }
    let pool = match values.text("fixed-cidr") {
        Some(text) => Some(subnet("fixed-cidr", "172.17.1.0/24", text)?),
        None => None,
    };
    if let (Some((ip, prefix)), Some((first, length))) = (address, pool)
        && (length < prefix || network(first, prefix) != network(ip, prefix))
    {
        return bad(format!(
            "fixed-cidr: {first}/{length} is not part of the bridge's network {}/{prefix}",
            network(ip, prefix)
        ));
    }
    let publish_on = match values.text("ip") {
        None => Ipv4Addr::UNSPECIFIED,
        Some(text) => text.parse().or_else(|_| {
            bad(format!(
                "ip: {text:?} is no IPv4 address to publish ports on"
            ))
        })?,
    };
    Ok(NetworkOptions {
        bridge,
        address,
        pool,
        mtu: mtu(values)?,
        talk: values.bool("icc")?.unwrap_or(true),
        masquerade: values.bool("ip-masq")?.unwrap_or(true),
        forward: values.bool("ip-forward")?.unwrap_or(true),
        firewall: values.bool("iptables")?.unwrap_or(true),
        publish_on,
    })
}

fn mtu(values: &Values) -> Result<Option<u32>, ConfigError> {
    let Some(text) = values.text("mtu") else {
        return Ok(None);
    };
    match text.parse::<u32>() {
        Ok(0) => Ok(None),
        Ok(mtu) if MTU.contains(&mtu) => Ok(Some(mtu)),
        _ => bad(format!(
            "mtu: {text:?} is no number of bytes from 68 to 65535"
        )),
    }
}

fn link_name(name: &str) -> Result<String, ConfigError> {
    let fine = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':');
    if name.len() <= LINK_NAME_MAX && name.chars().all(fine) && !matches!(name, "." | "..") {
        return Ok(name.to_owned());
    }
    bad(format!(
        "bridge: {name:?} is no name of a link: at most {LINK_NAME_MAX} characters, none of them a space, '/' or ':'"
    ))
}

fn subnet(what: &str, like: &str, text: &str) -> Result<(Ipv4Addr, u8), ConfigError> {
    let parsed = text.split_once('/').and_then(|(ip, length)| {
        let length = length
            .parse()
            .ok()
            .filter(|n| (1..=PREFIX_MAX).contains(n))?;
        Some((ip.parse::<Ipv4Addr>().ok()?, length))
    });
    match parsed {
        Some(subnet) => Ok(subnet),
        None => bad(format!(
            "{what}: {text:?} is no IPv4 address with a prefix of at most {PREFIX_MAX} bits, like {like}"
        )),
    }
}

/// The address of the network that an address is in.
fn network(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX
        .checked_shl(32 - u32::from(prefix))
        .unwrap_or_default();
    Ipv4Addr::from(u32::from(address) & mask)
}
