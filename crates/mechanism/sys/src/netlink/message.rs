//! Netlink messages: a header, a family's own header, and attributes that may hold attributes.
//!
//! Numbers are in this machine's byte order, except where a family says otherwise (nf_tables
//! wants the network's in its attributes).

/// Size of `struct nlmsghdr`.
pub const HEADER: usize = 16;
/// Size of `struct nlattr`.
const ATTRIBUTE: usize = 4;
/// Attributes and messages begin at multiples of this.
const ALIGNMENT: usize = 4;
/// `NLA_F_NESTED`: says that a value is attributes again.
const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`: what of an attribute's type is its number.
const NUMBER: u16 = 0x3fff;

/// `NLM_F_REQUEST`.
pub const REQUEST: u16 = 0x1;
/// `NLM_F_MULTI`: one of several that end with a `NLMSG_DONE`.
pub const MULTI: u16 = 0x2;
/// `NLM_F_ACK`: an answer is wanted even if it is only that all went well.
pub const ACK: u16 = 0x4;
/// `NLM_F_DUMP_INTR`: what was listed changed meanwhile.
pub const INTERRUPTED: u16 = 0x10;
/// `NLM_F_DUMP`: list all.
pub const DUMP: u16 = 0x300;
/// `NLM_F_EXCL`: it must not exist yet.
pub const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_CREATE`.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: at the end of the list.
pub const APPEND: u16 = 0x800;

/// `NLMSG_ERROR`: an acknowledgement, or why there is none.
pub const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a list.
pub const DONE: u16 = 3;

/// A message that is being written.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Message {
    /// A message of a `kind` with `flags` beside [`REQUEST`], and the family's own header.
    pub fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        let message = Self {
            bytes,
            too_long: false,
        };
        message.raw(header)
    }

    /// Bytes without an attribute around them: a family's header inside of an attribute.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self.align();
        self
    }

    /// An attribute of bytes.
    pub fn bytes(mut self, number: u16, value: &[u8]) -> Self {
        let start = self.bytes.len();
        self.open(number);
        self.bytes.extend_from_slice(value);
        self.close(start);
        self
    }

    /// An attribute of a text, with the NUL that ends it.
    pub fn text(self, number: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(number, &bytes)
    }

    /// An attribute of one byte.
    pub fn byte(self, number: u16, value: u8) -> Self {
        self.bytes(number, &[value])
    }

    /// An attribute of 32 bits in this machine's order.
    pub fn number(self, number: u16, value: u32) -> Self {
        self.bytes(number, &value.to_ne_bytes())
    }

    /// An attribute of 32 bits in the network's order.
    pub fn network(self, number: u16, value: u32) -> Self {
        self.bytes(number, &value.to_be_bytes())
    }

    /// An attribute of attributes.
    pub fn nested(self, number: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        self.around(number | NESTED, fill)
    }

    /// An attribute of a family's header and attributes, without the mark of attributes: what
    /// older kernels wanted in a few places (the peer of a `veth`).
    pub fn around(mut self, number: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.open(number);
        let mut filled = fill(self);
        filled.close(start);
        filled
    }

    fn open(&mut self, kind: u16) {
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
    }

    /// Writes the length of the attribute that began at `start`, which the padding after it is
    /// no part of.
    fn close(&mut self, start: usize) {
        let length = u16::try_from(self.bytes.len() - start);
        match (length, self.bytes.get_mut(start..start + 2)) {
            (Ok(length), Some(place)) => place.copy_from_slice(&length.to_ne_bytes()),
            _ => self.too_long = true,
        }
        self.align();
    }

    fn align(&mut self) {
        let end = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(end, 0);
    }

    /// How many bytes it is so far.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The finished message: with its length, more flags and a sequence number. Nothing if an
    /// attribute is longer than the 65535 bytes that its length can say.
    pub fn finish(mut self, flags: u16, sequence: u32) -> Option<Vec<u8>> {
        let length = u32::try_from(self.bytes.len()).ok()?;
        let old = u16::from_ne_bytes(self.bytes.get(6..8)?.try_into().ok()?);
        self.bytes
            .get_mut(0..4)?
            .copy_from_slice(&length.to_ne_bytes());
        self.bytes
            .get_mut(6..8)?
            .copy_from_slice(&(old | flags).to_ne_bytes());
        self.bytes
            .get_mut(8..12)?
            .copy_from_slice(&sequence.to_ne_bytes());
        (!self.too_long).then_some(self.bytes)
    }
}

/// A message that was received.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Its kind.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// The number of the request it answers.
    pub sequence: u32,
    /// The port of the socket whose request it comes from; 0 for the kernel's own doing.
    pub port: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The attributes behind a family's header of `skip` bytes.
    pub fn attributes(&self, skip: usize) -> Attributes<'a> {
        Attributes(self.payload.get(skip..).unwrap_or_default())
    }
}

/// The messages of one datagram. A damaged one ends it.
#[derive(Debug, Clone)]
pub struct Frames<'a>(pub &'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let length = u32_at(self.0, 0)? as usize;
        let frame = Frame {
            kind: u16_at(self.0, 4)?,
            flags: u16_at(self.0, 6)?,
            sequence: u32_at(self.0, 8)?,
            port: u32_at(self.0, 12)?,
            payload: self.0.get(HEADER..length)?,
        };
        self.0 = self
            .0
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
        Some(frame)
    }
}

/// Attributes as `(number, value)`. A damaged one ends them.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    /// The value of the first attribute of that number.
    pub fn get(&self, number: u16) -> Option<&'a [u8]> {
        self.clone()
            .find(|(found, _)| *found == number)
            .map(|(_, value)| value)
    }

    /// The attributes inside of an attribute.
    pub fn inside(&self, number: u16) -> Attributes<'a> {
        Attributes(self.get(number).unwrap_or_default())
    }

    /// A text without the NUL that ends it.
    pub fn text(&self, number: u16) -> Option<String> {
        let value = self.get(number)?;
        let value = value.strip_suffix(&[0]).unwrap_or(value);
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// 32 bits in this machine's order.
    pub fn number(&self, number: u16) -> Option<u32> {
        u32_at(self.get(number)?, 0)
    }

    /// 32 bits in the network's order.
    pub fn network(&self, number: u16) -> Option<u32> {
        u32_at(self.get(number)?, 0).map(u32::from_be)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let number = u16_at(self.0, 2)? & NUMBER;
        let value = self.0.get(ATTRIBUTE..length)?;
        self.0 = self
            .0
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
        Some((number, value))
    }
}

/// 16 bits at a place, in this machine's order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(
        bytes.get(at..at.checked_add(2)?)?.try_into().ok()?,
    ))
}

/// 32 bits at a place, in this machine's order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let message = Message::new(16, CREATE, &[7; 8])
            .text(3, "eth0")
            .nested(18, |inside| inside.byte(1, 9).number(2, 70_000))
            .network(5, 80);
        let bytes = message.finish(ACK, 42).unwrap();
        assert_eq!(bytes.len() % ALIGNMENT, 0);
        let mut frames = Frames(&bytes);
        let frame = frames.next().unwrap();
        assert!(frames.next().is_none());
        assert_eq!((frame.kind, frame.sequence), (16, 42));
        assert_eq!(frame.flags, REQUEST | CREATE | ACK);
        let attributes = frame.attributes(8);
        // Five bytes of text are five bytes, however they are padded.
        assert_eq!(attributes.get(3), Some(&b"eth0\0"[..]));
        assert_eq!(attributes.text(3).as_deref(), Some("eth0"));
        assert_eq!(attributes.inside(18).get(1), Some(&[9][..]));
        assert_eq!(attributes.inside(18).number(2), Some(70_000));
        assert_eq!(attributes.get(5), Some(&[0, 0, 0, 80][..]));
        assert_eq!(attributes.network(5), Some(80));
        assert_eq!(attributes.get(99), None);
    }

    #[test]
    fn an_attribute_longer_than_its_length_can_say_is_refused() {
        let fits = Message::new(1, 0, &[]).bytes(1, &vec![0; 65_531]);
        assert!(fits.finish(0, 1).is_some());
        let long = Message::new(1, 0, &[]).bytes(1, &vec![0; 65_532]);
        assert!(long.finish(0, 1).is_none());
    }

    #[test]
    fn damaged_messages_end_the_reading() {
        let whole = Message::new(16, 0, &[])
            .text(3, "docker0")
            .finish(0, 1)
            .unwrap();
        for length in 0..whole.len() {
            assert!(Frames(&whole[..length]).next().is_none(), "{length} bytes");
        }
        // A length of nothing must not be read for ever.
        assert_eq!(Frames(&[0; 64]).count(), 0);
        assert_eq!(Attributes(&[0; 64]).count(), 0);
        assert_eq!(Attributes(&[200, 0, 1, 0, 1, 2]).count(), 0);
    }
}
