//! Identities that Berth mints.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{bytes_of, hex_of};

/// A text that is no identity of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {text:?}: expected {digits} lower-case hexadecimal digits")]
pub struct IdError {
    what: &'static str,
    text: String,
    digits: usize,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Wraps random bytes that the caller drew.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The raw bytes, for use as a key.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                bytes_of(text).map(Self).ok_or_else(|| IdError {
                    what: $what,
                    text: text.to_owned(),
                    digits: $bytes * 2,
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex_of(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

hex_id! {
    /// A container's identity: 64 hexadecimal digits, minted at create, never reused.
    ContainerId, 32, "container id"
}

hex_id! {
    /// The identity of a further process in a container: 64 hexadecimal digits.
    ExecId, 32, "exec id"
}

hex_id! {
    /// The directory name of one snapshot or layer below `overlay2/`: 64 hexadecimal digits.
    LayerId, 32, "layer id"
}

hex_id! {
    /// The identity of one data root: 8 hexadecimal digits, minted when the root is made. It is
    /// part of every name that Berth gives to something outside its roots, so that an engine
    /// only ever sweeps what is its own.
    InstallId, 4, "install id"
}

impl ContainerId {
    /// The first twelve digits, which people read and which is the default host name.
    pub fn short(&self) -> String {
        hex_of(&self.0[..6])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_form_is_the_head_of_the_long_one() {
        let id = ContainerId::from_bytes([0x1f; 32]);
        assert_eq!(id.short(), "1f1f1f1f1f1f");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("1f1f".parse::<ContainerId>().is_err());
        assert!("zz000000".parse::<InstallId>().is_err());
    }
}
