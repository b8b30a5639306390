//! How long a layer's tar stream is, without reading its files.

use std::fs::File;
use std::sync::Arc;

use super::reader::{JournalError, open};
use super::{END, FILE, RAW};

/// The length in bytes of the stream that [`super::reassemble`] gives. Reads the journal once.
///
/// # Errors
/// [`JournalError::Damaged`] when the journal has no end, or [`JournalError::Read`].
pub fn stream_length(journal: File) -> Result<u64, JournalError> {
    let (mut main, _) = open(&Arc::new(journal))?;
    loop {
        let skipped = match main.array::<1>()? {
            [RAW] => u64::from(u32::from_le_bytes(main.array()?)),
            [FILE] => {
                main.array::<8>()?;
                u64::from(u16::from_le_bytes(main.array()?))
            }
            [END] => return Ok(u64::from_le_bytes(main.array()?)),
            _ => return Err(JournalError::Damaged("a record of unknown type")),
        };
        main.skip(skipped)?;
    }
}
