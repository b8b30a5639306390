//! Links, addresses and routes: `NETLINK_ROUTE`, as `linux/rtnetlink.h` and `linux/if_link.h`
//! say.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::message::{CREATE, EXCLUSIVE, Frame, Message, u32_at};
use super::socket::{Family, Socket};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const IFF_UP: u32 = 1;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const VETH_INFO_PEER: u16 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RTN_UNICAST: u8 = 1;

/// Size of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
/// Size of `struct ifaddrmsg`.
const ADDRESS_HEADER: usize = 8;
/// Size of `struct rtmsg`.
const ROUTE_HEADER: usize = 12;

/// Longest name of a link (`IFNAMSIZ` without the NUL).
pub const NAME_MAX: usize = 15;

/// A link as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What sort it is, such as `bridge`; empty for hardware and loopback.
    pub kind: String,
    /// Its alias, empty for none.
    pub alias: String,
    /// Whether it is up.
    pub up: bool,
    /// Largest packet.
    pub mtu: u32,
    /// The bridge it belongs to.
    pub master: Option<u32>,
}

/// An address of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The link's number.
    pub link: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// Bits of its network.
    pub prefix: u8,
}

/// A route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where to; 0.0.0.0 for everywhere.
    pub destination: Ipv4Addr,
    /// Bits of the destination.
    pub prefix: u8,
    /// Through which link.
    pub link: Option<u32>,
}

/// A pair of links: one in the namespace of the socket, up at once, and one in another, down: the
/// kernel cannot bring it up before the two know each other.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// Name of the near link.
    pub name: &'a str,
    /// Its number, so that what follows can speak of it without asking.
    pub index: u32,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Largest packet of both.
    pub mtu: u32,
    /// Name of the far link.
    pub peer: &'a str,
    /// Namespace of the far link.
    pub namespace: BorrowedFd<'a>,
}

/// A link as a port of a bridge.
#[derive(Debug, Clone, Copy)]
pub struct Port<'a> {
    /// The link.
    pub name: &'a str,
    /// The bridge's number.
    pub bridge: u32,
    /// What else to call the link.
    pub alias: &'a str,
    /// Whether a packet may leave by the port it came in at: needed where the bridge's packets
    /// pass the firewall, for a container that asks for its own published port.
    pub hairpin: bool,
    /// Whether it reaches the bridge itself only, and none of the other isolated ports.
    pub isolated: bool,
}

fn link_header(index: u32, up: bool) -> [u8; LINK_HEADER] {
    let mut header = [0; LINK_HEADER];
    let flags = u32::from(up) * IFF_UP;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// Brings a link up.
pub fn set_up(index: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &link_header(index, true))
}

/// Makes a pair of links, the far one in its namespace from birth: moving it there later costs
/// fifty times as much.
pub fn make_pair(pair: &Pair<'_>) -> Message {
    Message::new(
        RTM_NEWLINK,
        CREATE | EXCLUSIVE,
        &link_header(pair.index, true),
    )
    .text(IFLA_IFNAME, pair.name)
    .number(IFLA_MTU, pair.mtu)
    .bytes(IFLA_ADDRESS, &pair.mac)
    .nested(IFLA_LINKINFO, |info| {
        info.text(IFLA_INFO_KIND, "veth")
            .nested(IFLA_INFO_DATA, |data| {
                data.around(VETH_INFO_PEER, |peer| {
                    peer.raw(&link_header(0, false))
                        .text(IFLA_IFNAME, pair.peer)
                        .number(IFLA_MTU, pair.mtu)
                        .number(IFLA_NET_NS_FD, pair.namespace.as_raw_fd() as u32)
                })
            })
    })
}

/// Makes a bridge, down.
pub fn make_bridge(name: &str, mac: [u8; 6], mtu: u32) -> Message {
    Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE, &link_header(0, false))
        .text(IFLA_IFNAME, name)
        .number(IFLA_MTU, mtu)
        .bytes(IFLA_ADDRESS, &mac)
        .nested(IFLA_LINKINFO, |info| info.text(IFLA_INFO_KIND, "bridge"))
}

/// Makes a link a port of a bridge, names it and brings it up.
pub fn join_bridge(port: &Port<'_>) -> Vec<Message> {
    let named = |up| Message::new(RTM_NEWLINK, 0, &link_header(0, up)).text(IFLA_IFNAME, port.name);
    let joined = named(true)
        .text(IFLA_IFALIAS, port.alias)
        .number(IFLA_MASTER, port.bridge);
    // A message of its own: how a link behaves as a port can be said only when it is one.
    let tuned = named(false).nested(IFLA_LINKINFO, |info| {
        info.text(IFLA_INFO_SLAVE_KIND, "bridge")
            .nested(IFLA_INFO_SLAVE_DATA, |data| {
                data.byte(IFLA_BRPORT_MODE, port.hairpin.into())
                    .byte(IFLA_BRPORT_ISOLATED, port.isolated.into())
            })
    });
    vec![joined, tuned]
}

/// Sets a link's alias, a text of up to 255 bytes for people and for whoever looks for its own.
pub fn set_alias(index: u32, alias: &str) -> Message {
    Message::new(RTM_NEWLINK, 0, &link_header(index, false)).text(IFLA_IFALIAS, alias)
}

/// Sets a link's hardware address.
pub fn set_mac(index: u32, mac: [u8; 6]) -> Message {
    Message::new(RTM_NEWLINK, 0, &link_header(index, false)).bytes(IFLA_ADDRESS, &mac)
}

/// Removes a link; a pair goes together. Takes tens of milliseconds.
pub fn remove_link(index: u32) -> Message {
    Message::new(RTM_DELLINK, 0, &link_header(index, false))
}

/// Gives a link an address.
pub fn add_address(address: &Address) -> Message {
    let octets = address.address.octets();
    let broadcast =
        u32::from(address.address) | u32::MAX.checked_shr(address.prefix.into()).unwrap_or(0);
    let [a, b, c, d] = address.link.to_ne_bytes();
    let header = [AF_INET, address.prefix, 0, RT_SCOPE_UNIVERSE, a, b, c, d];
    Message::new(RTM_NEWADDR, CREATE | EXCLUSIVE, &header)
        .bytes(IFA_LOCAL, &octets)
        .bytes(IFA_ADDRESS, &octets)
        .bytes(IFA_BROADCAST, &broadcast.to_be_bytes())
}

/// Sends everything without a route of its own to `gateway`.
pub fn add_default_route(gateway: Ipv4Addr, link: u32) -> Message {
    let mut header = [0; ROUTE_HEADER];
    header[0] = AF_INET;
    header[4..8].copy_from_slice(&[RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST]);
    Message::new(RTM_NEWROUTE, CREATE | EXCLUSIVE, &header)
        .bytes(RTA_GATEWAY, &gateway.octets())
        .number(RTA_OIF, link)
}

/// All links of the namespace.
///
/// # Errors
/// What the kernel says.
pub fn links(socket: &mut Socket) -> io::Result<Vec<Link>> {
    let all = Message::new(RTM_GETLINK, 0, &link_header(0, false));
    socket.ask(&all, true, link)
}

/// The link of a name.
///
/// # Errors
/// What the kernel says, except that there is none.
pub fn link_named(socket: &mut Socket, name: &str) -> io::Result<Option<Link>> {
    let message = Message::new(RTM_GETLINK, 0, &link_header(0, false)).text(IFLA_IFNAME, name);
    one_link(socket, &message)
}

/// The link of a number.
///
/// # Errors
/// As [`link_named`].
pub fn link_numbered(socket: &mut Socket, index: u32) -> io::Result<Option<Link>> {
    one_link(
        socket,
        &Message::new(RTM_GETLINK, 0, &link_header(index, false)),
    )
}

fn one_link(socket: &mut Socket, message: &Message) -> io::Result<Option<Link>> {
    match socket.ask(message, false, link) {
        Ok(mut links) => Ok(links.pop()),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All IPv4 addresses of the namespace.
///
/// # Errors
/// What the kernel says.
pub fn addresses(socket: &mut Socket) -> io::Result<Vec<Address>> {
    let header = [AF_INET, 0, 0, 0, 0, 0, 0, 0];
    socket.ask(&Message::new(RTM_GETADDR, 0, &header), true, address)
}

/// All IPv4 routes of the main table.
///
/// # Errors
/// What the kernel says.
pub fn routes(socket: &mut Socket) -> io::Result<Vec<Route>> {
    let mut header = [0; ROUTE_HEADER];
    header[0] = AF_INET;
    socket.ask(&Message::new(RTM_GETROUTE, 0, &header), true, route)
}

/// The link by which a packet to `address` would leave.
///
/// # Errors
/// What the kernel says, except that there is no way.
pub fn way_to(socket: &mut Socket, address: Ipv4Addr) -> io::Result<Option<u32>> {
    let mut header = [0; ROUTE_HEADER];
    (header[0], header[1]) = (AF_INET, 32);
    let message = Message::new(RTM_GETROUTE, 0, &header).bytes(RTA_DST, &address.octets());
    let link = |frame: &Frame<'_>| frame.attributes(ROUTE_HEADER).number(RTA_OIF);
    match socket.ask(&message, false, link) {
        Ok(mut links) => Ok(links.pop()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL) => Ok(None),
            _ => Err(error),
        },
    }
}

/// A socket for all of this, of the calling thread's network namespace.
///
/// # Errors
/// What the kernel says.
pub fn open() -> io::Result<Socket> {
    Socket::open(Family::Route)
}

fn link(frame: &Frame<'_>) -> Option<Link> {
    if frame.kind != RTM_NEWLINK || frame.payload.first() != Some(&AF_UNSPEC) {
        return None;
    }
    let attributes = frame.attributes(LINK_HEADER);
    let info = attributes.inside(IFLA_LINKINFO);
    Some(Link {
        index: u32_at(frame.payload, 4)?,
        name: attributes.text(IFLA_IFNAME)?,
        kind: info.text(IFLA_INFO_KIND).unwrap_or_default(),
        alias: attributes.text(IFLA_IFALIAS).unwrap_or_default(),
        up: u32_at(frame.payload, 8)? & IFF_UP != 0,
        mtu: attributes.number(IFLA_MTU).unwrap_or_default(),
        master: attributes.number(IFLA_MASTER),
    })
}

fn address(frame: &Frame<'_>) -> Option<Address> {
    let attributes = frame.attributes(ADDRESS_HEADER);
    let local = attributes
        .get(IFA_LOCAL)
        .or_else(|| attributes.get(IFA_ADDRESS));
    (frame.kind == RTM_NEWADDR && frame.payload.first() == Some(&AF_INET)).then_some(())?;
    Some(Address {
        link: u32_at(frame.payload, 4)?,
        address: ip(local?)?,
        prefix: *frame.payload.get(1)?,
    })
}

fn route(frame: &Frame<'_>) -> Option<Route> {
    let of_main = frame.payload.get(4) == Some(&RT_TABLE_MAIN);
    (frame.kind == RTM_NEWROUTE && frame.payload.first() == Some(&AF_INET) && of_main)
        .then_some(())?;
    let attributes = frame.attributes(ROUTE_HEADER);
    Some(Route {
        destination: attributes
            .get(RTA_DST)
            .map_or(Some(Ipv4Addr::UNSPECIFIED), ip)?,
        prefix: *frame.payload.get(1)?,
        link: attributes.number(RTA_OIF),
    })
}

fn ip(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}
