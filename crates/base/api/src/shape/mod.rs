//! What clients of older API versions send and expect, in one place.
//!
//! Handlers know the newest version only. On the way in, [`container_create`] forgets what the
//! request's version did not have yet, and turns into today's words what it had and today's has
//! not. On the way out, each function takes the newest answer as JSON and the request's version,
//! and gives what that version promised. A field that is merely new stays where old clients are
//! known to pass over it, as Docker does it too; what Docker takes away is taken away here.
//!
//! An answer in the newest version needs no shaping and need not become a [`Value`] at all.

mod containers;
mod images;
mod life;
mod networks;
mod requests;
mod system;

pub use containers::{container_inspect, container_summary, wait};
pub use images::{image_inspect, image_summary};
pub use life::{disk_usage, event};
pub use networks::network_inspect;
pub use requests::container_create;
pub use system::{info, version};

use serde_json::{Map, Value};

use crate::version::ApiVersion;

/// Whether the version is older than 1.`minor`.
fn below(version: ApiVersion, minor: u16) -> bool {
    version < ApiVersion::new(1, minor)
}

/// One of the functions of this module that shape answers.
pub type Shape = fn(&mut Value, ApiVersion);

/// Shapes each entry of a list.
pub fn list(answer: &mut Value, version: ApiVersion, entry: Shape) {
    for value in answer.as_array_mut().into_iter().flatten() {
        entry(value, version);
    }
}

/// The object under a key, where there is one.
fn object<'a>(parent: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    parent.get_mut(key).and_then(Value::as_object_mut)
}

/// Takes keys away and leaves the others in their order.
fn remove(object: &mut Map<String, Value>, keys: &[&str]) {
    for key in keys {
        object.shift_remove(*key);
    }
}

/// Adds what is not there.
fn fill(object: &mut Map<String, Value>, defaults: Value) {
    if let Value::Object(defaults) = defaults {
        for (key, value) in defaults {
            object.entry(key).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests;
