//! What the firewall table says: pure, from a description of the network to a transaction.
//!
//! ```text
//! guard        raw          what is addressed to 127.0.0.0/8, or says it comes from there, and
//!                           came in by a link, is dropped: published ports on 127.0.0.1 are
//!                           redirected before the kernel's own check of that
//! prerouting   dstnat       address.protocol.port in @addressed, or a local address and
//! output       dstnat       protocol.port in @ports: on to the container
//! forward      filter       what leaves by the bridge goes through `into`; what comes from it and
//!                           belongs to nothing is dropped, or it would leave with its own address
//! into                      known connections, published ports, other containers if they may talk
//! postrouting  srcnat       what leaves the host gets its address; so does what a container, or
//!                           the loopback, sends by way of the host to a published port
//! ```

use std::net::Ipv4Addr;

use berth_sys::netlink::expression::Expression::{
    Destination, DestinationPort, DestinationType, Differs, Equal, From, Lookup, Mask, Masquerade,
    Protocol, Redirect, Source, State, Status, To, Verdict,
};
use berth_sys::netlink::expression::Verdict::{Accept, Drop, Jump};
use berth_sys::netlink::expression::{
    Expression, Register, STATE_INVALID, STATE_KNOWN, STATUS_REDIRECTED, TYPE_LOCAL,
};
use berth_sys::netlink::nft::{Batch, Chain, Datatype, Element, Hook, Map, Purpose};

use crate::endpoint::{self, Published};
use crate::subnet::Subnet;

/// Ports of all local addresses.
const PORTS: &str = "ports";
/// Ports of certain addresses.
const ADDRESSED: &str = "addressed";
/// Size of a link's name in a register.
const NAME_LENGTH: usize = 16;

/// What the table has to know of the network.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) table: String,
    pub(crate) bridge: String,
    pub(crate) subnet: Subnet,
    pub(crate) masquerade: bool,
    pub(crate) talk: bool,
}

/// A published port as an element: the map, the key and the value.
pub(crate) fn element(port: &Published, container: Ipv4Addr) -> (&'static str, Element) {
    let protocol = match port.protocol {
        endpoint::Protocol::Tcp => 6,
        endpoint::Protocol::Udp => 17,
        endpoint::Protocol::Sctp => 132,
    };
    let [high, low] = port.host_port.to_be_bytes();
    let mut key = vec![protocol, 0, 0, 0, high, low, 0, 0];
    let mut value = container.octets().to_vec();
    value.extend(port.container_port.to_be_bytes());
    value.extend([0, 0]);
    if port.host_address.is_unspecified() {
        return (PORTS, (key, value));
    }
    key.splice(0..0, port.host_address.octets());
    (ADDRESSED, (key, value))
}

/// Puts elements of both maps into a transaction, or takes them out.
pub(crate) fn change(batch: &mut Batch<'_>, elements: &[(&'static str, Element)], put: bool) {
    for map in [PORTS, ADDRESSED] {
        let of_map = elements.iter().filter(|(of, _)| *of == map);
        let of_map: Vec<Element> = of_map.map(|(_, element)| element.clone()).collect();
        match put {
            true => batch.put(map, &of_map),
            false => batch.take(map, &of_map),
        }
    }
}

/// The whole table in place of the one that is there, with its elements.
pub(crate) fn whole<'a>(layout: &'a Layout, elements: &[(&'static str, Element)]) -> Batch<'a> {
    let mut batch = Batch::new(&layout.table);
    // Made first, so that there is one to remove.
    batch.table();
    batch.remove_table();
    batch.table();
    let (address, protocol, port) = (Datatype::Address, Datatype::Protocol, Datatype::Port);
    batch.map(&Map {
        name: PORTS,
        key: &[protocol, port],
        value: &[address, port],
    });
    batch.map(&Map {
        name: ADDRESSED,
        key: &[address, protocol, port],
        value: &[address, port],
    });
    for (name, hook) in [
        ("guard", Some((Purpose::Filter, Hook::Prerouting, -300))),
        ("prerouting", Some((Purpose::Nat, Hook::Prerouting, -100))),
        ("output", Some((Purpose::Nat, Hook::Output, -100))),
        ("into", None),
        ("forward", Some((Purpose::Filter, Hook::Forward, 0))),
        ("postrouting", Some((Purpose::Nat, Hook::Postrouting, 100))),
    ] {
        batch.chain(&Chain { name, hook });
    }
    for (chain, expressions) in rules(layout) {
        batch.rule(chain, &expressions);
    }
    change(&mut batch, elements, true);
    batch
}

fn rules(layout: &Layout) -> Vec<(&'static str, Vec<Expression<'static>>)> {
    let bridge = || name(&layout.bridge);
    let from_bridge = || vec![From(0), Equal(0, bridge())];
    let to_bridge = || vec![To(0), Equal(0, bridge())];
    let not_loopback = || vec![From(0), Differs(0, name("lo"))];
    let loopback = Subnet::of(Ipv4Addr::LOCALHOST, 8);
    let mut rules = vec![
        (
            "guard",
            join([
                not_loopback(),
                within(Destination(0), loopback),
                vec![Verdict(Drop)],
            ]),
        ),
        (
            "guard",
            join([
                not_loopback(),
                within(Source(0), loopback),
                vec![Verdict(Drop)],
            ]),
        ),
    ];
    for chain in ["prerouting", "output"] {
        rules.push((chain, addressed()));
        rules.push((chain, published()));
    }
    let accept = |condition: Vec<_>| ("into", join([condition, vec![Verdict(Accept)]]));
    rules.push(accept(bits(State(0), STATE_KNOWN)));
    rules.push(accept(bits(Status(0), STATUS_REDIRECTED)));
    if layout.talk {
        rules.push(accept(from_bridge()));
    }
    rules.push(("into", vec![Verdict(Drop)]));
    rules.push(("forward", join([to_bridge(), vec![Verdict(Jump("into"))]])));
    rules.push((
        "forward",
        join([
            from_bridge(),
            bits(State(0), STATE_INVALID),
            vec![Verdict(Drop)],
        ]),
    ));
    let masquerade = |condition| ("postrouting", join([condition, vec![Masquerade]]));
    if layout.masquerade {
        let leaves = vec![To(0), Differs(0, bridge())];
        rules.push(masquerade(join([leaves, within(Source(0), layout.subnet)])));
    }
    let redirected = bits(Status(0), STATUS_REDIRECTED);
    rules.push(masquerade(join([
        to_bridge(),
        redirected,
        within(Source(0), layout.subnet),
    ])));
    rules.push(masquerade(join([to_bridge(), within(Source(0), loopback)])));
    rules
}

/// To a certain address and port that is published.
fn addressed() -> Vec<Expression<'static>> {
    vec![
        Destination(0),
        Protocol(1),
        DestinationPort(2),
        Lookup(ADDRESSED, 0, 4),
        Redirect(4, 5),
    ]
}

/// To any address of the host and a port that is published.
fn published() -> Vec<Expression<'static>> {
    let local = TYPE_LOCAL.to_ne_bytes().to_vec();
    vec![
        DestinationType(0),
        Equal(0, local),
        Protocol(0),
        DestinationPort(1),
        Lookup(PORTS, 0, 4),
        Redirect(4, 5),
    ]
}

/// An address that was loaded into register 0 lies in a subnet.
fn within(load: Expression<'static>, subnet: Subnet) -> Vec<Expression<'static>> {
    let mask = subnet.mask().octets().to_vec();
    vec![
        load,
        Mask(0, mask),
        Equal(0, subnet.network().octets().to_vec()),
    ]
}

/// One of some bits is set in what was loaded into register 0.
fn bits(load: Expression<'static>, bits: u32) -> Vec<Expression<'static>> {
    const AT: Register = 0;
    vec![
        load,
        Mask(AT, bits.to_ne_bytes().to_vec()),
        Differs(AT, vec![0; 4]),
    ]
}

fn name(link: &str) -> Vec<u8> {
    let mut bytes = link.as_bytes().to_vec();
    bytes.resize(NAME_LENGTH, 0);
    bytes
}

fn join<const N: usize>(parts: [Vec<Expression<'static>>; N]) -> Vec<Expression<'static>> {
    parts.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_both_maps() {
        let mut port = Published {
            protocol: endpoint::Protocol::Tcp,
            container_port: 80,
            host_address: Ipv4Addr::UNSPECIFIED,
            host_port: 8081,
        };
        let container = Ipv4Addr::new(172, 17, 0, 9);
        let value = vec![172, 17, 0, 9, 0, 80, 0, 0];
        let key = vec![6, 0, 0, 0, 0x1f, 0x91, 0, 0];
        assert_eq!(element(&port, container), (PORTS, (key, value.clone())));
        port.host_address = Ipv4Addr::LOCALHOST;
        port.protocol = endpoint::Protocol::Udp;
        let key = vec![127, 0, 0, 1, 17, 0, 0, 0, 0x1f, 0x91, 0, 0];
        assert_eq!(element(&port, container), (ADDRESSED, (key, value)));
    }
}
