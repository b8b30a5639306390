//! The query parameter `filters`: `{"key":["value"]}`, or `{"key":{"value":true}}` from old
//! clients.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use berth_types::ErrorKind;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::decode::{self, DecodeError};

/// Filters by key; an object passes a key if it matches any of the key's values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Filters(BTreeMap<String, Values>);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
struct Values(BTreeSet<String>);

/// Filters that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FiltersError {
    /// The parameter is not an object of lists or sets.
    #[error("invalid filter: {0}")]
    Malformed(DecodeError),
    /// The endpoint has no such filter.
    #[error("invalid filter '{0}'")]
    Unknown(String),
    /// The filter takes only certain values.
    #[error("invalid filter '{key}={value}'")]
    Value {
        /// The filter's key.
        key: String,
        /// The value it does not take.
        value: String,
    },
}

impl FiltersError {
    /// Always [`ErrorKind::Invalid`].
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Filters {
    /// Reads the query parameter; an absent or empty one filters nothing.
    pub fn from_query(text: Option<&str>) -> Result<Self, FiltersError> {
        match text.map(str::trim) {
            None | Some("") => Ok(Self::default()),
            Some(text) => decode::from_text(text).map_err(FiltersError::Malformed),
        }
    }

    /// The query parameter, for a client; `None` if nothing is filtered.
    pub fn to_query(&self) -> Option<String> {
        if self.is_empty() {
            None
        } else {
            serde_json::to_string(self).ok()
        }
    }

    /// Refuses every key that the endpoint does not have.
    pub fn accept(&self, keys: &[&str]) -> Result<(), FiltersError> {
        match self.0.keys().find(|key| !keys.contains(&key.as_str())) {
            Some(key) => Err(FiltersError::Unknown(key.clone())),
            None => Ok(()),
        }
    }

    /// Adds a value to a key.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().0.insert(value.into());
    }

    /// The filters as plain data, for a domain that has its own rules for them.
    pub fn to_map(&self) -> BTreeMap<String, Vec<String>> {
        let list = |values: &Values| values.0.iter().cloned().collect();
        self.0
            .iter()
            .map(|(key, values)| (key.clone(), list(values)))
            .collect()
    }

    /// Whether nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the key is given.
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The values of a key, in order; none if the key is not given.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0
            .get(key)
            .into_iter()
            .flat_map(|values| values.0.iter().map(String::as_str))
    }

    /// A filter that is a switch: `None` if not given, else its one truth value.
    pub fn switch(&self, key: &str) -> Result<Option<bool>, FiltersError> {
        let mut found = None;
        for value in self.values(key) {
            let this = match value {
                "1" | "true" => true,
                "0" | "false" => false,
                _ => return Err(unfit(key, value)),
            };
            if found.is_some_and(|other| other != this) {
                return Err(unfit(key, value));
            }
            found = Some(this);
        }
        Ok(found)
    }
}

fn unfit(key: &str, value: &str) -> FiltersError {
    FiltersError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Values;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings or an object of booleans")
            }

            fn visit_unit<E>(self) -> Result<Values, E> {
                Ok(Values::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
                let mut values = BTreeSet::new();
                while let Some(value) = list.next_element()? {
                    values.insert(value);
                }
                Ok(Values(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
                let mut values = BTreeSet::new();
                while let Some((value, _)) = map.next_entry::<String, bool>()? {
                    values.insert(value);
                }
                Ok(Values(values))
            }
        }

        from.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::{Filters, FiltersError};

    fn values<'a>(filters: &'a Filters, key: &str) -> Vec<&'a str> {
        filters.values(key).collect()
    }

    #[test]
    fn both_spellings_mean_the_same() {
        let list = Filters::from_query(Some(r#"{"label":["a=b","C"],"status":["exited"]}"#));
        let set = Filters::from_query(Some(
            r#"{"label":{"a=b":true,"C":true},"status":{"exited":true}}"#,
        ));
        assert_eq!(list, set);
        let list = list.unwrap();
        assert_eq!(values(&list, "label"), ["C", "a=b"]);
        assert_eq!(values(&list, "nothing"), [""; 0]);
        assert_eq!(
            list.to_query().unwrap(),
            r#"{"label":["C","a=b"],"status":["exited"]}"#
        );
    }

    #[test]
    fn absent_empty_and_null_filter_nothing() {
        for text in [None, Some(""), Some(" "), Some("{}")] {
            assert!(Filters::from_query(text).unwrap().is_empty(), "{text:?}");
        }
        assert_eq!(Filters::default().to_query(), None);
    }

    #[test]
    fn unknown_keys_are_named() {
        let filters = Filters::from_query(Some(r#"{"label":["x"],"colour":["red"]}"#)).unwrap();
        let refused = filters.accept(&["label", "status"]).unwrap_err();
        assert_eq!(refused.to_string(), "invalid filter 'colour'");
        assert_eq!(filters.accept(&["label", "colour"]), Ok(()));
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in [
            "[]",
            "\"x\"",
            "{\"a\":1}",
            "{\"a\":[1]}",
            "{\"a\":{\"b\":1}}",
            "{",
            "{} x",
        ] {
            let error = Filters::from_query(Some(text)).unwrap_err();
            assert!(matches!(error, FiltersError::Malformed(_)), "{text}");
        }
    }

    #[test]
    fn a_switch_has_one_value() {
        let read = |text| Filters::from_query(Some(text)).unwrap().switch("dangling");
        assert_eq!(read("{}"), Ok(None));
        assert_eq!(read(r#"{"dangling":["true"]}"#), Ok(Some(true)));
        assert_eq!(read(r#"{"dangling":["0"]}"#), Ok(Some(false)));
        for text in [
            r#"{"dangling":["maybe"]}"#,
            r#"{"dangling":["true","false"]}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
