//! The expressions that firewall rules are made of (`linux/netfilter/nf_tables.h`).
//!
//! A rule is a list of them. They work on sixteen registers of four bytes; one that does not
//! match ends the rule.

use super::message::Message;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;

/// `NFT_REG32_00`: the number of the first register.
const FIRST_REGISTER: u32 = 8;
/// `NFT_REG_VERDICT`.
const VERDICT_REGISTER: u32 = 0;

/// `NFPROTO_IPV4`.
const FAMILY_IPV4: u32 = 2;
/// `NFT_META_L4PROTO`, `NFT_META_IIFNAME`, `NFT_META_OIFNAME`.
const META_PROTOCOL: u32 = 16;
const META_FROM: u32 = 6;
const META_TO: u32 = 7;
/// `NFT_CT_STATE`, `NFT_CT_STATUS`.
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
/// `NFT_FIB_RESULT_ADDRTYPE`, `NFTA_FIB_F_DADDR`.
const FIB_TYPE: u32 = 3;
const FIB_OF_DESTINATION: u32 = 2;
/// `NFT_PAYLOAD_NETWORK_HEADER`, `NFT_PAYLOAD_TRANSPORT_HEADER`.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

/// Bit of an invalid packet in [`Expression::State`].
pub const STATE_INVALID: u32 = 1;
/// Bits of a packet of a known connection, or of one that belongs to one.
pub const STATE_KNOWN: u32 = 2 | 4;
/// `IPS_DST_NAT`: bit of a connection whose destination was replaced, in [`Expression::Status`].
pub const STATUS_REDIRECTED: u32 = 1 << 5;
/// `RTN_LOCAL`: the type of an address of this host.
pub const TYPE_LOCAL: u32 = 2;

/// One of the registers, 0 to 15.
pub type Register = u32;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It goes on to the next hook.
    Accept,
    /// It is gone.
    Drop,
    /// It goes through another chain first.
    Jump(&'a str),
}

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression<'a> {
    /// Loads the protocol above IP.
    Protocol(Register),
    /// Loads the name of the link that the packet came in by, four registers.
    From(Register),
    /// Loads the name of the link that it leaves by, four registers.
    To(Register),
    /// Loads the source address.
    Source(Register),
    /// Loads the destination address.
    Destination(Register),
    /// Loads the destination port of TCP, UDP or SCTP.
    DestinationPort(Register),
    /// Loads the connection's state bits.
    State(Register),
    /// Loads the connection's status bits.
    Status(Register),
    /// Loads the type of the destination address, such as [`TYPE_LOCAL`].
    DestinationType(Register),
    /// Keeps the bits of a mask, of as many bytes as the mask has.
    Mask(Register, Vec<u8>),
    /// Goes on where the register is that.
    Equal(Register, Vec<u8>),
    /// Goes on where it is not.
    Differs(Register, Vec<u8>),
    /// Goes on where the map has the key that begins at the first register, and loads its value
    /// from the second one on.
    Lookup(&'a str, Register, Register),
    /// Replaces the destination by an address and a port, each in a register.
    Redirect(Register, Register),
    /// Replaces the source by the address of the link that the packet leaves by.
    Masquerade,
    /// Decides.
    Verdict(Verdict<'a>),
}

impl Expression<'_> {
    /// Appends it to a list of expressions.
    pub(super) fn write(&self, list: Message) -> Message {
        list.nested(NFTA_LIST_ELEM, |element| {
            let element = element.text(NFTA_EXPR_NAME, self.name());
            match self {
                Self::Masquerade => element,
                _ => element.nested(NFTA_EXPR_DATA, |data| self.data(data)),
            }
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Protocol(_) | Self::From(_) | Self::To(_) => "meta",
            Self::Source(_) | Self::Destination(_) | Self::DestinationPort(_) => "payload",
            Self::State(_) | Self::Status(_) => "ct",
            Self::DestinationType(_) => "fib",
            Self::Mask(..) => "bitwise",
            Self::Equal(..) | Self::Differs(..) => "cmp",
            Self::Lookup(..) => "lookup",
            Self::Redirect(..) => "nat",
            Self::Masquerade => "masq",
            Self::Verdict(_) => "immediate",
        }
    }

    fn data(&self, data: Message) -> Message {
        match self {
            Self::Protocol(to) => load(data, *to, META_PROTOCOL),
            Self::From(to) => load(data, *to, META_FROM),
            Self::To(to) => load(data, *to, META_TO),
            Self::State(to) => load(data, *to, CT_STATE),
            Self::Status(to) => load(data, *to, CT_STATUS),
            Self::Source(to) => payload(data, *to, NETWORK_HEADER, 12, 4),
            Self::Destination(to) => payload(data, *to, NETWORK_HEADER, 16, 4),
            Self::DestinationPort(to) => payload(data, *to, TRANSPORT_HEADER, 2, 2),
            Self::DestinationType(to) => data
                .network(1, FIRST_REGISTER + to)
                .network(2, FIB_TYPE)
                .network(3, FIB_OF_DESTINATION),
            Self::Mask(register, mask) => data
                .network(1, FIRST_REGISTER + register)
                .network(2, FIRST_REGISTER + register)
                .network(3, mask.len() as u32)
                .nested(4, |value| value.bytes(NFTA_DATA_VALUE, mask))
                .nested(5, |value| {
                    value.bytes(NFTA_DATA_VALUE, &vec![0; mask.len()])
                }),
            Self::Equal(register, value) => compare(data, *register, 0, value),
            Self::Differs(register, value) => compare(data, *register, 1, value),
            Self::Lookup(map, key, value) => data
                .text(1, map)
                .network(2, FIRST_REGISTER + key)
                .network(3, FIRST_REGISTER + value),
            // The numbers are NFTA_NAT_TYPE (1: destination), FAMILY, REG_ADDR_MIN, REG_PROTO_MIN.
            Self::Redirect(address, port) => data
                .network(1, 1)
                .network(2, FAMILY_IPV4)
                .network(3, FIRST_REGISTER + address)
                .network(5, FIRST_REGISTER + port),
            Self::Masquerade => data,
            Self::Verdict(verdict) => data.network(1, VERDICT_REGISTER).nested(2, |value| {
                value.nested(NFTA_DATA_VERDICT, |code| verdict.write(code))
            }),
        }
    }
}

impl Verdict<'_> {
    fn write(self, message: Message) -> Message {
        match self {
            Self::Drop => message.network(NFTA_VERDICT_CODE, 0),
            Self::Accept => message.network(NFTA_VERDICT_CODE, 1),
            // NFT_JUMP is -3.
            Self::Jump(chain) => message
                .network(NFTA_VERDICT_CODE, 3_u32.wrapping_neg())
                .text(NFTA_VERDICT_CHAIN, chain),
        }
    }
}

/// `meta` and `ct` alike: a register and a key.
fn load(data: Message, register: Register, key: u32) -> Message {
    data.network(1, FIRST_REGISTER + register).network(2, key)
}

fn payload(data: Message, to: Register, base: u32, offset: u32, length: u32) -> Message {
    data.network(1, FIRST_REGISTER + to)
        .network(2, base)
        .network(3, offset)
        .network(4, length)
}

fn compare(data: Message, register: Register, operation: u32, value: &[u8]) -> Message {
    data.network(1, FIRST_REGISTER + register)
        .network(2, operation)
        .nested(3, |data| data.bytes(NFTA_DATA_VALUE, value))
}
