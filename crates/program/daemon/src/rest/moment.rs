//! Points in time as people write them in queries and filters.

use berth_types::Timestamp;

use super::error::ApiError;

/// Units of Go's durations in nanoseconds, longest name first where one begins another.
const UNITS: [(&str, f64); 6] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("ms", 1e6),
    ("h", 3.6e12),
    ("m", 6e10),
    ("s", 1e9),
];

/// Unix seconds with an optional fraction; a date with or without a time and a zone; or a
/// duration such as `1h30m`, which is so long before `now`.
pub fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    unix_seconds(text)
        .or_else(|| date(text))
        .or_else(|| duration(text).map(|n| Timestamp::from_nanos(now.as_nanos().saturating_sub(n))))
}

/// As [`moment`], for the `until` of a prune's or a list's filters.
pub fn until(text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    moment(text, now).ok_or_else(|| {
        ApiError::invalid(format!(
            "invalid filter 'until={text}': expected a time such as 2006-01-02T15:04:05Z, seconds since the epoch, or an age such as 24h"
        ))
    })
}

/// Unix seconds with an optional fraction.
pub fn unix_seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    Some(Timestamp::from_nanos(
        seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?,
    ))
}

fn date(text: &str) -> Option<Timestamp> {
    [
        text.to_owned(),
        format!("{text}Z"),
        format!("{text}:00Z"),
        format!("{text}T00:00:00Z"),
    ]
    .iter()
    .find_map(|candidate| candidate.parse().ok())
}

fn duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let (unit, scale) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
        total += number * scale;
        rest = tail.get(unit.len()..)?;
    }
    (!text.is_empty() && total < i64::MAX as f64).then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let now = Timestamp::from_nanos(100_000_000_000_000);
        let read = |text| moment(text, now).map(Timestamp::as_nanos);
        assert_eq!(read("12.5"), Some(12_500_000_000));
        assert_eq!(read("1970-01-02"), Some(86_400_000_000_000));
        assert_eq!(read("1970-01-01T00:01"), Some(60_000_000_000));
        assert_eq!(read("1970-01-01T00:00:01+00:00"), Some(1_000_000_000));
        assert_eq!(read("0s"), Some(100_000_000_000_000));
        assert_eq!(read("1h30m"), Some(100_000_000_000_000 - 5_400_000_000_000));
        assert_eq!(read("1.5s"), Some(100_000_000_000_000 - 1_500_000_000));
        for bad in ["", "soon", "1x", "1.1234567890", "h", "-", "1970-13-01"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
