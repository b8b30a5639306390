//! Keys of tables, as bytes that sort as the values do.

use berth_types::{ContainerId, Digest, InstallId, LayerId};

/// A key of a table. The encoding delimits itself, so that keys can be joined into tuples, and
/// the encoding of a tuple's first part is a prefix of the encoding of the tuple
/// ([`crate::WriteTxn::scan_prefix`]).
pub trait Key: Sized {
    /// Appends the bytes.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes the bytes off the head of `bytes`; nothing if they are not a key of this type.
    fn decode(bytes: &mut &[u8]) -> Option<Self>;
}

/// Something that a key of type `K` can be looked up with: the key itself, or a `str` where the
/// key is a `String`.
pub trait KeyRef<K> {
    /// Appends the bytes that the owned key would have.
    fn encode_ref(&self, out: &mut Vec<u8>);
}

impl<K: Key> KeyRef<K> for K {
    fn encode_ref(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }
}

impl KeyRef<String> for str {
    fn encode_ref(&self, out: &mut Vec<u8>) {
        encode_text(self, out);
    }
}

/// The bytes of `key` alone.
pub(crate) fn bytes_of<K>(key: &(impl KeyRef<K> + ?Sized)) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    key.encode_ref(&mut out);
    out
}

/// Reads `bytes` as exactly one key.
pub(crate) fn whole<K: Key>(mut bytes: &[u8]) -> Option<K> {
    let key = K::decode(&mut bytes)?;
    bytes.is_empty().then_some(key)
}

macro_rules! fixed_key {
    ($($name:ty, $make:path);* $(;)?) => {$(
        impl Key for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.as_bytes());
            }

            fn decode(bytes: &mut &[u8]) -> Option<Self> {
                let (head, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some($make(*head))
            }
        }
    )*};
}

fixed_key! {
    ContainerId, ContainerId::from_bytes;
    LayerId, LayerId::from_bytes;
    InstallId, InstallId::from_bytes;
    Digest, Digest::from_sha256;
}

impl Key for u64 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(Self::from_be_bytes(*head))
    }
}

/// A text ends with two zero bytes; a zero byte inside is followed by 0xff. This keeps the order
/// of the texts, also inside tuples.
fn encode_text(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

impl Key for String {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_text(self, out);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut text = Vec::new();
        loop {
            match **bytes {
                [0, 0, ref rest @ ..] => {
                    *bytes = rest;
                    return Self::from_utf8(text).ok();
                }
                [0, 0xff, ref rest @ ..] => {
                    text.push(0);
                    *bytes = rest;
                }
                [0, ..] | [] => return None,
                [byte, ref rest @ ..] => {
                    text.push(byte);
                    *bytes = rest;
                }
            }
        }
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::decode(bytes)?, B::decode(bytes)?))
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
        self.2.encode(out);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::decode(bytes)?, B::decode(bytes)?, C::decode(bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pairs_of_texts_come_back_and_keep_their_order(
            a in ("[\0-\u{2}a]{0,4}", "\\PC{0,4}"),
            b in ("[\0-\u{2}a]{0,4}", "\\PC{0,4}"),
        ) {
            let (x, y) = (bytes_of::<(String, String)>(&a), bytes_of::<(String, String)>(&b));
            prop_assert_eq!(whole::<(String, String)>(&x), Some(a.clone()));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }

        #[test]
        fn any_bytes_can_be_looked_at(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(key) = whole::<(ContainerId, String)>(&bytes) {
                prop_assert_eq!(bytes_of::<(ContainerId, String)>(&key), bytes);
            }
        }
    }

    #[test]
    fn a_borrowed_text_finds_the_owned_one() {
        assert_eq!(bytes_of::<String>("a"), bytes_of::<String>(&"a".to_owned()));
    }
}
