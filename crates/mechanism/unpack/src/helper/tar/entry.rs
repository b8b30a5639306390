//! Headers, extended headers and maps, put together to entries.

use berth_sys::rustix::fs::Timespec;
use berth_unpack::Budget;

use super::header::{Header, is_zero};
use super::pax::Extensions;
use super::sparse::{self, Allowance, Area};
use crate::decode::Summary;
use crate::failure::{Failure, Name, Result};
use crate::stream::{RECORD, Stream};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    HardLink,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
    /// A volume label or the like: read past.
    Label,
}

/// One member of the archive. Its payload is the next thing in the stream.
pub struct Entry {
    /// As the archive has it.
    pub name: Vec<u8>,
    /// Target of a hard or symbolic link.
    pub link: Vec<u8>,
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Timespec,
    /// Major and minor number.
    pub device: (u32, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Size of the file.
    pub size: u64,
    /// Bytes of it that are in the stream; fewer than `size` only with `areas`.
    pub payload: u64,
    /// Where the payload goes in a sparse file.
    pub areas: Option<Vec<Area>>,
    /// Offset of the header.
    pub offset: u64,
}

/// Reads entries from a stream.
pub struct TarReader {
    pub stream: Stream,
    header_bytes: u64,
}

impl TarReader {
    pub fn new(stream: Stream, budget: &Budget) -> TarReader {
        TarReader {
            stream,
            header_bytes: budget.header_bytes,
        }
    }

    /// The next entry. `None` at the end of the archive: a record of zeros or, as for GNU tar, the
    /// end of the stream where a header could be.
    pub fn next(&mut self) -> Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        let mut extended = false;
        let mut allowance = Allowance {
            left: self.header_bytes,
            limit: self.header_bytes,
        };
        loop {
            let offset = self.stream.offset();
            let record = self.stream.raw_record()?;
            let Some(record) = record.filter(|record| !is_zero(record)) else {
                if extended {
                    let what = "the archive ends after an extended header";
                    return Err(Failure::at(offset, what));
                }
                return Ok(None);
            };
            let header = Header::new(record, offset)?;
            match header.kind() {
                b'L' => extensions.path = Some(self.long_name(&header, &mut allowance)?),
                b'K' => extensions.link = Some(self.long_name(&header, &mut allowance)?),
                b'x' | b'X' => {
                    let data = self.extension(&header, &mut allowance)?;
                    extensions.read(&data, offset + RECORD as u64)?;
                }
                b'g' => {
                    self.extension(&header, &mut allowance)?;
                    continue;
                }
                _ => return self.entry(&header, extensions, &mut allowance).map(Some),
            }
            extended = true;
        }
    }

    /// Reads the padding behind a payload of this length.
    pub fn padding(&mut self, payload: u64) -> Result<()> {
        let beyond = payload % RECORD as u64;
        if beyond > 0 {
            self.stream.raw_skip(RECORD as u64 - beyond)?;
        }
        Ok(())
    }

    /// Reads whatever follows the archive.
    pub fn finish(&mut self) -> Result<Summary> {
        self.stream.finish()
    }

    /// The data of a header that describes another.
    fn extension(&mut self, header: &Header, allowance: &mut Allowance) -> Result<Vec<u8>> {
        let size = header.unsigned(124..136, "size")?;
        allowance.spend(size)?;
        allowance.spend(RECORD as u64)?;
        let data = self.stream.raw_vec(size)?;
        self.padding(size)?;
        Ok(data)
    }

    fn long_name(&mut self, header: &Header, allowance: &mut Allowance) -> Result<Vec<u8>> {
        let mut name = self.extension(header, allowance)?;
        let end = name.iter().position(|byte| *byte == 0);
        name.truncate(end.unwrap_or(name.len()));
        Ok(name)
    }

    fn entry(
        &mut self,
        header: &Header,
        extensions: Extensions,
        allowance: &mut Allowance,
    ) -> Result<Entry> {
        let offset = header.offset;
        let Extensions { sparse, .. } = extensions;
        let path = sparse.name.or(extensions.path);
        let name = path.unwrap_or_else(|| header.name());
        let kind = kind_of(header, &name).map_err(|failure| failure.in_entry(&name, offset))?;
        let has_payload = matches!(kind, Kind::File | Kind::Label);
        let size = match extensions.size {
            Some(size) => size,
            None => header.unsigned(124..136, "size")?,
        };
        let mut payload = if has_payload { size } else { 0 };
        let mut size = payload;
        let mut areas = None;
        if header.kind() == b'S' {
            size = header.unsigned(483..495, "size of a sparse file")?;
            areas = Some(sparse::old_gnu(
                &header.record,
                &mut self.stream,
                allowance,
            )?);
        } else if sparse.old {
            let what = "sparse files of GNU's pax formats 0.0 and 0.1 are not supported";
            return Err(Failure::refused(what).in_entry(&name, offset));
        } else if (sparse.major, sparse.minor) == (Some(1), Some(0)) && kind == Kind::File {
            let (map, map_bytes) = sparse::gnu_1_0(&mut self.stream, allowance)?;
            size = sparse.real_size.unwrap_or(size);
            payload = payload
                .checked_sub(map_bytes)
                .ok_or_else(|| Failure::at(offset, "the map of a sparse file is too long"))?;
            areas = Some(map);
        }
        if let Some(areas) = &areas {
            sparse::check(areas, size, payload, offset)?;
        }
        let mtime = match extensions.mtime {
            Some(mtime) => mtime,
            None => Timespec {
                tv_sec: header.number(136..148, "modification time")?,
                tv_nsec: 0,
            },
        };
        let is_device = matches!(kind, Kind::CharacterDevice | Kind::BlockDevice);
        let device = if is_device {
            let major = narrow(header.unsigned(329..337, "major number")?, header)?;
            (
                major,
                narrow(header.unsigned(337..345, "minor number")?, header)?,
            )
        } else {
            (0, 0)
        };
        let owner = |wide: Option<u64>, range, what| match wide {
            Some(wide) => narrow(wide, header),
            None => narrow(header.unsigned(range, what)?, header),
        };
        Ok(Entry {
            link: extensions.link.unwrap_or_else(|| header.link()),
            kind,
            // The type bits that some writers add are not the mode's business.
            mode: (header.unsigned(100..108, "mode")? & 0o7777) as u32,
            uid: owner(extensions.uid, 108..116, "owner")?,
            gid: owner(extensions.gid, 116..124, "group")?,
            mtime,
            device,
            xattrs: extensions.xattrs,
            size,
            payload,
            areas,
            offset,
            name,
        })
    }
}

/// Owners and device numbers; the largest value means "unchanged" to `chown(2)`.
fn narrow(wide: u64, header: &Header) -> Result<u32> {
    let narrow = u32::try_from(wide)
        .ok()
        .filter(|narrow| *narrow != u32::MAX);
    narrow.ok_or_else(|| {
        Failure::at(
            header.offset,
            format!("the owner or device number {wide} is too large"),
        )
    })
}

fn kind_of(header: &Header, name: &[u8]) -> Result<Kind> {
    Ok(match header.kind() {
        // V7 has no directories, only names that end in a slash.
        0 if name.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharacterDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        b'V' => Kind::Label,
        other => {
            let kind = [other];
            let what = format!("unknown type {} of an entry", Name(&kind));
            return Err(Failure::refused(what));
        }
    })
}
