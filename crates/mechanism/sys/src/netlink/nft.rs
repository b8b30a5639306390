//! nf_tables: transactions of tables, chains, rules and maps (`linux/netfilter/nf_tables.h`).
//!
//! A [`Batch`] is one transaction: packets see all of it or nothing of it.

use std::io;

use super::expression::Expression;
use super::message::{APPEND, CREATE, Frame, Message};
use super::socket::{Family, Socket};

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
/// Size of `struct nfgenmsg`.
const HEADER: usize = 4;
/// `NFPROTO_INET`, `NFPROTO_IPV4`: the families whose packets a container's are.
const INET: u8 = 1;
const IPV4: u8 = 2;
/// Group `NFNLGRP_NFTABLES` is the seventh.
const CHANGES: u32 = 1 << 6;
/// Most elements in one message: their list's length must fit 16 bits.
const ELEMENTS_MAX: usize = 500;

const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const GETCHAIN: u16 = 4;
const NEWRULE: u16 = 6;
const GETTABLE: u16 = 1;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;
/// Messages that tell of something that was taken away: tables, chains, rules, sets, elements.
const REMOVALS: [u16; 5] = [DELTABLE, 5, 8, 11, DELSETELEM];

/// `NFTA_*_TABLE`: the table's name is the first attribute of every message.
const TABLE: u16 = 1;
/// `NFT_SET_MAP`.
const MAP: u32 = 0x8;

/// Where a chain looks at packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// What came in, before it is decided where it goes.
    Prerouting,
    /// What is for this host.
    Input,
    /// What only passes.
    Forward,
    /// What this host sends.
    Output,
    /// What goes out.
    Postrouting,
}

/// What a chain is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To let through or not.
    Filter,
    /// To change addresses; only the first packet of a connection comes by.
    Nat,
}

/// A chain to be made.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it hangs and in which order; none for one that is only jumped to.
    pub hook: Option<(Purpose, Hook, i32)>,
}

/// The type of one part of a map's key or value, as the `nft` program numbers it (it shows the
/// elements by that; the kernel only wants the lengths).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datatype {
    /// `ipv4_addr`.
    Address,
    /// `inet_proto`.
    Protocol,
    /// `inet_service`.
    Port,
}

impl Datatype {
    fn number(self) -> u32 {
        match self {
            Self::Address => 7,
            Self::Protocol => 12,
            Self::Port => 13,
        }
    }
}

/// A map to be made.
#[derive(Debug, Clone, Copy)]
pub struct Map<'a> {
    /// Its name.
    pub name: &'a str,
    /// The parts of a key, each in four bytes.
    pub key: &'a [Datatype],
    /// The parts of a value.
    pub value: &'a [Datatype],
}

/// An element of a map: key and value.
pub type Element = (Vec<u8>, Vec<u8>);

/// A chain that is there, of any table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The family's word: `ip`, `inet`.
    pub family: &'static str,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
}

fn header(family: u8) -> [u8; HEADER] {
    [family, 0, 0, 0]
}

fn message(kind: u16, flags: u16) -> Message {
    Message::new(SUBSYSTEM << 8 | kind, flags, &header(IPV4))
}

/// A transaction on one table of family `ip`.
#[derive(Debug)]
pub struct Batch<'a> {
    table: &'a str,
    messages: Vec<Message>,
    maps: u32,
}

impl<'a> Batch<'a> {
    /// An empty one.
    pub fn new(table: &'a str) -> Self {
        let [high, low] = SUBSYSTEM.to_be_bytes();
        Self {
            table,
            messages: vec![Message::new(BEGIN, 0, &[0, 0, high, low])],
            maps: 0,
        }
    }

    /// Makes the table if it is not there.
    pub fn table(&mut self) {
        let made = message(NEWTABLE, CREATE).text(TABLE, self.table);
        self.messages.push(made);
    }

    /// Removes the table with all that is in it.
    pub fn remove_table(&mut self) {
        let removed = message(DELTABLE, 0).text(TABLE, self.table);
        self.messages.push(removed);
    }

    /// Makes a chain. What no rule decides goes on.
    pub fn chain(&mut self, chain: &Chain<'_>) {
        let mut made = message(NEWCHAIN, CREATE)
            .text(TABLE, self.table)
            .text(3, chain.name);
        if let Some((purpose, hook, priority)) = chain.hook {
            let purpose = match purpose {
                Purpose::Filter => "filter",
                Purpose::Nat => "nat",
            };
            made = made
                .nested(4, |at| {
                    at.network(1, hook as u32).network(2, priority as u32)
                })
                .network(5, 1)
                .text(7, purpose);
        }
        self.messages.push(made);
    }

    /// Appends a rule to a chain.
    pub fn rule(&mut self, chain: &str, expressions: &[Expression<'_>]) {
        let made = message(NEWRULE, CREATE | APPEND)
            .text(TABLE, self.table)
            .text(2, chain)
            .nested(4, |list| {
                expressions
                    .iter()
                    .fold(list, |list, expression| expression.write(list))
            });
        self.messages.push(made);
    }

    /// Makes a map.
    pub fn map(&mut self, map: &Map<'_>) {
        self.maps += 1;
        let made = message(NEWSET, CREATE)
            .text(TABLE, self.table)
            .text(2, map.name)
            .network(3, MAP)
            .network(4, datatype(map.key))
            .network(5, 4 * map.key.len() as u32)
            .network(6, datatype(map.value))
            .network(7, 4 * map.value.len() as u32)
            .network(10, self.maps);
        self.messages.push(made);
    }

    /// Puts elements into a map.
    pub fn put(&mut self, map: &str, elements: &[Element]) {
        self.elements(NEWSETELEM, CREATE, map, elements, true);
    }

    /// Takes elements out of a map; it is an error if one is not in it.
    pub fn take(&mut self, map: &str, elements: &[Element]) {
        self.elements(DELSETELEM, 0, map, elements, false);
    }

    fn elements(&mut self, kind: u16, flags: u16, map: &str, all: &[Element], values: bool) {
        for some in all.chunks(ELEMENTS_MAX) {
            let changed = message(kind, flags)
                .text(TABLE, self.table)
                .text(2, map)
                .nested(3, |list| {
                    some.iter().fold(list, |list, (key, value)| {
                        list.nested(1, |element| {
                            let element = element.nested(1, |data| data.bytes(1, key));
                            match values {
                                true => element.nested(2, |data| data.bytes(1, value)),
                                false => element,
                            }
                        })
                    })
                });
            self.messages.push(changed);
        }
    }
}

/// The number that stands for several parts: six bits for each.
fn datatype(parts: &[Datatype]) -> u32 {
    parts
        .iter()
        .fold(0, |number, part| number << 6 | part.number())
}

/// A socket for nf_tables.
#[derive(Debug)]
pub struct Tables(Socket);

impl Tables {
    /// Opens one, of the calling thread's network namespace.
    ///
    /// # Errors
    /// From a kernel without netfilter.
    pub fn open() -> io::Result<Self> {
        Socket::open(Family::Netfilter).map(Self)
    }

    /// The number by which [`Changes`] tells what was done through this socket.
    ///
    /// # Errors
    /// As [`Socket::port`].
    pub fn port(&self) -> io::Result<u32> {
        self.0.port()
    }

    /// Performs a transaction, whole or not at all.
    ///
    /// # Errors
    /// `ENOENT` for a table, chain or map that is not there, `EEXIST` for an element that is
    /// there with another value, `EOPNOTSUPP` and the like from a kernel without some part.
    pub fn commit(&mut self, batch: Batch<'_>) -> io::Result<()> {
        let mut messages = batch.messages;
        let [high, low] = SUBSYSTEM.to_be_bytes();
        messages.push(Message::new(END, 0, &[0, 0, high, low]));
        self.0.transact_together(messages, 1)
    }

    /// Whether there is a table of family `ip` of that name.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn has(&mut self, table: &str) -> io::Result<bool> {
        let asked = message(GETTABLE, 0).text(TABLE, table);
        match self.0.ask(&asked, false, |_| Some(())) {
            Ok(found) => Ok(!found.is_empty()),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Chains of any table that drop what passes through this host unless a rule accepts it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn dropping_forward_chains(&mut self) -> io::Result<Vec<Listed>> {
        let asked = Message::new(SUBSYSTEM << 8 | GETCHAIN, 0, &header(0));
        self.0.ask(&asked, true, dropping)
    }
}

fn dropping(frame: &Frame<'_>) -> Option<Listed> {
    let family = match *frame.payload.first()? {
        INET => "inet",
        IPV4 => "ip",
        _ => return None,
    };
    let attributes = frame.attributes(HEADER);
    let forward = attributes.inside(4).network(1)? == Hook::Forward as u32;
    let drops = attributes.network(5)? == 0;
    (forward && drops).then(|| {
        Some(Listed {
            family,
            table: attributes.text(TABLE)?,
            chain: attributes.text(3)?,
        })
    })?
}

/// Notifications of changes to firewall tables, by whomever.
#[derive(Debug)]
pub struct Changes(Socket);

impl Changes {
    /// Listens, in the calling thread's network namespace.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn listen() -> io::Result<Self> {
        Socket::with_groups(Family::Netfilter, CHANGES).map(Self)
    }

    /// Waits for the next notification, and says whether others than the sockets of `own` took
    /// something out of the table, or may have: notifications can be lost.
    ///
    /// # Errors
    /// What the kernel says, except that some were lost.
    pub fn removed_from(&mut self, table: &str, own: u32) -> io::Result<bool> {
        let mut removed = false;
        let received = self.0.receive(|frame| {
            let named = || {
                frame
                    .attributes(HEADER)
                    .text(TABLE)
                    .is_some_and(|name| name == table)
            };
            let removal = frame.kind >> 8 == SUBSYSTEM && REMOVALS.contains(&(frame.kind & 0xff));
            removed |= removal && frame.port != own && named();
        });
        match received {
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(true),
            result => result.map(|()| removed),
        }
    }
}

impl std::os::fd::AsFd for Changes {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
