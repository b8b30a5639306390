//! Sizes and times for people, as Docker writes them.

use std::time::Duration;

/// A length of time in one rough word, such as `About a minute` or `3 weeks`.
pub fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let minutes = seconds / 60;
    // To the nearest hour.
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// Bytes in powers of 1000 with so many significant digits: `117MB` for three.
pub fn decimal_size(bytes: i64, digits: usize) -> String {
    size(
        bytes as f64,
        1000.0,
        ["B", "kB", "MB", "GB", "TB", "PB", "EB"],
        digits,
    )
}

/// Bytes in powers of 1024 with four significant digits: `7.777GiB`.
pub fn binary_size(bytes: i64) -> String {
    size(
        bytes as f64,
        1024.0,
        ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"],
        4,
    )
}

fn size(mut number: f64, base: f64, units: [&str; 7], digits: usize) -> String {
    let mut unit = 0;
    while number >= base && unit < units.len() - 1 {
        number /= base;
        unit += 1;
    }
    format!("{}{}", significant(number, digits), units[unit])
}

/// A number with so many significant digits and no trailing zeros: C's and Go's `%.*g`.
fn significant(number: f64, digits: usize) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{number:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let whole = i32::try_from(digits).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= whole {
        return format!("{}e{exponent:+03}", trim_zeros(mantissa));
    }
    let places = usize::try_from(whole - 1 - exponent).unwrap_or(0);
    trim_zeros(&format!("{number:.places$}")).to_owned()
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

/// A time, in seconds since the epoch, as Go prints it: `2025-05-30 12:07:14 +0000 UTC`.
pub fn go_time(seconds: i64) -> String {
    let nanos = seconds.saturating_mul(1_000_000_000);
    let text = berth_types::Timestamp::from_nanos(nanos).to_string();
    format!("{} +0000 UTC", text.trim_end_matches('Z').replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        const HOUR: u64 = 3600;
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (45 * 60, "45 minutes"),
            (60 * 60, "About an hour"),
            (89 * 60, "About an hour"),
            (90 * 60, "2 hours"),
            (30 * HOUR, "30 hours"),
            (47 * HOUR, "47 hours"),
            (48 * HOUR, "2 days"),
            (13 * 24 * HOUR, "13 days"),
            (14 * 24 * HOUR, "2 weeks"),
            (40 * 24 * HOUR, "5 weeks"),
            (60 * 24 * HOUR, "2 months"),
            (400 * 24 * HOUR, "13 months"),
            (2 * 365 * 24 * HOUR, "2 years"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text, "{seconds}");
        }
        assert_eq!(go_time(1_748_606_834), "2025-05-30 12:07:14 +0000 UTC");
    }

    #[test]
    fn sizes() {
        for (bytes, three, four) in [
            (0, "0B", "0B"),
            (999, "999B", "999B"),
            (1000, "1kB", "1kB"),
            (116_543_210, "117MB", "116.5MB"),
            (1_234_567_890, "1.23GB", "1.235GB"),
            (999_900, "1e+03kB", "999.9kB"),
            (12_000_000_000_000, "12TB", "12TB"),
        ] {
            assert_eq!(decimal_size(bytes, 3), three);
            assert_eq!(decimal_size(bytes, 4), four);
        }
        assert_eq!(binary_size(8_350_000_000), "7.777GiB");
        assert_eq!(binary_size(512 << 20), "512MiB");
    }
}
