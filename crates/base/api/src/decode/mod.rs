//! Reading JSON the way Go's `encoding/json` reads it into a struct.
//!
//! Docker's clients depend on that leniency: keys of a struct match in any (ASCII) letter case,
//! unknown keys are passed over, `null` leaves a field at its default, and of a key given twice
//! the last counts. Keys of maps are the user's data and stay as they are: labels, port names,
//! log options, network names. Wrong types and text after the document are refused.
//!
//! The difference between the two needs no table of names. Serde asks a deserializer for a
//! struct and hands over its field names ([`Deserializer::deserialize_struct`]), or asks for a
//! map ([`Deserializer::deserialize_map`]); [`value`] answers the first by matching keys to those
//! names and the second without touching any key. `#[serde(flatten)]` breaks that (serde then
//! asks for a map), so no type that is read may use it; see `ContainerCreateRequest`.
//!
//! [`Deserializer::deserialize_struct`]: serde::Deserializer::deserialize_struct
//! [`Deserializer::deserialize_map`]: serde::Deserializer::deserialize_map

mod document;
mod value;

use std::fmt;

use berth_types::ErrorKind;
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

pub use document::{Document, VALUES_MAX};
pub use value::DocumentError;

/// A body that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is no body where one is needed.
    #[error("invalid JSON: the body is empty")]
    Empty,
    /// The body is not one JSON document.
    #[error("invalid JSON: {0}")]
    Syntax(String),
    /// The document does not have the needed shape; the text begins with the field's path.
    #[error("invalid JSON: {0}")]
    Shape(DocumentError),
}

impl DecodeError {
    /// Always [`ErrorKind::Invalid`]: the sender has to change the body.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Reads one JSON document into `T`. Nesting is bounded by serde_json (128 levels), the number of
/// values by [`VALUES_MAX`]; the caller bounds the bytes.
pub fn from_slice<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(DecodeError::Empty);
    }
    let document: Document =
        serde_json::from_slice(body).map_err(|e| DecodeError::Syntax(e.to_string()))?;
    document.read().map_err(DecodeError::Shape)
}

/// As [`from_slice`], for a text such as a query parameter.
pub fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, DecodeError> {
    from_slice(text.as_bytes())
}

/// For fields that Docker reads as a list of words or as one word (`Cmd`, `Entrypoint`, `Shell`).
pub(crate) fn words<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    struct Words;

    impl<'de> Visitor<'de> for Words {
        type Value = Option<Vec<String>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of strings or a string")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E>(self, word: &str) -> Result<Self::Value, E> {
            Ok(Some(vec![word.to_owned()]))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(list)).map(Some)
        }
    }

    from.deserialize_any(Words)
}

#[cfg(test)]
mod tests;
