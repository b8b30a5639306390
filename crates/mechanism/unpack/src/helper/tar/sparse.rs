//! Sparse files: which parts of a file the payload holds.

use super::header::number;
use super::pax::decimal;
use crate::failure::{Failure, Result};
use crate::stream::{RECORD, Stream};

/// A part of a file that has data. The others are holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    pub offset: u64,
    pub length: u64,
}

/// Bytes of one area in the old format: two fields of 12.
const PAIR: usize = 24;

/// Counts the records that describe an entry.
pub struct Allowance {
    pub left: u64,
    pub limit: u64,
}

impl Allowance {
    /// # Errors
    /// The budget `header_bytes`.
    pub fn spend(&mut self, bytes: u64) -> Result<()> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Failure::budget("header_bytes", self.limit)),
        }
    }

    /// The next record, which must be there.
    fn record(&mut self, stream: &mut Stream) -> Result<[u8; RECORD]> {
        self.spend(RECORD as u64)?;
        let record = stream.raw_record()?;
        record.ok_or_else(|| {
            Failure::at(
                stream.offset(),
                "the archive ends inside a sparse file's map",
            )
        })
    }
}

/// The map in an old GNU header and the records that continue it. They are no part of the payload.
pub fn old_gnu(
    header: &[u8; RECORD],
    stream: &mut Stream,
    allowance: &mut Allowance,
) -> Result<Vec<Area>> {
    let mut areas = Vec::new();
    read_pairs(&header[386..482], &mut areas, stream)?;
    let mut more = header[482] != 0;
    while more {
        let record = allowance.record(stream)?;
        read_pairs(&record[..504], &mut areas, stream)?;
        more = record[504] != 0;
    }
    Ok(areas)
}

fn read_pairs(field: &[u8], areas: &mut Vec<Area>, stream: &Stream) -> Result<()> {
    for pair in field.chunks_exact(PAIR) {
        let (offset, length) = pair.split_at(PAIR / 2);
        if offset.first() == Some(&0) && length.first() == Some(&0) {
            break;
        }
        let both = number(offset).zip(number(length));
        let area = both.and_then(|(offset, length)| {
            Some(Area {
                offset: offset.try_into().ok()?,
                length: length.try_into().ok()?,
            })
        });
        let malformed = || Failure::at(stream.offset(), "malformed map of a sparse file before");
        areas.push(area.ok_or_else(malformed)?);
    }
    Ok(())
}

/// The map of format 1.0, which precedes the data in the payload: decimal numbers in lines, the
/// number of areas first, filled up to a whole record. Also says how long the map is.
pub fn gnu_1_0(stream: &mut Stream, allowance: &mut Allowance) -> Result<(Vec<Area>, u64)> {
    let mut text: Vec<u8> = Vec::new();
    let mut map_bytes = 0;
    let mut at = 0;
    let mut next = |stream: &mut Stream| -> Result<u64> {
        loop {
            let rest = text.get(at..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let number = decimal(&rest[..end]);
                at += end + 1;
                return number.ok_or_else(|| {
                    Failure::at(stream.offset(), "malformed map of a sparse file before")
                });
            }
            text.extend_from_slice(&allowance.record(stream)?);
            map_bytes += RECORD as u64;
        }
    };
    let count = next(stream)?;
    let mut areas = Vec::new();
    for _ in 0..count {
        let offset = next(stream)?;
        let length = next(stream)?;
        areas.push(Area { offset, length });
    }
    Ok((areas, map_bytes))
}

/// Areas must be in order, apart, inside the file, and together as long as the payload.
pub fn check(areas: &[Area], size: u64, payload: u64, offset: u64) -> Result<()> {
    let mut end = 0;
    let mut total: u64 = 0;
    for area in areas {
        let next = area.offset.checked_add(area.length);
        match next {
            Some(next) if area.offset >= end && next <= size => end = next,
            _ => return Err(Failure::at(offset, "impossible map of a sparse file")),
        }
        // Areas lie apart in the file, so the sum cannot pass its size.
        total += area.length;
    }
    if total == payload {
        Ok(())
    } else {
        let what = "the map of a sparse file does not fit its data";
        Err(Failure::at(offset, what))
    }
}
