//! One 512-byte header.

use crate::failure::{Failure, Result};
use crate::stream::RECORD;

/// A header with a valid checksum.
pub struct Header {
    pub record: [u8; RECORD],
    /// Offset in the stream.
    pub offset: u64,
}

/// Whether a record is a half of the end-of-archive mark.
pub fn is_zero(record: &[u8; RECORD]) -> bool {
    record.iter().all(|byte| *byte == 0)
}

impl Header {
    /// Checks the checksum, which old writers summed with signed bytes.
    pub fn new(record: [u8; RECORD], offset: u64) -> Result<Header> {
        let header = Header { record, offset };
        let stored = header.number(148..156, "checksum");
        let sum = |of: fn(u8) -> i64| -> i64 {
            let bytes = record.iter().enumerate();
            bytes
                .map(|(i, byte)| {
                    if (148..156).contains(&i) {
                        32
                    } else {
                        of(*byte)
                    }
                })
                .sum()
        };
        let right = stored.is_ok_and(|stored| {
            stored == sum(i64::from) || stored == sum(|byte| i64::from(byte as i8))
        });
        if right {
            Ok(header)
        } else if offset == 0 {
            Err(Failure::at(
                offset,
                "this is no tar archive, plain or compressed with gzip, bzip2, xz or zstd: \
                 wrong checksum of the first header",
            ))
        } else {
            Err(Failure::at(offset, "wrong checksum of the header"))
        }
    }

    fn field(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.record.get(range).unwrap_or_default()
    }

    /// A field up to its first NUL.
    fn text(&self, range: std::ops::Range<usize>) -> &[u8] {
        let field = self.field(range);
        field.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// A number: octal digits, or base 256 when the first bit is set.
    pub fn number(&self, range: std::ops::Range<usize>, what: &str) -> Result<i64> {
        let offset = self.offset + range.start as u64;
        number(self.field(range))
            .ok_or_else(|| Failure::at(offset, format!("the {what} in the header is no number")))
    }

    /// A number that cannot be negative.
    pub fn unsigned(&self, range: std::ops::Range<usize>, what: &str) -> Result<u64> {
        let offset = self.offset + range.start as u64;
        let number = self.number(range, what)?;
        u64::try_from(number)
            .map_err(|_| Failure::at(offset, format!("the {what} in the header is negative")))
    }

    pub fn kind(&self) -> u8 {
        self.record[156]
    }

    pub fn name(&self) -> Vec<u8> {
        let name = self.text(0..100);
        // GNU's magic ends in a blank, and the prefix's place holds other fields.
        let prefix = self.text(345..500);
        if self.field(257..263) == b"ustar\0" && !prefix.is_empty() {
            return [prefix, b"/", name].concat();
        }
        name.to_vec()
    }

    pub fn link(&self) -> Vec<u8> {
        self.text(157..257).to_vec()
    }
}

/// A numeric field, `None` when it is malformed or does not fit.
pub fn number(field: &[u8]) -> Option<i64> {
    match field {
        [first, rest @ ..] if first & 0x80 != 0 => {
            // Two's complement over the whole field but its first bit, the mark.
            let start = if first & 0x40 == 0 { 0 } else { -1 };
            let top = start << 7 | i64::from(first & 0x7f);
            rest.iter().try_fold(top, |number, byte| {
                let shifted = number.checked_mul(256)?;
                Some(shifted | i64::from(*byte))
            })
        }
        _ => {
            let blank = |byte: &u8| matches!(*byte, b' ' | 0);
            let start = field.iter().position(|byte| *byte != b' ');
            let digits = field.get(start.unwrap_or(field.len())..)?;
            let end = digits.iter().position(blank).unwrap_or(digits.len());
            let (digits, rest) = digits.split_at_checked(end)?;
            if !rest.iter().all(blank) {
                return None;
            }
            digits.iter().try_fold(0_i64, |number, byte| match byte {
                b'0'..=b'7' => number.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
                _ => None,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let check = |field: &[u8], expected| assert_eq!(number(field), expected, "{field:?}");
        check(b"0000644\0", Some(0o644));
        check(b"   644 \0", Some(0o644));
        check(b"\0\0\0\0", Some(0));
        check(b"        ", Some(0));
        check(b"77777777777\0", Some(0o77_777_777_777));
        check(b"0000648\0", None);
        check(b"12 34\0", None);
        check(b"-1\0", None);
        check(b"\x80\0\0\0\0\0\0\0\0\0\x01\x02", Some(258));
        check(&[0xff; 12], Some(-1));
        check(
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe",
            Some(-2),
        );
        // One bit more than an i64 has.
        check(b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None);
        check(&[0xbf; 12], None);
    }
}
