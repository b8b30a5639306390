//! Values of flags, with the words that Docker refuses them in.

use berth_types::parse_size;

/// A switch's value, by Go's rules.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    }
}

/// A whole number, in decimal, or with Go's prefixes `0x`, `0o` and `0b`.
pub fn integer(text: &str) -> Result<i64, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
    let found = radix
        .iter()
        .find_map(|(p, radix)| lower.strip_prefix(p).map(|d| (d, *radix)));
    let (digits, radix) = found.unwrap_or((lower.as_str(), 10));
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    if !plain {
        return Err(format!(
            "strconv.ParseInt: parsing {text:?}: invalid syntax"
        ));
    }
    i64::from_str_radix(digits, radix)
        .map(|n| sign * n)
        .map_err(|_| format!("strconv.ParseInt: parsing {text:?}: value out of range"))
}

/// A whole number that is not negative.
pub fn unsigned(text: &str) -> Result<u64, String> {
    match integer(text) {
        Ok(n) if n >= 0 => Ok(n.unsigned_abs()),
        _ => Err(format!(
            "strconv.ParseUint: parsing {text:?}: invalid syntax"
        )),
    }
}

/// A number of 16 bits.
pub fn short(text: &str) -> Result<u16, String> {
    let n = unsigned(text)?;
    u16::try_from(n).map_err(|_| format!("strconv.ParseUint: parsing {text:?}: value out of range"))
}

/// Bytes, such as `512m`.
pub fn bytes(text: &str) -> Result<i64, String> {
    parse_size(text)
        .ok()
        .and_then(|n| i64::try_from(n).ok())
        .ok_or_else(|| format!("invalid size: '{text}'"))
}

/// Bytes, or −1 for no limit.
pub fn bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// CPUs as a decimal number or a fraction, in billionths.
pub fn nano_cpus(text: &str) -> Result<i64, String> {
    let fail = || format!("failed to parse {text} as a rational number");
    let number = |part: &str| -> Option<(i128, u32)> {
        let (whole, fraction) = part.split_once('.').unwrap_or((part, ""));
        let digits = format!("{whole}{fraction}");
        let scale = u32::try_from(fraction.len()).ok().filter(|s| *s <= 18)?;
        digits.parse::<i128>().ok().map(|n| (n, scale))
    };
    let (above, below) = text.split_once('/').unwrap_or((text, "1"));
    let (above, above_scale) = number(above).ok_or_else(fail)?;
    let (below, below_scale) = number(below).ok_or_else(fail)?;
    let above = above
        .checked_mul(10i128.pow(9 + below_scale))
        .ok_or_else(fail)?;
    let below = below
        .checked_mul(10i128.pow(above_scale))
        .ok_or_else(fail)?;
    if below == 0 {
        return Err(fail());
    }
    if above % below != 0 {
        return Err("value is too precise".to_owned());
    }
    i64::try_from(above / below).map_err(|_| fail())
}

/// A length of time in Go's way of writing (`1h2m3.5s`, `300ms`), in nanoseconds.
pub fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let letters = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let scale = match unit {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        total += number * scale;
        rest = tail;
    }
    if total >= i64::MAX as f64 {
        Err(invalid())
    } else {
        Ok(sign * total.round() as i64)
    }
}

/// `name=value` of the environment, or a bare name that takes the caller's value.
pub fn environment(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid environment variable: {text}"));
    }
    Ok(text.to_owned())
}

/// `key=value` or a bare key.
pub fn label(text: &str) -> Result<String, String> {
    if text.starts_with('=') {
        return Err(format!("invalid label '{text}': empty name"));
    }
    Ok(text.to_owned())
}

/// A standard stream.
pub fn stream(text: &str) -> Result<String, String> {
    let lower = text.to_lowercase();
    match lower.as_str() {
        "stdin" | "stdout" | "stderr" => Ok(lower),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// An address of a DNS server.
pub fn ip_address(text: &str) -> Result<String, String> {
    text.trim()
        .parse::<std::net::IpAddr>()
        .map(|ip| ip.to_string())
        .map_err(|_| format!("IP address is not correctly formatted: {text}"))
}

/// A search domain; `.` for none.
pub fn domain(text: &str) -> Result<String, String> {
    let trimmed = text.trim();
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if trimmed.is_empty() || trimmed.len() > 255 || !trimmed.chars().all(fine) {
        return Err(format!("{trimmed} is not a valid domain"));
    }
    Ok(if trimmed == "." {
        trimmed
    } else {
        trimmed.trim_end_matches('.')
    }
    .to_owned())
}

/// `name:address` or `name=address` for `/etc/hosts`, as `name:address`.
pub fn extra_host(text: &str) -> Result<String, String> {
    let at = text.find('=').or_else(|| text.find(':'));
    let (name, address) = match at {
        Some(at) if at > 0 => (&text[..at], &text[at + 1..]),
        _ => return Err(format!("bad format for add-host: {text:?}")),
    };
    let bare = address
        .strip_prefix('[')
        .and_then(|a| a.strip_suffix(']'))
        .unwrap_or(address);
    if address != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: {address:?}"));
    }
    Ok(format!("{name}:{bare}"))
}

/// A kernel parameter that has a value per container.
pub fn sysctl(text: &str) -> Result<String, String> {
    const EXACT: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    match text.split_once('=') {
        Some((name, _))
            if EXACT.contains(&name)
                || name.starts_with("net.")
                || name.starts_with("fs.mqueue.") =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!("sysctl '{text}' is not allowed")),
    }
}

/// A filter of a list, `name=value`.
pub fn filter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("bad format of filter (expected name=value)")?;
    Ok((name.trim().to_lowercase(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_exact() {
        for (text, nanos) in [
            ("1", 1_000_000_000),
            ("1.5", 1_500_000_000),
            (".5", 500_000_000),
            ("1/4", 250_000_000),
        ] {
            assert_eq!(nano_cpus(text), Ok(nanos), "{text}");
        }
        for bad in ["", "x", "1.2.3", "1/0", "1.0000000001", "1/3"] {
            assert!(nano_cpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_gos() {
        for (text, nanos) in [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("-1.5h", -5_400_000_000_000),
            ("300ms", 300_000_000),
        ] {
            assert_eq!(duration(text), Ok(nanos), "{text}");
        }
        assert_eq!(
            duration("1").unwrap_err(),
            "time: missing unit in duration \"1\""
        );
        for bad in ["", "s", "1x", "-", "1..2s", "99999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_gos() {
        assert_eq!(integer("-1"), Ok(-1));
        assert_eq!(integer("0x10"), Ok(16));
        assert!(integer("--1").is_err());
        assert!(integer("0x").is_err());
        assert_eq!(
            integer("x").unwrap_err(),
            "strconv.ParseInt: parsing \"x\": invalid syntax"
        );
        assert!(short("65536").is_err());
        assert_eq!(bytes("512m"), Ok(512 << 20));
        assert_eq!(bytes("x").unwrap_err(), "invalid size: 'x'");
    }

    #[test]
    fn hosts_and_kernel_parameters() {
        assert_eq!(extra_host("h:1.2.3.4"), Ok("h:1.2.3.4".into()));
        assert_eq!(extra_host("g=host-gateway"), Ok("g:host-gateway".into()));
        assert_eq!(extra_host("h:[::1]"), Ok("h:::1".into()));
        assert_eq!(
            extra_host("x").unwrap_err(),
            "bad format for add-host: \"x\""
        );
        assert_eq!(
            extra_host("a:b").unwrap_err(),
            "invalid IP address in add-host: \"b\""
        );
        assert!(sysctl("net.core.somaxconn=1").is_ok());
        assert!(sysctl("kernel.panic=1").is_err());
    }
}
