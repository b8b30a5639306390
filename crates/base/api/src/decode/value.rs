//! The lenient deserializer over a [`Node`], and errors that know their place.

use std::fmt;

use serde::Deserializer;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess};
use serde::de::{Unexpected, Visitor};

use super::document::Node;

/// What does not fit, with the path to it: `HostConfig.Memory: expected i64, found a string`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentError {
    /// Outermost last, as it is collected on the way out.
    path: Vec<String>,
    message: String,
}

/// Keys are the sender's; a path shows at most this many bytes of each.
const KEY_SHOWN_MAX: usize = 64;

impl DocumentError {
    fn below(mut self, key: &str) -> Self {
        let end = (0..=KEY_SHOWN_MAX.min(key.len()))
            .rev()
            .find(|&i| key.is_char_boundary(i));
        self.path
            .push(key.get(..end.unwrap_or(0)).unwrap_or_default().to_owned());
        self
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, key) in self.path.iter().rev().enumerate() {
            if depth > 0 && !key.starts_with('[') {
                f.write_str(".")?;
            }
            f.write_str(key)?;
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for DocumentError {}

impl serde::de::Error for DocumentError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            path: Vec::new(),
            message: message.to_string(),
        }
    }

    /// Names the type that was found but not the value, which may be large or secret.
    fn invalid_type(found: Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
            Unexpected::Float(_) => "a number with a fraction",
            Unexpected::Char(_) | Unexpected::Str(_) => "a string",
            Unexpected::Unit | Unexpected::Option => "null",
            Unexpected::Seq => "a list",
            Unexpected::Map => "an object",
            _ => "something else",
        };
        let expected = expected.to_string();
        let expected = match expected.as_str() {
            "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" => "a whole number",
            "a sequence" => "a list",
            "a map" => "an object",
            other => other,
        };
        Self::custom(format_args!("expected {expected}, found {found}"))
    }
}

impl Node {
    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Node::Null => Unexpected::Unit,
            Node::Bool(value) => Unexpected::Bool(*value),
            Node::Number(number) => match number.as_i64() {
                Some(value) => Unexpected::Signed(value),
                None => Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Node::Text(text) => Unexpected::Str(text),
            Node::List(_) => Unexpected::Seq,
            Node::Object(_) => Unexpected::Map,
        }
    }
}

/// Answers for the types whose zero value stands for `null`.
macro_rules! null_is {
    ($($method:ident => $visit:ident($zero:expr)),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DocumentError> {
            match self {
                Node::Null => visitor.$visit($zero),
                node => node.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = DocumentError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DocumentError> {
        match self {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Number(number) => {
                if let Some(value) = number.as_u64() {
                    visitor.visit_u64(value)
                } else if let Some(value) = number.as_i64() {
                    visitor.visit_i64(value)
                } else {
                    visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
                }
            }
            Node::Text(text) => visitor.visit_borrowed_str(text),
            Node::List(list) => visitor.visit_seq(Elements::of(list)),
            Node::Object(entries) => visitor.visit_map(Entries::of_map(entries)),
        }
    }

    null_is! {
        deserialize_bool => visit_bool(false),
        deserialize_i8 => visit_i8(0),
        deserialize_i16 => visit_i16(0),
        deserialize_i32 => visit_i32(0),
        deserialize_i64 => visit_i64(0),
        deserialize_u8 => visit_u8(0),
        deserialize_u16 => visit_u16(0),
        deserialize_u32 => visit_u32(0),
        deserialize_u64 => visit_u64(0),
        deserialize_f32 => visit_f32(0.0),
        deserialize_f64 => visit_f64(0.0),
        deserialize_str => visit_str(""),
        deserialize_string => visit_str(""),
        deserialize_seq => visit_seq(Elements::of(&[])),
        deserialize_map => visit_map(Entries::of_map(&[])),
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DocumentError> {
        match self {
            Node::Null => visitor.visit_none(),
            node => visitor.visit_some(node),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DocumentError> {
        match self {
            Node::Null => visitor.visit_map(Entries::of_map(&[])),
            Node::Object(entries) => visitor.visit_map(Entries::of_struct(entries, fields)),
            // Not to the visitor: derived ones take a list for the fields in their order.
            node => Err(DocumentError::invalid_type(node.unexpected(), &"an object")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DocumentError> {
        visitor.visit_newtype_struct(self)
    }

    /// An array of fixed length, as Go fills one: missing elements are zero, further ones are
    /// passed over.
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, DocumentError> {
        let list = match self {
            Node::Null => &[][..],
            Node::List(list) => list.get(..length).unwrap_or(list),
            node => return node.deserialize_any(visitor),
        };
        visitor.visit_seq(Elements {
            padding: length - list.len(),
            ..Elements::of(list)
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DocumentError> {
        match self {
            Node::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            node => node.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple_struct identifier ignored_any
    }
}

/// What stands for an element that an array lacks.
static NULL: Node = Node::Null;

/// The elements of a list, then `padding` times `null`.
struct Elements<'de> {
    list: std::slice::Iter<'de, Node>,
    padding: usize,
    index: usize,
}

impl<'de> Elements<'de> {
    fn of(list: &'de [Node]) -> Self {
        Self {
            list: list.iter(),
            padding: 0,
            index: 0,
        }
    }
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = DocumentError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DocumentError> {
        let node = match self.list.next() {
            Some(node) => node,
            None if self.padding > 0 => {
                self.padding -= 1;
                &NULL
            }
            None => return Ok(None),
        };
        let index = self.index;
        self.index += 1;
        seed.deserialize(node)
            .map(Some)
            .map_err(|e| e.below(&format!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.list.len() + self.padding)
    }
}

/// The entries of an object, their keys as a map or as a struct wants them.
struct Entries<'de> {
    entries: std::vec::IntoIter<(&'de str, &'de Node)>,
    pending: Option<(&'de str, &'de Node)>,
}

impl<'de> Entries<'de> {
    /// Every entry under its own key. Of a key given twice the last counts, because a map that
    /// is filled keeps the last.
    fn of_map(entries: &'de [(String, Node)]) -> Self {
        let entries: Vec<_> = entries
            .iter()
            .map(|(key, node)| (key.as_str(), node))
            .collect();
        Self {
            entries: entries.into_iter(),
            pending: None,
        }
    }

    /// At most one entry per field, under the field's name: the last that is not `null` and whose
    /// key is that name in some letter case. A key that is one field's exact name is never
    /// another's.
    fn of_struct(entries: &'de [(String, Node)], fields: &'static [&'static str]) -> Self {
        let mut found: Vec<Option<&'de Node>> = vec![None; fields.len()];
        for (key, node) in entries.iter().filter(|(_, node)| *node != Node::Null) {
            let field = fields.iter().position(|field| field == key).or_else(|| {
                fields
                    .iter()
                    .position(|field| field.eq_ignore_ascii_case(key))
            });
            if let Some(slot) = field.and_then(|field| found.get_mut(field)) {
                *slot = Some(node);
            }
        }
        let found: Vec<_> = fields
            .iter()
            .zip(found)
            .filter_map(|(field, node)| node.map(|node| (*field, node)))
            .collect();
        Self {
            entries: found.into_iter(),
            pending: None,
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = DocumentError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DocumentError> {
        self.pending = self.entries.next();
        self.pending
            .map(|(key, _)| seed.deserialize(BorrowedStrDeserializer::new(key)))
            .transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DocumentError> {
        let (key, node) = self
            .pending
            .take()
            .ok_or_else(|| DocumentError::custom("a value without a key"))?;
        seed.deserialize(node).map_err(|e| e.below(key))
    }
}
