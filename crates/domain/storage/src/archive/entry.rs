//! The header of one entry.

/// Bytes of a block, which headers and contents are filled up to.
const BLOCK: usize = 512;
/// The end of an archive: two empty blocks.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// Largest name and link target that a plain header holds, in bytes.
const NAME_MAX: usize = 100;
/// Largest number in a field of eight bytes: seven octal digits.
const SHORT_MAX: u64 = 0o7_777_777;
/// Largest number in a field of twelve bytes: eleven octal digits.
const LONG_MAX: u64 = 0o77_777_777_777;
const NANOS: i64 = 1_000_000_000;

/// When a file was changed: seconds since the epoch, and nanoseconds from there on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mtime {
    /// Whole seconds, rounded towards the past.
    pub seconds: i64,
    /// The rest, less than a second.
    pub nanos: u32,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A regular file; this many bytes follow the header, then [`padding`].
    File {
        /// Length in bytes.
        size: u64,
    },
    /// A directory; its path ends with a slash.
    Directory,
    /// A symbolic link to this target.
    Symlink(&'a [u8]),
    /// Another name of the file at this path of the archive.
    Link(&'a [u8]),
    /// A character device: major and minor number.
    Character(u32, u32),
    /// A block device: major and minor number.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// One entry. [`Entry::header`] makes its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Path in the archive, without a leading slash.
    pub path: &'a [u8],
    /// What it is.
    pub kind: Kind<'a>,
    /// Permission bits, with set-user-ID, set-group-ID and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When it was changed.
    pub mtime: Mtime,
    /// Extended attributes: whole name, and value.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

impl<'a> Entry<'a> {
    /// A regular file of root's, of no particular time.
    pub fn file(path: &'a [u8], size: u64, mode: u32) -> Self {
        Self {
            path,
            kind: Kind::File { size },
            mode,
            uid: 0,
            gid: 0,
            mtime: Mtime::default(),
            xattrs: &[],
        }
    }

    /// A directory of root's, of no particular time.
    pub fn directory(path: &'a [u8], mode: u32) -> Self {
        Self {
            kind: Kind::Directory,
            ..Self::file(path, 0, mode)
        }
    }

    /// The entry's header, after the extended header where one is needed. Blocks of 512 bytes.
    pub fn header(&self) -> Vec<u8> {
        let (flag, link, size, device) = match self.kind {
            Kind::File { size } => (b'0', &b""[..], size, None),
            Kind::Directory => (b'5', &b""[..], 0, None),
            Kind::Symlink(target) => (b'2', target, 0, None),
            Kind::Link(target) => (b'1', target, 0, None),
            Kind::Character(major, minor) => (b'3', &b""[..], 0, Some((major, minor))),
            Kind::Block(major, minor) => (b'4', &b""[..], 0, Some((major, minor))),
            Kind::Fifo => (b'6', &b""[..], 0, None),
        };
        let mut records = Vec::new();
        if self.path.len() > NAME_MAX {
            record(&mut records, b"path", self.path);
        }
        if link.len() > NAME_MAX {
            record(&mut records, b"linkpath", link);
        }
        if size > LONG_MAX {
            record(&mut records, b"size", size.to_string().as_bytes());
        }
        for (key, id) in [(&b"uid"[..], self.uid), (b"gid", self.gid)] {
            if u64::from(id) > SHORT_MAX {
                record(&mut records, key, id.to_string().as_bytes());
            }
        }
        let fits = u64::try_from(self.mtime.seconds).is_ok_and(|s| s <= LONG_MAX);
        if !fits || self.mtime.nanos != 0 {
            record(&mut records, b"mtime", decimal(self.mtime).as_bytes());
        }
        for (name, value) in self.xattrs {
            record(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
        }
        let mut out = Vec::new();
        if !records.is_empty() {
            let last = self.path.strip_suffix(b"/").unwrap_or(self.path);
            let last = last.rsplit(|c| *c == b'/').next().unwrap_or(last);
            let name = [b"PaxHeaders.0/", last].concat();
            let plain = Entry::file(&name, records.len() as u64, 0o644);
            out.extend_from_slice(&plain.block(b'x', b"", records.len() as u64, None));
            out.extend_from_slice(&records);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        out.extend_from_slice(&self.block(flag, link, size, device));
        out
    }

    /// The plain header; what does not fit is cut off or zero, and stands in the extended one.
    fn block(&self, flag: u8, link: &[u8], size: u64, device: Option<(u32, u32)>) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        put(&mut block, 0, NAME_MAX, self.path);
        number(&mut block, 100, 8, u64::from(self.mode & 0o7777));
        number(&mut block, 108, 8, u64::from(self.uid));
        number(&mut block, 116, 8, u64::from(self.gid));
        number(&mut block, 124, 12, size);
        let seconds = u64::try_from(self.mtime.seconds).unwrap_or(0);
        number(&mut block, 136, 12, seconds);
        put(&mut block, 148, 8, b"        ");
        put(&mut block, 156, 1, &[flag]);
        put(&mut block, 157, NAME_MAX, link);
        put(&mut block, 257, 8, b"ustar\x0000");
        if let Some((major, minor)) = device {
            number(&mut block, 329, 8, u64::from(major));
            number(&mut block, 337, 8, u64::from(minor));
        }
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut block, 148, 8, format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// Zero bytes that follow a content of `size` bytes.
pub fn padding(size: u64) -> &'static [u8] {
    let beyond = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    END.get(..(BLOCK - beyond) % BLOCK).unwrap_or_default()
}

fn put(block: &mut [u8; BLOCK], at: usize, room: usize, bytes: &[u8]) {
    for (to, from) in block.iter_mut().skip(at).take(room).zip(bytes) {
        *to = *from;
    }
}

/// Octal digits and a NUL; zero for what does not fit.
fn number(block: &mut [u8; BLOCK], at: usize, room: usize, value: u64) {
    let max = if room == 8 { SHORT_MAX } else { LONG_MAX };
    let value = if value > max { 0 } else { value };
    let digits = room - 1;
    put(block, at, digits, format!("{value:0digits$o}").as_bytes());
}

/// `length key=value\n`, where the length counts its own digits.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Seconds as a decimal fraction without trailing zeros.
fn decimal(time: Mtime) -> String {
    let nanos = i64::from(time.nanos).clamp(0, NANOS - 1);
    let (sign, seconds, nanos) = match (time.seconds, nanos) {
        (seconds @ ..0, 0) => ("-", seconds.unsigned_abs(), 0),
        (seconds @ ..0, nanos) => ("-", (seconds + 1).unsigned_abs(), NANOS - nanos),
        (seconds, nanos) => ("", seconds.unsigned_abs(), nanos),
    };
    let text = format!("{sign}{seconds}.{nanos:09}");
    let text = text.trim_end_matches('0');
    text.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn times_are_fractions() {
        let text = |seconds, nanos| decimal(Mtime { seconds, nanos });
        assert_eq!(text(5, 0), "5");
        assert_eq!(text(5, 1), "5.000000001");
        assert_eq!(text(5, 120_000_000), "5.12");
        assert_eq!(text(-2, 500_000_000), "-1.5");
        assert_eq!(text(-1, 500_000_000), "-0.5");
        assert_eq!(text(-3, 0), "-3");
        assert_eq!(text(100, 0), "100");
    }

    #[test]
    fn a_record_counts_its_own_digits() {
        for length in [1, 80, 90, 91, 92, 93, 94, 95, 980, 990, 991, 992, 993] {
            let mut out = Vec::new();
            record(&mut out, b"key", &vec![b'x'; length]);
            let digits = out.split(|c| *c == b' ').next().unwrap();
            assert_eq!(
                std::str::from_utf8(digits).unwrap(),
                out.len().to_string(),
                "{length}"
            );
        }
    }

    #[test]
    fn another_reader_sees_what_was_written() {
        let long = [b"d/".repeat(80), b"name".to_vec()].concat();
        let xattrs = [(b"user.a".to_vec(), b"1=2".to_vec())];
        let mut archive = Vec::new();
        let entry = Entry {
            uid: 3_000_000,
            mtime: Mtime {
                seconds: 7,
                nanos: 5,
            },
            xattrs: &xattrs,
            ..Entry::file(&long, 3, 0o4755)
        };
        archive.extend(entry.header());
        archive.extend(b"abc");
        archive.extend(padding(3));
        let link = Entry {
            kind: Kind::Symlink(&long),
            ..Entry::file(b"s", 0, 0o777)
        };
        archive.extend(link.header());
        archive.extend(END);
        let mut reader = tar::Archive::new(&archive[..]);
        let mut entries = reader.entries().unwrap();
        let mut first = entries.next().unwrap().unwrap();
        assert_eq!(first.path_bytes().as_ref(), long);
        assert_eq!(first.header().mode().unwrap(), 0o4755);
        let pax: Vec<(String, Vec<u8>)> = first
            .pax_extensions()
            .unwrap()
            .unwrap()
            .map(|e| e.unwrap())
            .map(|e| (e.key().unwrap().to_owned(), e.value_bytes().to_vec()))
            .collect();
        assert!(pax.contains(&("SCHILY.xattr.user.a".into(), b"1=2".to_vec())));
        assert!(pax.contains(&("mtime".into(), b"7.000000005".to_vec())));
        assert!(pax.contains(&("uid".into(), b"3000000".to_vec())));
        let mut content = String::new();
        first.read_to_string(&mut content).unwrap();
        assert_eq!(content, "abc");
        let second = entries.next().unwrap().unwrap();
        assert_eq!(second.link_name_bytes().unwrap().as_ref(), long);
        assert!(entries.next().is_none());
    }
}
