//! Points in time, as `logs` and `events` take them.

use berth_types::Timestamp;

use super::value;

/// A point in time for the engine, in seconds since the epoch: a length of time before `now`, an
/// RFC 3339 time or the beginning of one (UTC where it has no zone), or seconds as they are.
pub fn point_in_time(text: &str, now: Timestamp) -> Result<String, String> {
    if let Ok(nanos) = value::duration(text) {
        let at = Timestamp::from_nanos(now.as_nanos().saturating_sub(nanos));
        return Ok(at.as_seconds().to_string());
    }
    let number = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if number && !text.is_empty() {
        return Ok(text.to_owned());
    }
    let fail = || format!("failed to parse value as time or duration: {text:?}");
    let (date, time) = text.split_once('T').unwrap_or((text, ""));
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let zone = if zone.is_empty() { "Z" } else { zone };
    let clock = match clock.len() {
        0 => "00:00:00".to_owned(),
        2 => format!("{clock}:00:00"),
        5 => format!("{clock}:00"),
        _ => clock.to_owned(),
    };
    let at: Timestamp = format!("{date}T{clock}{zone}")
        .parse()
        .map_err(|_| fail())?;
    Ok(format!(
        "{}.{:09}",
        at.as_seconds(),
        at.as_nanos().rem_euclid(1_000_000_000)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_every_form() {
        let now = Timestamp::from_nanos(1_000_000 * 1_000_000_000);
        for (text, wanted) in [
            ("42m", "997480"),
            ("123.4", "123.4"),
            ("2025-01-01T00:00:00", "1735689600.000000000"),
            ("2025-01-01", "1735689600.000000000"),
            ("2025-01-01T00:00Z", "1735689600.000000000"),
            ("2025-01-01T01:00:00.5+01:00", "1735689600.500000000"),
        ] {
            assert_eq!(point_in_time(text, now).as_deref(), Ok(wanted), "{text}");
        }
        for bad in ["xyz", "2025-13-01", "", "2025-01-01T25"] {
            assert!(point_in_time(bad, now).is_err(), "{bad}");
        }
    }
}
