//! Signals as people name them.

use crate::error::ContainerError;

/// Names without `SIG`, by number from 1 (`signal(7)`, the numbers of x86-64 and aarch64).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The first and the last real-time signal as the C library gives them out.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// SIGTERM.
pub const TERM: i32 = 15;
/// SIGKILL.
pub const KILL: i32 = 9;

/// Reads `TERM`, `SIGTERM`, `15`, `RTMIN+3`, in any case.
///
/// # Errors
/// Docker's sentence for what is no signal.
pub fn parse(text: &str) -> Result<i32, ContainerError> {
    let upper = text.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = name.parse().ok().or_else(|| by_name(name));
    number
        .filter(|n| (1..=RTMAX).contains(n))
        .ok_or_else(|| ContainerError::Invalid(format!("invalid signal: {text}")))
}

fn by_name(name: &str) -> Option<i32> {
    if let Some(at) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(at).ok().map(|n| n + 1);
    }
    let offset = |text: &str| {
        if text.is_empty() {
            Some(0)
        } else {
            text.parse::<i32>().ok()
        }
    };
    match name {
        "IOT" => Some(6),
        "POLL" => Some(29),
        "CLD" => Some(17),
        _ => {
            if let Some(rest) = name.strip_prefix("RTMIN") {
                let n = RTMIN.checked_add(offset(rest)?)?;
                (RTMIN..=RTMAX).contains(&n).then_some(n)
            } else {
                let n = RTMAX.checked_add(offset(name.strip_prefix("RTMAX")?)?)?;
                (RTMIN..=RTMAX).contains(&n).then_some(n)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_real_time_signals() {
        for (text, number) in [
            ("TERM", 15),
            ("sigkill", 9),
            ("1", 1),
            ("SIGSYS", 31),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("IOT", 6),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for bad in ["", "0", "65", "-1", "NOPE", "RTMIN+99", "RTMAX+2147483647"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
