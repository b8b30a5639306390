//! Sizes as people write them: `512`, `64m`, `1.5g`.

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid size {0:?}: expected a number with an optional unit b, k, m, g, t or p")]
pub struct SizeError(pub String);

/// Bytes in `text`, by Docker's rules: units are powers of 1024, upper or lower case, with an
/// optional `b` or `ib` behind them; a fraction is allowed.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let fail = || SizeError(text.to_owned());
    let lower = text.trim().to_ascii_lowercase();
    let digits_end = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits_end);
    let shift = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(fail()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(fail);
    }
    let fraction: f64 = number.parse().map_err(|_| fail())?;
    let bytes = fraction * (1u64 << shift) as f64;
    if bytes.is_finite() && bytes < u64::MAX as f64 {
        Ok(bytes as u64)
    } else {
        Err(fail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_reads() {
        for (text, bytes) in [
            ("32", 32),
            ("32b", 32),
            ("32B", 32),
            ("32k", 32 << 10),
            ("32Kb", 32 << 10),
            ("1.5 m", 1_572_864),
            ("2GiB", 2 << 30),
            ("1t", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "m", "-1", "1x", "1mm", "99999999p", "1.2.3k", "."] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
