//! Why unpacking failed, in the words the caller passes on.

use std::fmt;
use std::io;

use berth_sys::rustix::io::Errno;
use berth_unpack::protocol::Fault;

/// The first thing that went wrong, with the entry it went wrong in.
#[derive(Debug)]
pub struct Failure {
    cause: Cause,
    /// Name of the entry and offset of its header in the uncompressed stream.
    entry: Option<(Vec<u8>, u64)>,
}

#[derive(Debug)]
enum Cause {
    Archive { what: String, offset: Option<u64> },
    Budget { field: &'static str, limit: u64 },
    Machine { what: String, source: io::Error },
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// The archive is wrong, or asks for something that is never done.
    pub fn refused(what: impl Into<String>) -> Failure {
        Failure::from(Cause::Archive {
            what: what.into(),
            offset: None,
        })
    }

    /// The archive is wrong at this offset of the uncompressed stream.
    pub fn at(offset: u64, what: impl Into<String>) -> Failure {
        Failure::from(Cause::Archive {
            what: what.into(),
            offset: Some(offset),
        })
    }

    /// The archive asks for more than this field of the budget.
    pub fn budget(field: &'static str, limit: u64) -> Failure {
        Failure::from(Cause::Budget { field, limit })
    }

    /// The machine failed.
    pub fn machine(what: impl Into<String>, source: impl Into<io::Error>) -> Failure {
        Failure::from(Cause::Machine {
            what: what.into(),
            source: source.into(),
        })
    }

    /// A file system operation failed; some answers mean that the archive asked for what no file
    /// system can do.
    pub fn file_system(what: &str, path: &[u8], errno: Errno) -> Failure {
        let what = format!("cannot {what} {}", Name(path));
        match errno {
            Errno::NAMETOOLONG | Errno::MLINK | Errno::ILSEQ | Errno::FBIG => {
                Failure::refused(format!("{what}: {}", Answer(&errno.into())))
            }
            _ => Failure::machine(what, errno),
        }
    }

    /// Names the entry that was being unpacked, unless one is named already.
    pub fn in_entry(mut self, name: &[u8], offset: u64) -> Failure {
        self.entry.get_or_insert_with(|| (name.to_vec(), offset));
        self
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self.cause {
            Cause::Archive { .. } => Fault::Archive,
            Cause::Budget { .. } => Fault::Budget,
            Cause::Machine { .. } => Fault::Machine,
        }
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Failure {
        Failure { cause, entry: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Archive { .. } => f.write_str("invalid archive: ")?,
            Cause::Budget { .. } => f.write_str("archive refused: ")?,
            Cause::Machine { .. } => f.write_str("unpacking failed: ")?,
        }
        if let Some((name, offset)) = &self.entry {
            write!(f, "entry {} (header at byte {offset}): ", Name(name))?;
        }
        match &self.cause {
            Cause::Archive { what, offset } => {
                f.write_str(what)?;
                offset.map_or(Ok(()), |offset| write!(f, " at byte {offset}"))
            }
            Cause::Budget { field, limit } => write!(
                f,
                "it goes beyond the budget {field} = {limit}; if it is to be trusted, raise that"
            ),
            Cause::Machine { what, source } => write!(f, "{what}: {}", Answer(source)),
        }
    }
}

/// A name for messages: quoted, cut when long, and without control characters.
pub struct Name<'a>(pub &'a [u8]);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 256;
        let shown = self.0.get(..LONGEST).unwrap_or(self.0);
        let more = if shown.len() < self.0.len() {
            "..."
        } else {
            ""
        };
        write!(f, "{:?}{more}", String::from_utf8_lossy(shown))
    }
}

/// A system's answer, in fixed words where callers and users look for them.
struct Answer<'a>(&'a io::Error);

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC) => f.write_str("no space left on device"),
            Some(Errno::DQUOT) => f.write_str("no space left on device (disk quota exceeded)"),
            _ => self.0.fmt(f),
        }
    }
}
