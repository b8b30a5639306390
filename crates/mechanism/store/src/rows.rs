//! How many rows there are: what must not grow while things come and go.

use std::collections::BTreeMap;

use redb::{ReadableDatabase, ReadableTableMetadata, TableHandle as _};

use crate::db::Db;
use crate::error::{StoreError, cause};

impl Db {
    /// The number of rows in each table of the last commit.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn rows(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        self.engine().with(|database| {
            let read = |source| StoreError::Open {
                path: self.engine().path.clone(),
                source,
            };
            let txn = database.begin_read().map_err(|e| read(cause(e)))?;
            let tables = txn.list_tables().map_err(|e| read(cause(e)))?;
            let count = |table: redb::UntypedTableHandle| {
                let name = table.name().to_owned();
                let opened = txn.open_untyped_table(table).map_err(|e| read(cause(e)))?;
                let rows = opened.len().map_err(|e| read(cause(e)))?;
                Ok((name, rows))
            };
            tables.map(count).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Table, WriteError, WriteTxn};

    const FRUIT: Table<String, u64> = Table::new("fruit", 1);

    #[test]
    fn rows_are_counted_by_table() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(&directory.path().join("meta.db")).unwrap();
        let put = |name: &'static str| {
            move |txn: &mut WriteTxn<'_>| txn.put(&FRUIT, &name.to_owned(), &1)
        };
        db.write(put("apple")).map_err(WriteError::flatten).unwrap();
        let one = db.rows().unwrap();
        assert_eq!(one.get("fruit"), Some(&1));
        db.write(put("pear")).map_err(WriteError::flatten).unwrap();
        let two = db.rows().unwrap();
        assert_eq!(two.get("fruit"), Some(&2));
        assert_eq!(two.len(), one.len());
    }
}
