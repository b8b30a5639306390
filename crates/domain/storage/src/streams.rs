//! Layers as the tar streams that they were unpacked from.

use std::io::{self, Read};

use berth_sys::rustix::fs::{Mode, OFlags, openat};
use berth_types::LayerId;
use berth_unpack::{Reassembly, reassemble, stream_length};

use crate::error::StorageError;
use crate::layers;
use crate::layout::open_directory;
use crate::service::Inner;

/// The tar stream of a layer. The last read fails when the bytes are not those that were
/// unpacked.
pub struct LayerStream {
    /// Length in bytes.
    pub length: u64,
    stream: Reassembly,
}

impl Read for LayerStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

pub(crate) fn open(inner: &Inner, id: LayerId) -> Result<LayerStream, StorageError> {
    layers::find(inner, id)?;
    let path = inner.root.paths.overlay().join(id.to_string());
    let directory = open_directory(&inner.root.overlay, id.to_string())
        .map_err(StorageError::io("open", &path))?;
    let files =
        open_directory(&directory, "diff").map_err(StorageError::io("open", path.join("diff")))?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let journal = openat(&directory, "journal.gz", flags, Mode::empty())
        .map_err(StorageError::io("open", path.join("journal.gz")))?;
    let journal = std::fs::File::from(journal);
    let again = journal
        .try_clone()
        .map_err(StorageError::io("open", path.join("journal.gz")))?;
    Ok(LayerStream {
        length: stream_length(again)?,
        stream: reassemble(journal, files)?,
    })
}
