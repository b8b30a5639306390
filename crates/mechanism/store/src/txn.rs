//! Transactions: what a closure may do with the tables.

use std::cell::RefCell;
use std::error::Error;

use redb::{ReadableTable, TableError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::Engine;
use crate::error::{StoreError, cause};
use crate::key::{self, Key, KeyRef};
use crate::table::{Raw, Row, Table};

/// What is run when a transaction is on the disk; see [`WriteTxn::on_commit`].
pub type Hook = Box<dyn FnOnce() + Send>;

/// A consistent view of all tables.
pub struct ReadTxn {
    txn: redb::ReadTransaction,
}

impl ReadTxn {
    pub(crate) fn new(txn: redb::ReadTransaction) -> Self {
        Self { txn }
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// The table cannot be read, or this row is damaged ([`StoreError::Row`]).
    pub fn get<K, V, Q>(&self, table: &Table<K, V>, key: &Q) -> Result<Option<V>, StoreError>
    where
        K: Key,
        V: Serialize + DeserializeOwned,
        Q: KeyRef<K> + ?Sized,
    {
        self.with(table, None, |raw| get(table, raw, &key::bytes_of(key)))
    }

    /// All rows in the order of their keys; a damaged one is returned as such.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn scan<K, V>(&self, table: &Table<K, V>) -> Result<Vec<Row<K, V>>, StoreError>
    where
        K: Key,
        V: Serialize + DeserializeOwned,
    {
        self.with(table, Vec::new(), |raw| scan(table, raw, &[]))
    }

    /// The rows whose key is a tuple that begins with `first`.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn scan_prefix<K, V, A>(
        &self,
        table: &Table<K, V>,
        first: &A,
    ) -> Result<Vec<Row<K, V>>, StoreError>
    where
        K: Key,
        V: Serialize + DeserializeOwned,
        A: Key,
    {
        self.with(table, Vec::new(), |raw| {
            scan(table, raw, &key::bytes_of::<A>(first))
        })
    }

    /// Runs `read` on the table; one that was never written to is as good as empty.
    fn with<K, V, T>(
        &self,
        table: &Table<K, V>,
        empty: T,
        read: impl FnOnce(&redb::ReadOnlyTable<&'static [u8], &'static [u8]>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.txn.open_table(table.raw()) {
            Ok(raw) => read(&raw),
            Err(TableError::TableDoesNotExist(_)) => Ok(empty),
            Err(e) => Err(StoreError::Read {
                table: table.name,
                source: cause(e),
            }),
        }
    }
}

/// What was under a key before the running operation wrote there.
struct Undo {
    table: Raw,
    name: &'static str,
    key: Vec<u8>,
    old: Option<Vec<u8>>,
}

/// The one transaction that is being written. It is passed down between domains, so that one
/// operation is one commit. It sees its own writes, and those of the operations before it.
pub struct WriteTxn<'a> {
    txn: &'a redb::WriteTransaction,
    undo: Vec<Undo>,
    hooks: Vec<Hook>,
    /// The first failure of the engine, which no operation of the batch survives.
    failure: RefCell<Option<StoreError>>,
    /// Nothing for a file that is being made.
    engine: Option<&'a Engine>,
}

impl<'a> WriteTxn<'a> {
    pub(crate) fn new(txn: &'a redb::WriteTransaction, engine: Option<&'a Engine>) -> Self {
        Self {
            txn,
            engine,
            undo: Vec::new(),
            hooks: Vec::new(),
            failure: RefCell::new(None),
        }
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// The table cannot be read, or this row is damaged ([`StoreError::Row`]).
    pub fn get<K, V, Q>(&self, table: &Table<K, V>, key: &Q) -> Result<Option<V>, StoreError>
    where
        K: Key,
        V: Serialize + DeserializeOwned,
        Q: KeyRef<K> + ?Sized,
    {
        self.read(table, |raw| get(table, raw, &key::bytes_of(key)))
    }

    /// All rows in the order of their keys; a damaged one is returned as such.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn scan<K, V>(&self, table: &Table<K, V>) -> Result<Vec<Row<K, V>>, StoreError>
    where
        K: Key,
        V: Serialize + DeserializeOwned,
    {
        self.read(table, |raw| scan(table, raw, &[]))
    }

    /// The rows whose key is a tuple that begins with `first`.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn scan_prefix<K, V, A>(
        &self,
        table: &Table<K, V>,
        first: &A,
    ) -> Result<Vec<Row<K, V>>, StoreError>
    where
        K: Key,
        V: Serialize + DeserializeOwned,
        A: Key,
    {
        self.read(table, |raw| scan(table, raw, &key::bytes_of::<A>(first)))
    }

    /// Writes `value` under `key`, over whatever is there.
    ///
    /// # Errors
    /// The table cannot be written, or the value has no JSON form.
    pub fn put<K, V, Q>(
        &mut self,
        table: &Table<K, V>,
        key: &Q,
        value: &V,
    ) -> Result<(), StoreError>
    where
        K: Key,
        V: Serialize + DeserializeOwned,
        Q: KeyRef<K> + ?Sized,
    {
        let bytes = table.encode(value)?;
        self.change(table, key::bytes_of(key), Some(&bytes))
            .map(|_| ())
    }

    /// Removes the row under `key`, damaged or not; tells whether there was one.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn remove<K, V, Q>(&mut self, table: &Table<K, V>, key: &Q) -> Result<bool, StoreError>
    where
        K: Key,
        Q: KeyRef<K> + ?Sized,
    {
        self.change(table, key::bytes_of(key), None)
    }

    /// For an operation that adds something for good: asks whether the disk has room for the
    /// database to grow. What removes or ends something does not ask, so that it works on a full
    /// disk.
    ///
    /// # Errors
    /// [`StoreError::Full`].
    pub fn claim_room(&self) -> Result<(), StoreError> {
        self.engine.map_or(Ok(()), Engine::claim_room)
    }

    /// Runs `hook` once this transaction is on the disk, before [`crate::Db::write`] returns, in
    /// the order of the commits. It runs on the writer's thread: it has to be short and cannot
    /// write. It is dropped if the operation takes no effect.
    pub fn on_commit(&mut self, hook: Hook) {
        self.hooks.push(hook);
    }

    fn read<K, V, T>(
        &self,
        table: &Table<K, V>,
        read: impl FnOnce(&redb::Table<'_, &'static [u8], &'static [u8]>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let raw = self
            .txn
            .open_table(table.raw())
            .map_err(|e| StoreError::Read {
                table: table.name,
                source: cause(e),
            });
        let result = raw.and_then(|raw| read(&raw));
        if let Err(e @ StoreError::Read { .. }) = &result {
            self.fail(e);
        }
        result
    }

    fn change<K, V>(
        &mut self,
        table: &Table<K, V>,
        key: Vec<u8>,
        value: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        match replace(self.txn, table.raw(), &key, value) {
            Ok(old) => {
                let was_there = old.is_some();
                if was_there || value.is_some() {
                    self.undo.push(Undo {
                        table: table.raw(),
                        name: table.name,
                        key,
                        old,
                    });
                }
                Ok(was_there)
            }
            Err(source) => {
                let error = StoreError::Write {
                    table: table.name,
                    source: source.into(),
                };
                self.fail(&error);
                Err(error)
            }
        }
    }

    fn fail(&self, error: &StoreError) {
        self.failure
            .borrow_mut()
            .get_or_insert_with(|| error.clone());
    }

    /// Whether the running operation has written anything.
    pub(crate) fn has_changed(&self) -> bool {
        !self.undo.is_empty()
    }

    /// Takes back what the running operation wrote and wanted announced.
    pub(crate) fn roll_back(&mut self) {
        self.hooks.clear();
        while let Some(Undo {
            table,
            name,
            key,
            old,
        }) = self.undo.pop()
        {
            if let Err(source) = replace(self.txn, table, &key, old.as_deref()) {
                self.fail(&StoreError::Write {
                    table: name,
                    source: source.into(),
                });
                return;
            }
        }
    }

    /// Ends the running operation; the next one starts.
    pub(crate) fn finish(&mut self) -> Vec<Hook> {
        self.undo.clear();
        std::mem::take(&mut self.hooks)
    }

    /// The failure that ends the whole batch, if there was one.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        self.failure.borrow().clone()
    }
}

/// Puts or removes one row and returns what was there.
fn replace(
    txn: &redb::WriteTransaction,
    table: Raw,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>> {
    let mut raw = txn.open_table(table)?;
    let old = match value {
        Some(value) => raw.insert(key, value)?.map(|old| old.value().to_vec()),
        None => raw.remove(key)?.map(|old| old.value().to_vec()),
    };
    Ok(old)
}

fn get<K, V>(
    table: &Table<K, V>,
    raw: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<V>, StoreError>
where
    K: Key,
    V: Serialize + DeserializeOwned,
{
    let found = raw.get(key).map_err(|e| StoreError::Read {
        table: table.name,
        source: cause(e),
    })?;
    found
        .map(|bytes| table.value(key, bytes.value()))
        .transpose()
}

fn scan<K, V>(
    table: &Table<K, V>,
    raw: &impl ReadableTable<&'static [u8], &'static [u8]>,
    prefix: &[u8],
) -> Result<Vec<Row<K, V>>, StoreError>
where
    K: Key,
    V: Serialize + DeserializeOwned,
{
    let failed = |e| StoreError::Read {
        table: table.name,
        source: cause(e),
    };
    let mut rows = Vec::new();
    for entry in raw.range(prefix..).map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        if !key.value().starts_with(prefix) {
            break;
        }
        rows.push(table.row(key.value(), value.value()));
    }
    Ok(rows)
}
