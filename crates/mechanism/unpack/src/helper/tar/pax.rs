//! Extended headers (POSIX pax): `length keyword=value` lines that override a header's fields.

use berth_sys::rustix::fs::Timespec;

use crate::failure::{Failure, Name, Result};

/// What extended headers said about the next entry. GNU's long names count as one.
#[derive(Default)]
pub struct Extensions {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<Timespec>,
    /// Name without the `SCHILY.xattr.` prefix, and value.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: SparseKeys,
}

/// GNU's sparse keywords.
#[derive(Default)]
pub struct SparseKeys {
    pub major: Option<u64>,
    pub minor: Option<u64>,
    pub name: Option<Vec<u8>>,
    pub real_size: Option<u64>,
    /// A keyword of the formats 0.0 and 0.1 was there.
    pub old: bool,
}

impl Extensions {
    /// Takes the lines of one extended header over. `offset` is where it starts in the stream.
    pub fn read(&mut self, mut data: &[u8], mut offset: u64) -> Result<()> {
        // Some writers pad with NULs.
        while data.iter().any(|byte| *byte != 0) {
            let Some((keyword, value, length)) = line(data) else {
                return Err(Failure::at(offset, "malformed line of an extended header"));
            };
            self.take(keyword, value).ok_or_else(|| {
                let keyword = Name(keyword);
                Failure::at(offset, format!("malformed {keyword} in an extended header"))
            })?;
            data = data.get(length..).unwrap_or_default();
            offset += length as u64;
        }
        Ok(())
    }

    fn take(&mut self, keyword: &[u8], value: &[u8]) -> Option<()> {
        const XATTR: &[u8] = b"SCHILY.xattr.";
        if let Some(name) = keyword.strip_prefix(XATTR) {
            if name.is_empty() || name.contains(&0) {
                return None;
            }
            self.xattrs.retain(|(earlier, _)| earlier != name);
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Some(());
        }
        // An empty value takes an earlier one back.
        match keyword {
            b"path" => self.path = set(value, name)?,
            b"linkpath" => self.link = set(value, name)?,
            b"size" => self.size = set(value, decimal)?,
            b"uid" => self.uid = set(value, decimal)?,
            b"gid" => self.gid = set(value, decimal)?,
            b"mtime" => self.mtime = set(value, time)?,
            b"GNU.sparse.major" => self.sparse.major = set(value, decimal)?,
            b"GNU.sparse.minor" => self.sparse.minor = set(value, decimal)?,
            b"GNU.sparse.name" => self.sparse.name = set(value, name)?,
            b"GNU.sparse.realsize" => self.sparse.real_size = set(value, decimal)?,
            b"GNU.sparse.map" | b"GNU.sparse.numblocks" | b"GNU.sparse.offset" => {
                self.sparse.old = true;
            }
            _ => {}
        }
        Some(())
    }
}

/// The first line: keyword, value, and length of all of it.
fn line(data: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let blank = data.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(data.get(..blank)?)?).ok()?;
    let body = data.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    let (keyword, value) = body.split_at_checked(equals)?;
    Some((keyword, value.get(1..)?, length))
}

fn set<T>(value: &[u8], parse: fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if value.is_empty() {
        return Some(None);
    }
    parse(value).map(Some)
}

fn name(value: &[u8]) -> Option<Vec<u8>> {
    (!value.contains(&0)).then(|| value.to_vec())
}

/// Decimal digits and nothing else.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// Seconds since the epoch with an optional sign and fraction; beyond nanoseconds it is cut off
/// towards the past.
fn time(value: &[u8]) -> Option<Timespec> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanoseconds = digits.fold(0_i64, |number, digit| number * 10 + i64::from(digit - b'0'));
    let rest = fraction.get(9..).unwrap_or_default();
    let more = i64::from(rest.iter().any(|digit| *digit != b'0'));
    let (tv_sec, tv_nsec) = match (negative, nanoseconds + more) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, past) => ((-seconds).checked_sub(1)?, 1_000_000_000 - past),
    };
    Some(Timespec { tv_sec, tv_nsec })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_to_the_past() {
        let check = |text: &str, expected: Option<(i64, i64)>| {
            let found = time(text.as_bytes()).map(|t| (t.tv_sec, t.tv_nsec));
            assert_eq!(found, expected, "{text}");
        };
        check("0", Some((0, 0)));
        check("1350244992.02396", Some((1_350_244_992, 23_960_000)));
        check("1.0000000019", Some((1, 1)));
        check("-1", Some((-1, 0)));
        check("-0.25", Some((-1, 750_000_000)));
        check("-1.9999999999", Some((-2, 0)));
        check("9223372036854775807", Some((i64::MAX, 0)));
        check("9223372036854775808", None);
        for bad in ["", "-", ".5", "1e9", "1.-5", "+1", " 1"] {
            check(bad, None);
        }
    }

    #[test]
    fn lines_must_be_as_long_as_they_say() {
        let check = |data: &[u8], good: bool| {
            let read = Extensions::default().read(data, 0);
            assert_eq!(read.is_ok(), good, "{:?}", String::from_utf8_lossy(data));
        };
        check(b"10 path=x\n", true);
        check(b"10 path=x\n\0\0\0", true);
        check(b"16 path=a\nb=c=d\n", true);
        check(b"11 path=x\n", false);
        check(b"8 path=x\n", false);
        check(b"99999999999999999999 path=x\n", false);
        check(b"0 \n", false);
        check(b"2 ", false);
        check(b"-10 path=x\n", false);
        check(b"7 path\n", false);
        check(b"12 path=x\0y\n", false);
        check(b"11 size=-1\n", false);
        check(b"19 SCHILY.xattr.=x\n", false);
    }

    #[test]
    fn a_later_value_wins_and_an_empty_one_takes_back() {
        let mut extensions = Extensions::default();
        extensions
            .read(b"10 path=a\n10 path=b\n9 size=1\n8 size=\n", 0)
            .unwrap();
        assert_eq!(extensions.path.as_deref(), Some(&b"b"[..]));
        assert_eq!(extensions.size, None);
    }
}
