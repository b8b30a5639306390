//! The `until` of prune filters: a time, or how long before now.

use berth_types::{Timestamp, parse_duration};

use super::error::ApiError;

/// Reads RFC 3339, seconds since the epoch, or a duration before `now`.
pub fn until(text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    if let Some(age) = parse_duration(text) {
        return Ok(Timestamp::from_nanos(now.as_nanos().saturating_sub(age)));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if let Ok(seconds) = whole.parse::<i64>()
        && fraction.len() <= 9
        && let Ok(nanos) = format!("{fraction:0<9}").parse::<i64>()
    {
        let nanos = seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        return Ok(Timestamp::from_nanos(nanos));
    }
    text.parse().map_err(|_| {
        ApiError::invalid(format!(
            "invalid filter 'until={text}': expected a time such as 2006-01-02T15:04:05Z, seconds since the epoch, or an age such as 24h"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_an_age() {
        let now = Timestamp::from_nanos(100_000_000_000);
        let read = |text| until(text, now).map(Timestamp::as_nanos).ok();
        assert_eq!(read("10s"), Some(90_000_000_000));
        assert_eq!(read("12.5"), Some(12_500_000_000));
        assert_eq!(read("1970-01-01T00:00:07Z"), Some(7_000_000_000));
        assert_eq!(read("tomorrow"), None);
    }
}
