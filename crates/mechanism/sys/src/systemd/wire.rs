//! The part of D-Bus' wire format that calls to systemd need: little-endian messages, as the
//! D-Bus specification's "Message Protocol" has them.

use std::io;

/// Longest message that is read or written, bytes. What is said here has a few hundred.
pub(super) const MESSAGE_MAX: usize = 64 << 10;
/// Bytes of a header before its fields.
pub(super) const FIXED: usize = 16;

/// `METHOD_CALL`, the only type that is sent.
const CALL: u8 = 1;

/// What a received message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The answer to a call.
    Return,
    /// The refusal of one.
    Error,
    /// News.
    Signal,
    /// Anything else; passed over.
    Other,
}

/// A call to be sent.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    /// Signature and bytes of the arguments.
    pub arguments: (&'a str, Writer),
}

impl Call<'_> {
    /// The message's bytes.
    pub fn encode(&self, serial: u32) -> Vec<u8> {
        let mut out = Writer::default();
        for byte in [b'l', CALL, 0, 1] {
            out.byte(byte);
        }
        out.u32(u32::try_from(self.arguments.1.0.len()).unwrap_or(u32::MAX));
        out.u32(serial);
        out.array(8, |fields| {
            for (code, signature, text) in [
                (1, "o", self.path),
                (2, "s", self.interface),
                (3, "s", self.member),
                (6, "s", self.destination),
            ] {
                fields.align(8);
                fields.byte(code);
                fields.variant(signature, |value| value.string(text));
            }
            if !self.arguments.0.is_empty() {
                fields.align(8);
                fields.byte(8);
                fields.variant("g", |value| value.signature(self.arguments.0));
            }
        });
        out.align(8);
        out.0.extend_from_slice(&self.arguments.1.0);
        out.0
    }
}

/// Values in the order of their signature.
#[derive(Debug, Clone, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.align(8);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn bool(&mut self, value: bool) {
        self.u32(u32::from(value));
    }

    /// A string or an object path.
    pub fn string(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    pub fn variant(&mut self, signature: &str, value: impl FnOnce(&mut Self)) {
        self.signature(signature);
        value(self);
    }

    /// An array whose elements are aligned to `alignment`; `elements` writes them.
    pub fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length_at = self.0.len() - 4;
        // The padding before the first element does not count.
        self.align(alignment);
        let begin = self.0.len();
        elements(self);
        let length = u32::try_from(self.0.len() - begin).unwrap_or(u32::MAX);
        if let Some(place) = self.0.get_mut(length_at..length_at + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }

    /// A member of an array of structs.
    pub fn structure(&mut self, members: impl FnOnce(&mut Self)) {
        self.align(8);
        members(self);
    }
}

/// A received message.
#[derive(Debug)]
pub(super) struct Message {
    pub kind: Kind,
    /// The call that it answers.
    pub answers: Option<u32>,
    /// The signal's name.
    pub member: String,
    /// The error's name.
    pub error: String,
    /// The texts at the body's top level, those in variants among them; enough for every message
    /// that is waited for.
    pub texts: Vec<String>,
}

/// How long the message is whose first [`FIXED`] bytes these are.
pub(super) fn length(head: &[u8]) -> io::Result<usize> {
    let mut reader = Reader { bytes: head, at: 0 };
    if reader.byte()? != b'l' {
        return Err(bad("a message in another byte order"));
    }
    reader.at = 4;
    let body = reader.u32()? as usize;
    reader.at = 12;
    let fields = reader.u32()? as usize;
    let total = (FIXED + fields).next_multiple_of(8) + body;
    if body > MESSAGE_MAX || fields > MESSAGE_MAX || total > MESSAGE_MAX {
        return Err(bad("a message of excessive length"));
    }
    Ok(total)
}

impl Message {
    /// Reads a whole message.
    pub fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut reader = Reader { bytes, at: 1 };
        let mut message = Self {
            kind: match reader.byte()? {
                2 => Kind::Return,
                3 => Kind::Error,
                4 => Kind::Signal,
                _ => Kind::Other,
            },
            answers: None,
            member: String::new(),
            error: String::new(),
            texts: Vec::new(),
        };
        reader.at = 12;
        let end = FIXED + reader.u32()? as usize;
        let mut body = String::new();
        while reader.at < end {
            reader.align(8);
            let code = reader.byte()?;
            let signature = reader.signature()?;
            match (code, signature.as_str()) {
                (5, "u") => message.answers = Some(reader.u32()?),
                (3, "s") => message.member = reader.string()?,
                (4, "s") => message.error = reader.string()?,
                (8, "g") => body = reader.signature()?,
                (_, "s" | "o") => drop(reader.string()?),
                (_, "u") => drop(reader.u32()?),
                (_, "g") => drop(reader.signature()?),
                _ => return Err(bad("a header field of unknown type")),
            }
        }
        reader.at = end.next_multiple_of(8);
        message.texts = reader.texts(&body);
        Ok(message)
    }
}

/// What the other side sends, for tests: an answer or an error to `answers`, or a signal.
#[cfg(test)]
pub(super) fn incoming(kind: u8, name: &str, answers: u32, body: (&str, Writer)) -> Vec<u8> {
    let mut out = Writer::default();
    for byte in [b'l', kind, 0, 1] {
        out.byte(byte);
    }
    out.u32(u32::try_from(body.1.0.len()).unwrap());
    out.u32(1);
    out.array(8, |fields| {
        fields.byte(5);
        fields.variant("u", |value| value.u32(answers));
        fields.align(8);
        fields.byte(if kind == 3 { 4 } else { 3 });
        fields.variant("s", |value| value.string(name));
        fields.align(8);
        fields.byte(8);
        fields.variant("g", |value| value.signature(body.0));
    });
    out.align(8);
    out.0.extend_from_slice(&body.1.0);
    out.0
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the bus sent {what}"))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let found = self
            .bytes
            .get(self.at..)
            .and_then(|rest| rest.first_chunk());
        self.at += N;
        found
            .copied()
            .ok_or_else(|| bad("a message that is cut off"))
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take::<1>()?[0])
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.align(4);
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn text(&mut self, length: usize) -> io::Result<String> {
        let end = self.at.saturating_add(length);
        let text = self.bytes.get(self.at..end);
        self.at = end + 1;
        let text = text.ok_or_else(|| bad("a text that is cut off"))?;
        String::from_utf8(text.to_vec()).map_err(|_| bad("a text that is not UTF-8"))
    }

    fn string(&mut self) -> io::Result<String> {
        let length = self.u32()? as usize;
        self.text(length)
    }

    fn signature(&mut self) -> io::Result<String> {
        let length = self.byte()?.into();
        self.text(length)
    }

    /// The texts of values of these types, up to the first that is none of those expected here.
    fn texts(&mut self, signature: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for kind in signature.chars() {
            let read = match kind {
                's' | 'o' => self.string().map(|text| texts.push(text)),
                'u' | 'b' | 'i' => self.u32().map(drop),
                'v' => self.signature().map(|inner| {
                    if !inner.contains('v') {
                        texts.append(&mut self.texts(&inner));
                    }
                }),
                _ => break,
            };
            if read.is_err() {
                break;
            }
        }
        texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(signature: &'static str, arguments: Writer) -> Vec<u8> {
        let call = Call {
            destination: "a.b",
            path: "/c",
            interface: "d.e",
            member: "F",
            arguments: (signature, arguments),
        };
        call.encode(7)
    }

    #[test]
    fn a_message_has_the_specified_bytes() {
        let mut arguments = Writer::default();
        arguments.string("hi");
        arguments.array(8, |list| {
            list.structure(|pair| {
                pair.string("k");
                pair.variant("u", |value| value.u32(5));
            });
        });
        let bytes = call("sa(sv)", arguments);
        let expected: &[u8] = b"l\x01\x00\x01\x20\0\0\0\x07\0\0\0\x4c\0\0\0\
            \x01\x01o\0\x02\0\0\0/c\0\0\0\0\0\0\
            \x02\x01s\0\x03\0\0\0d.e\0\0\0\0\0\
            \x03\x01s\0\x01\0\0\0F\0\0\0\0\0\0\0\
            \x06\x01s\0\x03\0\0\0a.b\0\0\0\0\0\
            \x08\x01g\0\x06sa(sv)\0\0\0\0\0\
            \x02\0\0\0hi\0\0\x10\0\0\0\0\0\0\0\x01\0\0\0k\0\x01u\0\0\0\0\x05\0\0\0";
        assert_eq!(bytes, expected);
        assert_eq!(length(&bytes[..FIXED]).unwrap(), bytes.len());
    }

    #[test]
    fn texts_are_read_through_variants_and_numbers() {
        let mut arguments = Writer::default();
        arguments.u32(9);
        arguments.string("/job/1");
        arguments.variant("s", |value| value.string("done"));
        let mut bytes = call("uov", arguments);
        bytes[1] = 4;
        let message = Message::decode(&bytes).unwrap();
        assert_eq!((message.kind, message.member.as_str()), (Kind::Signal, "F"));
        assert_eq!(message.texts, ["/job/1", "done"]);
        assert_eq!(message.answers, None);
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_an_error() {
        let bytes = call("s", {
            let mut text = Writer::default();
            text.string("x");
            text
        });
        for end in 0..FIXED {
            assert!(length(&bytes[..end]).is_err());
        }
        for end in FIXED..FIXED + 60 {
            assert!(Message::decode(&bytes[..end]).is_err(), "{end}");
        }
        let mut long = bytes;
        long[5] = 0xff;
        long[6] = 0xff;
        assert!(length(&long[..FIXED]).is_err());
        long[0] = b'B';
        assert!(length(&long[..FIXED]).is_err());
    }
}
