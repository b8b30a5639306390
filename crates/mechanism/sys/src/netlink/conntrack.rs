//! Connection tracking: forgetting what was rewritten for somebody who is gone
//! (`linux/netfilter/nfnetlink_conntrack.h`).

use std::io;
use std::net::Ipv4Addr;

use super::message::Message;
use super::socket::{Family, Socket};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE`.
const DELETE: u16 = 1 << 8 | 2;
const IPV4: u8 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// Which parts of a tuple are compared (`CTA_FILTER_F_*`).
const FILTER_SOURCE: u32 = 1;
const FILTER_PROTOCOL: u32 = 1 << 3;
const FILTER_DESTINATION_PORT: u32 = 1 << 5;

/// Forgets every connection that is answered by `address`: those to it, whatever they were
/// addressed to. Needs Linux 5.8.
///
/// # Errors
/// What the kernel says; nothing to forget is none.
pub fn forget_answered_by(address: Ipv4Addr) -> io::Result<()> {
    let message = Message::new(DELETE, 0, &[IPV4, 0, 0, 0])
        .nested(CTA_TUPLE_REPLY, |tuple| {
            tuple.nested(CTA_TUPLE_IP, |ip| {
                ip.bytes(CTA_IP_V4_SRC, &address.octets())
            })
        })
        .nested(CTA_FILTER, |filter| {
            filter
                .number(CTA_FILTER_ORIG_FLAGS, 0)
                .number(CTA_FILTER_REPLY_FLAGS, FILTER_SOURCE)
        });
    send(message)
}

/// Forgets every connection of `protocol` (its number) that was addressed to `port` of any host:
/// one that began before the port was published would never be redirected. Needs Linux 5.8.
///
/// # Errors
/// As [`forget_answered_by`].
pub fn forget_addressed_to(protocol: u8, port: u16) -> io::Result<()> {
    let message = Message::new(DELETE, 0, &[IPV4, 0, 0, 0])
        .nested(CTA_TUPLE_ORIG, |tuple| {
            tuple.nested(CTA_TUPLE_PROTO, |part| {
                part.byte(CTA_PROTO_NUM, protocol)
                    .bytes(CTA_PROTO_DST_PORT, &port.to_be_bytes())
            })
        })
        .nested(CTA_FILTER, |filter| {
            filter
                .number(
                    CTA_FILTER_ORIG_FLAGS,
                    FILTER_PROTOCOL | FILTER_DESTINATION_PORT,
                )
                .number(CTA_FILTER_REPLY_FLAGS, 0)
        });
    send(message)
}

fn send(message: Message) -> io::Result<()> {
    match Socket::open(Family::Netfilter)?.transact(vec![message]) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}
