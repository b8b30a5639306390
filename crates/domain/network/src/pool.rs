//! The addresses of a network: who has which, and which is next.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use berth_types::ContainerId;

use crate::subnet::Subnet;

/// Why an address is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// None is left.
    Exhausted,
    /// Somebody has it.
    Taken,
    /// It is none of this network's.
    Foreign,
}

/// The addresses that containers may have. They are given out in order, each after the one given
/// last, and from the start again after the end: one that was given back rests as long as it can,
/// so that what still speaks to its last holder does not reach the next.
#[derive(Debug)]
pub(crate) struct Pool {
    subnet: Subnet,
    gateway: Ipv4Addr,
    first: u32,
    last: u32,
    next: u32,
    taken: BTreeMap<Ipv4Addr, ContainerId>,
}

impl Pool {
    /// All of `subnet`, or of the `range` in it, but the gateway's address and those that mean
    /// the network itself.
    pub(crate) fn new(subnet: Subnet, gateway: Ipv4Addr, range: Subnet) -> Self {
        let (first, last) = (u32::from(range.network()), u32::from(range.last()));
        Self {
            subnet,
            gateway,
            first,
            last,
            next: first,
            taken: BTreeMap::new(),
        }
    }

    fn may_be_given(&self, address: Ipv4Addr) -> bool {
        let (network, broadcast) = (self.subnet.network(), self.subnet.last());
        self.subnet.has(address) && ![network, broadcast, self.gateway].contains(&address)
    }

    /// Takes the next free address.
    pub(crate) fn take_next(&mut self, id: ContainerId) -> Result<Ipv4Addr, Refusal> {
        let around = (self.next..=self.last).chain(self.first..self.next);
        let free = around
            .map(Ipv4Addr::from)
            .find(|address| self.may_be_given(*address) && !self.taken.contains_key(address));
        let address = free.ok_or(Refusal::Exhausted)?;
        self.give(id, address);
        Ok(address)
    }

    /// Takes a certain address. One outside of the range but in the subnet will do.
    pub(crate) fn take(&mut self, id: ContainerId, address: Ipv4Addr) -> Result<(), Refusal> {
        if !self.may_be_given(address) {
            return Err(Refusal::Foreign);
        }
        match self.taken.get(&address) {
            Some(holder) if *holder != id => Err(Refusal::Taken),
            _ => {
                self.give(id, address);
                Ok(())
            }
        }
    }

    fn give(&mut self, id: ContainerId, address: Ipv4Addr) {
        self.taken.insert(address, id);
        let given = u32::from(address);
        if (self.first..=self.last).contains(&given) {
            self.next = if given == self.last {
                self.first
            } else {
                given + 1
            };
        }
    }

    /// Gives an address back.
    pub(crate) fn give_back(&mut self, address: Ipv4Addr) {
        self.taken.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> ContainerId {
        ContainerId::from_bytes([number; 32])
    }

    fn pool(subnet: &str, prefix: u8, range: Option<(&str, u8)>) -> Pool {
        let subnet = Subnet::of(subnet.parse().unwrap(), prefix);
        let range = range.map_or(subnet, |(address, prefix)| {
            Subnet::of(address.parse().unwrap(), prefix)
        });
        let gateway = Ipv4Addr::from(u32::from(subnet.network()) + 1);
        Pool::new(subnet, gateway, range)
    }

    fn last_octet(address: Ipv4Addr) -> u8 {
        address.octets()[3]
    }

    #[test]
    fn addresses_are_given_in_turn_and_rest_when_they_come_back() {
        let mut pool = pool("10.0.0.0", 29, None);
        let mut given: Vec<u8> = (0..3)
            .map(|n| last_octet(pool.take_next(id(n)).unwrap()))
            .collect();
        assert_eq!(given, [2, 3, 4]);
        pool.give_back(Ipv4Addr::new(10, 0, 0, 2));
        given = (3..6)
            .map(|n| last_octet(pool.take_next(id(n)).unwrap()))
            .collect();
        assert_eq!(given, [5, 6, 2]);
        assert_eq!(pool.take_next(id(9)), Err(Refusal::Exhausted));
        pool.give_back(Ipv4Addr::new(10, 0, 0, 4));
        assert_eq!(pool.take_next(id(9)).map(last_octet), Ok(4));
    }

    #[test]
    fn certain_addresses() {
        let mut pool = pool("10.0.0.0", 24, Some(("10.0.0.128", 30)));
        let at = |n| Ipv4Addr::new(10, 0, 0, n);
        for refused in [at(0), at(1), at(255), Ipv4Addr::new(10, 0, 1, 2)] {
            assert_eq!(
                pool.take(id(1), refused),
                Err(Refusal::Foreign),
                "{refused}"
            );
        }
        assert_eq!(pool.take(id(1), at(7)), Ok(()));
        assert_eq!(pool.take(id(1), at(7)), Ok(()), "the holder may ask again");
        assert_eq!(pool.take(id(2), at(7)), Err(Refusal::Taken));
        assert_eq!(pool.take(id(2), at(130)), Ok(()));
        // The range's own ends mean nothing in the subnet and are given out.
        let given: Vec<u8> = (3..6)
            .map(|n| last_octet(pool.take_next(id(n)).unwrap()))
            .collect();
        assert_eq!(given, [131, 128, 129]);
        assert_eq!(pool.take_next(id(6)), Err(Refusal::Exhausted));
    }
}
