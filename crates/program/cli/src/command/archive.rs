//! Archives on their way between files and the engine.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use berth_api::client::Output;
use berth_console::{Stream, terminal};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::task::JoinHandle;

use crate::exit::{Exit, PIPE_CLOSED};

/// How much of an archive is read at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// Writes an archive to standard output, or to a file that is there under its name only when it is
/// whole.
///
/// # Errors
/// Standard output is a terminal, the file cannot be written, or the archive broke off.
pub async fn write_out(output: Output, file: Option<&str>) -> Result<(), Exit> {
    let Some(path) = file.filter(|path| !path.is_empty()) else {
        if terminal::is_terminal(Stream::Stdout) {
            return Err(Exit::failed(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect",
            ));
        }
        return copy(output, &mut io::stdout()).await;
    };
    let path = Path::new(path);
    if is_special(path) {
        let mut file = File::options()
            .write(true)
            .open(path)
            .map_err(|e| cannot_write(path, &e))?;
        return copy(output, &mut file).await;
    }
    let mut draft = Draft::create(path)?;
    copy(output, &mut draft.file).await?;
    draft.finish(path)
}

/// Checks where an archive is to go before anything is asked for.
///
/// # Errors
/// There is no such directory, in Docker's words.
pub fn check_output(file: Option<&str>) -> Result<(), Exit> {
    let Some(path) = file.filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    let parent = match Path::new(path).parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if parent.is_dir() {
        return Ok(());
    }
    Err(Exit::failed(format!(
        "invalid output path: stat {}: no such file or directory",
        parent.display()
    )))
}

fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| {
        let kind = found.file_type();
        kind.is_char_device() || kind.is_block_device() || kind.is_fifo()
    })
}

fn cannot_write(path: &Path, error: &io::Error) -> Exit {
    Exit::failed(format!("berth: cannot write {}: {error}", path.display()))
}

/// Copies what the engine sends, to its end.
///
/// # Errors
/// The connection broke, or nobody takes what it brings.
pub async fn copy(mut output: Output, to: &mut impl Write) -> Result<(), Exit> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = output
            .read(&mut buffer)
            .await
            .map_err(|e| Exit::failed(format!("berth: the archive broke off: {e}")))?;
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            return to.flush().map_err(|e| lost(&e));
        }
        to.write_all(piece).map_err(|e| lost(&e))?;
    }
}

fn lost(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Exit::silent(PIPE_CLOSED),
        _ => Exit::failed(format!("berth: cannot write the archive: {error}")),
    }
}

/// A file beside the one that it will replace; removed unless it is finished.
struct Draft {
    file: File,
    path: PathBuf,
}

impl Draft {
    fn create(target: &Path) -> Result<Self, Exit> {
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{}.part", std::process::id()));
        let path = target.with_file_name(name);
        let file = File::create_new(&path).map_err(|e| cannot_write(&path, &e))?;
        Ok(Self { file, path })
    }

    fn finish(self, target: &Path) -> Result<(), Exit> {
        std::fs::rename(&self.path, target).map_err(|e| cannot_write(target, &e))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After the renaming it is not there any more.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A reader, and the piece it read last.
type Piece = (Box<dyn Read + Send>, Vec<u8>);

/// A file or pipe as an asynchronous reader: each piece is read on a thread that may block.
pub struct Blocking {
    idle: Option<Piece>,
    busy: Option<JoinHandle<io::Result<Piece>>>,
    /// How much of the buffer has been handed on.
    taken: usize,
}

impl Blocking {
    /// What this reader gives.
    pub fn new(reader: Box<dyn Read + Send>) -> Self {
        Self {
            idle: Some((reader, Vec::new())),
            busy: None,
            taken: 0,
        }
    }
}

impl AsyncRead for Blocking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if let Some(busy) = &mut this.busy {
                let read = ready!(Pin::new(busy).poll(task));
                this.busy = None;
                this.taken = 0;
                this.idle = Some(read.map_err(io::Error::other)??);
                if this
                    .idle
                    .as_ref()
                    .is_some_and(|(_, buffer)| buffer.is_empty())
                {
                    return Poll::Ready(Ok(()));
                }
            }
            let Some((reader, buffer)) = this.idle.take() else {
                return Poll::Ready(Ok(()));
            };
            let rest = buffer.get(this.taken..).unwrap_or_default();
            if !rest.is_empty() {
                let part = rest.len().min(space.remaining());
                space.put_slice(&rest[..part]);
                this.taken += part;
                this.idle = Some((reader, buffer));
                return Poll::Ready(Ok(()));
            }
            this.busy = Some(tokio::task::spawn_blocking(move || {
                read_piece(reader, buffer)
            }));
        }
    }
}

fn read_piece(mut reader: Box<dyn Read + Send>, mut buffer: Vec<u8>) -> io::Result<Piece> {
    buffer.resize(CHUNK_BYTES, 0);
    let read = loop {
        match reader.read(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    buffer.truncate(read);
    Ok((reader, buffer))
}
