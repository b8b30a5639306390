//! Subnets: an address and a prefix, and which of them an engine may take.

use std::fmt;
use std::net::Ipv4Addr;

/// Routes to so much of the world are ways out, as VPNs make them, and collide with nothing.
const WAY_OUT_PREFIX: u8 = 8;

/// A network address with its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet {
    first: u32,
    prefix: u8,
}

impl Subnet {
    /// The subnet that `address` lies in.
    pub(crate) fn of(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self {
            first: u32::from(address) & mask(prefix),
            prefix,
        }
    }

    pub(crate) fn prefix(self) -> u8 {
        self.prefix
    }

    /// Its network address.
    pub(crate) fn network(self) -> Ipv4Addr {
        self.first.into()
    }

    pub(crate) fn mask(self) -> Ipv4Addr {
        mask(self.prefix).into()
    }

    /// Its last address, the broadcast's.
    pub(crate) fn last(self) -> Ipv4Addr {
        (self.first | !mask(self.prefix)).into()
    }

    pub(crate) fn has(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == self.first
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.has(other.network()) || other.has(self.network())
    }

    /// Whether a route there keeps others from using it.
    pub(crate) fn is_way_out(self) -> bool {
        self.prefix < WAY_OUT_PREFIX
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0)
}

/// Docker's default pools, in its order: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in
/// parts of /20.
pub(crate) fn default_pools() -> impl Iterator<Item = Subnet> {
    let large = (17..=31).map(|second| Subnet::of(Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0..16).map(|part| Subnet::of(Ipv4Addr::new(192, 168, part << 4, 0), 20));
    large.chain(small)
}

/// The first of the default pools that collides with nothing that is `used`.
pub(crate) fn choose(used: &[Subnet]) -> Option<Subnet> {
    let collides = |pool: &Subnet| {
        used.iter()
            .any(|used| !used.is_way_out() && used.overlaps(*pool))
    };
    default_pools().find(|pool| !collides(pool))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        let (address, prefix) = text.split_once('/').unwrap();
        Subnet::of(address.parse().unwrap(), prefix.parse().unwrap())
    }

    #[test]
    fn the_first_pool_that_is_free_is_chosen() {
        let check = |used: &[&str], expected: Option<&str>| {
            let used: Vec<Subnet> = used.iter().map(|text| subnet(text)).collect();
            assert_eq!(
                choose(&used).map(|pool| pool.to_string()).as_deref(),
                expected,
                "{used:?}"
            );
        };
        check(&[], Some("172.17.0.0/16"));
        check(&["10.0.0.0/8", "192.168.1.0/24"], Some("172.17.0.0/16"));
        check(&["172.17.3.0/24"], Some("172.18.0.0/16"));
        check(&["172.16.0.0/12"], Some("192.168.0.0/20"));
        check(
            &["172.16.0.0/12", "192.168.1.0/24"],
            Some("192.168.16.0/20"),
        );
        check(&["172.16.0.0/12", "192.168.0.0/16"], None);
        // A VPN that sends everything its way by two halves takes no pool away.
        check(
            &["0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/0"],
            Some("172.17.0.0/16"),
        );
    }

    #[test]
    fn edges_of_subnets() {
        let whole = subnet("172.17.42.1/16");
        assert_eq!(
            (whole.network(), whole.last()),
            (
                "172.17.0.0".parse().unwrap(),
                "172.17.255.255".parse().unwrap()
            )
        );
        assert_eq!(subnet("10.1.2.3/32").last(), Ipv4Addr::new(10, 1, 2, 3));
        assert!(subnet("0.0.0.0/0").has(Ipv4Addr::new(8, 8, 8, 8)));
        assert!(!subnet("10.0.0.0/9").overlaps(subnet("10.128.0.0/9")));
    }
}
