//! Whether a data root and a database belong together. The sweep deletes what the database does
//! not know, so a database that is lost, another's or an old copy must not get that far.
//!
//! ```text
//! install-id           the identity of the database that the root was made with
//! database-sequence    the number of its last commit when the engine last started
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use berth_store::Db;
use berth_sys::rustix::fs::CWD;
use berth_types::{InstallId, chain};

use crate::error::StorageError;
use crate::layout::{Name, names, open_directory};

const IDENTITY: &str = "install-id";
const SEQUENCE: &str = "database-sequence";
/// Where layers and containers are.
const FILLED: [&str; 2] = ["overlay2", "containers"];

/// Refuses a root whose database is missing, before a new one is made in its place.
pub(crate) fn expect_database(root: &Path, database: &Path) -> Result<(), StorageError> {
    let is_missing = matches!(
        fs::symlink_metadata(database),
        Err(e) if e.kind() == io::ErrorKind::NotFound
    );
    if is_missing && (root.join(IDENTITY).exists() || is_filled(root)?) {
        return Err(StorageError::NoDatabase {
            path: database.to_owned(),
            root: root.to_owned(),
        });
    }
    Ok(())
}

/// Compares the root with a database that has this identity and this many commits; what the root
/// does not say yet.
pub(crate) fn compare(
    root: &Path,
    install_id: InstallId,
    sequence: u64,
) -> Result<Unsaid, StorageError> {
    Ok(Unsaid {
        owner: !has_owner(root, install_id)?,
        sequence: !has_sequence(root, sequence)?,
    })
}

/// What a root does not say about its database.
pub(crate) struct Unsaid {
    owner: bool,
    sequence: bool,
}

/// As [`compare`], and notes what was not said.
pub(crate) fn check(root: &Path, db: &Db) -> Result<(), StorageError> {
    let (install_id, sequence) = (db.install_id(), db.sequence()?);
    let unsaid = compare(root, install_id, sequence)?;
    if unsaid.owner {
        write(&root.join(IDENTITY), &install_id.to_string())?;
    }
    if unsaid.sequence {
        match write(&root.join(SEQUENCE), &sequence.to_string()) {
            // The engine has to start on a full disk. An older number refuses less.
            Err(error) if error.is_full() => {
                tracing::warn!(error = %chain(&error), "the number of the last commit was not noted");
            }
            written => written?,
        }
    }
    Ok(())
}

fn has_owner(root: &Path, install_id: InstallId) -> Result<bool, StorageError> {
    let file = root.join(IDENTITY);
    match read(&file)? {
        Some(text) if text == install_id.to_string() => Ok(true),
        Some(found) => Err(StorageError::ForeignRoot {
            path: root.to_owned(),
            found,
            expected: install_id,
        }),
        None if is_filled(root)? => Err(StorageError::Unmarked {
            path: file,
            expected: install_id,
        }),
        None => Ok(false),
    }
}

fn has_sequence(root: &Path, now: u64) -> Result<bool, StorageError> {
    let file = root.join(SEQUENCE);
    // What is no number says nothing.
    let before = read(&file)?.and_then(|text| text.parse::<u64>().ok());
    match before {
        Some(before) if now < before => Err(StorageError::OldDatabase {
            path: root.to_owned(),
            found: now,
            before,
            file,
        }),
        before => Ok(before == Some(now)),
    }
}

/// Whether there is a layer or a container.
fn is_filled(root: &Path) -> Result<bool, StorageError> {
    for name in FILLED {
        let path = root.join(name);
        let found = match open_directory(CWD, &path).map_err(io::Error::from) {
            Ok(directory) => names(directory).map_err(StorageError::io("list", path))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(StorageError::io("open", path)(e)),
        };
        if found
            .iter()
            .any(|name| matches!(Name::of(name), Name::Id(_)))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read(file: &Path) -> Result<Option<String>, StorageError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StorageError::io("read", file)(e)),
    }
}

/// Writes a line so that after a crash the file is there whole or not at all.
fn write(path: &Path, line: &str) -> Result<(), StorageError> {
    let unfinished = path.with_extension("new");
    let written = (|| {
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&unfinished)?;
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    })();
    if written.is_err() {
        // A file that stays is overwritten by the next attempt.
        let _ = fs::remove_file(&unfinished);
    }
    written.map_err(StorageError::io("write", path))
}
