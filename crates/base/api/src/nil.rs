//! How Go writes slices and maps that were never made: `null`.
//!
//! Docker's answers carry `null` in fields whose Go type is a plain slice, and clients print or
//! compare it. Inside Berth an empty list means the same, so the difference is made here, when a
//! field is written.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// Writes an empty list as `null`.
pub(crate) fn list<S: Serializer, T: Serialize>(list: &[T], to: S) -> Result<S::Ok, S::Error> {
    if list.is_empty() {
        to.serialize_none()
    } else {
        list.serialize(to)
    }
}

/// Writes an empty map as `null`.
pub(crate) fn map<S: Serializer, T: Serialize>(
    map: &BTreeMap<String, T>,
    to: S,
) -> Result<S::Ok, S::Error> {
    if map.is_empty() {
        to.serialize_none()
    } else {
        map.serialize(to)
    }
}

/// For fields that are left out when false.
pub(crate) fn is_false(value: &bool) -> bool {
    !value
}
