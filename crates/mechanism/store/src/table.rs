//! Typed tables and the form of their rows.

use std::marker::PhantomData;

use redb::TableDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::StoreError;
use crate::key::{self, Key};

/// The table as redb knows it: bytes to bytes.
pub(crate) type Raw = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// A table from `K` to `V`, declared as a constant:
///
/// `const CONTAINERS: Table<ContainerId, Record> = Table::new("containers", 1);`
///
/// A row is two bytes of version (little endian) and the value as JSON. A value of an older
/// version is read as a `V`, so a new field needs `#[serde(default)]` or the version a `V` that
/// reads both.
pub struct Table<K, V> {
    pub(crate) name: &'static str,
    version: u16,
    types: PhantomData<fn() -> (K, V)>,
}

/// One row of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row<K, V> {
    /// A row that was read.
    Whole(K, V),
    /// A row that was not, and was left as it is.
    Damaged {
        /// The key, where at least that can be read.
        key: Option<K>,
        /// The key's bytes in hexadecimal.
        hex: String,
        /// What is wrong with it, one sentence for a person.
        reason: String,
    },
}

impl<K, V> Table<K, V> {
    /// A table of this name whose rows are written as `version`.
    pub const fn new(name: &'static str, version: u16) -> Self {
        Self {
            name,
            version,
            types: PhantomData,
        }
    }

    /// The table's name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) const fn raw(&self) -> Raw {
        TableDefinition::new(self.name)
    }
}

impl<K: Key, V: Serialize + DeserializeOwned> Table<K, V> {
    pub(crate) fn encode(&self, value: &V) -> Result<Vec<u8>, StoreError> {
        let mut out = self.version.to_le_bytes().to_vec();
        serde_json::to_writer(&mut out, value).map_err(|e| StoreError::Encode {
            table: self.name,
            source: e.into(),
        })?;
        Ok(out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, String> {
        let Some((version, json)) = bytes.split_first_chunk() else {
            return Err("it is shorter than its version number".to_owned());
        };
        let version = u16::from_le_bytes(*version);
        if version > self.version {
            return Err(format!(
                "it was written by a newer Berth (version {version}, this one reads {})",
                self.version
            ));
        }
        serde_json::from_slice(json).map_err(|e| format!("its content cannot be read: {e}"))
    }

    pub(crate) fn value(&self, key: &[u8], bytes: &[u8]) -> Result<V, StoreError> {
        self.decode(bytes).map_err(|reason| StoreError::Row {
            table: self.name,
            key: hex(key),
            reason,
        })
    }

    pub(crate) fn row(&self, key: &[u8], value: &[u8]) -> Row<K, V> {
        let damaged = |key_read, reason| Row::Damaged {
            key: key_read,
            hex: hex(key),
            reason,
        };
        match (key::whole(key), self.decode(value)) {
            (Some(key), Ok(value)) => Row::Whole(key, value),
            (Some(key), Err(reason)) => damaged(Some(key), reason),
            (None, _) => damaged(None, format!("its key is none of table {}", self.name)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
