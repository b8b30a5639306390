//! Points in time with nanoseconds, written as Docker writes them.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Nanoseconds since the Unix epoch, UTC. Stored and sent as an RFC 3339 text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

/// A text that is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid time {0:?}: expected RFC 3339, like 2026-01-02T15:04:05.999999999Z")]
pub struct TimestampError(pub String);

/// What Go prints for a time that was never set; Docker's clients test for it.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Timestamp {
    /// A time that was never set: Go's zero time on the wire.
    pub const NEVER: Self = Self(i64::MIN);

    /// The present time of the host's real-time clock.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// A time `nanoseconds` after the epoch.
    pub const fn from_nanos(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds after the epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds after the epoch, rounded down.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Whether the time was ever set.
    pub const fn is_set(self) -> bool {
        self.0 != i64::MIN
    }

    /// How long ago `self` was at `now`; zero where the clock went backwards.
    pub fn age(self, now: Timestamp) -> Duration {
        Duration::from_nanos(u64::try_from(now.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// RFC 3339 with exactly nine digits of fraction, which sorts as text and is what a log line
    /// carries.
    pub fn fixed_width(self) -> String {
        self.format(true)
    }

    fn format(self, fixed: bool) -> String {
        let Ok(t) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0)) else {
            return NEVER.to_owned();
        };
        if !self.is_set() {
            return NEVER.to_owned();
        }
        let (year, month, day) = t.to_calendar_date();
        let (hour, minute, second, nano) = t.to_hms_nano();
        let mut out = format!(
            "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nano:09}",
            u8::from(month)
        );
        if !fixed {
            out.truncate(out.trim_end_matches('0').trim_end_matches('.').len());
        }
        out.push('Z');
        out
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format(false))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        if text == NEVER {
            return Ok(Self::NEVER);
        }
        OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(|t| i64::try_from(t.unix_timestamp_nanos()).ok())
            .map(Self)
            .ok_or_else(|| TimestampError(text.to_owned()))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampError;

    fn try_from(text: String) -> Result<Self, TimestampError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(t: Timestamp) -> Self {
        t.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_go_does() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_500_000_000, "1970-01-01T00:00:01.5Z"),
            (1_700_000_000_000_000_001, "2023-11-14T22:13:20.000000001Z"),
        ] {
            let t = Timestamp::from_nanos(nanos);
            assert_eq!(t.to_string(), text);
            assert_eq!(text.parse(), Ok(t));
        }
        assert_eq!(
            Timestamp::from_nanos(0).fixed_width(),
            "1970-01-01T00:00:00.000000000Z"
        );
        assert_eq!(Timestamp::NEVER.to_string(), NEVER);
        assert_eq!(NEVER.parse(), Ok(Timestamp::NEVER));
        assert!("yesterday".parse::<Timestamp>().is_err());
        assert_eq!(
            "1970-01-01T01:00:00+01:00".parse(),
            Ok(Timestamp::from_nanos(0))
        );
    }
}
