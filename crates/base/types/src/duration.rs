//! Durations as Go writes them: `1h30m`, `1.5s`, `100ms`. In nanoseconds.

/// Reads a duration that is not negative; `None` for what is none, or longer than 104 days.
pub fn parse_duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3600e9),
    ];
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    // Beyond 2^53 nanoseconds the sum would not be exact.
    (!text.is_empty() && nanos < 9e15).then_some(nanos as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("100ms", Some(100_000_000)),
            ("2400h", Some(8_640_000_000_000_000)),
            ("", None),
            ("5", None),
            ("-1s", None),
            ("1d", None),
            (".s", None),
            ("9999h", None),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }
}
