//! The arguments of Dockerfile instructions that have a form of their own. Pure.

use berth_types::oci::{Empty, ImageDefaults};

use crate::error::ImageError;

fn wrong<T>(message: String) -> Result<T, ImageError> {
    Err(ImageError::Change(message))
}

/// `port`, `first-last`, either with `/protocol`.
pub(crate) fn expose(text: &str, config: &mut ImageDefaults) -> Result<(), ImageError> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return wrong(format!("invalid proto: {protocol}"));
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| !text.starts_with('+'));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => {
            for port in first..=last {
                config
                    .exposed_ports
                    .insert(format!("{port}/{protocol}"), Empty {});
            }
            Ok(())
        }
        _ => wrong(format!("invalid containerPort: {ports}")),
    }
}

/// An absolute path without `.` and `..`; a relative one continues from the directory so far.
pub(crate) fn working_dir(path: &str, config: &ImageDefaults) -> Result<String, ImageError> {
    if path.is_empty() {
        return wrong("cannot normalize nothing".into());
    }
    let base = if path.starts_with('/') {
        ""
    } else {
        config.working_dir.as_str()
    };
    let mut parts = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

/// Names of signals, `signal(7)`; those that x86 and ARM have.
const SIGNALS: [&str; 37] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "UNUSED", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN",
    "RTMAX",
];
/// `RTMIN+1` to `RTMIN+15` and `RTMAX-14` to `RTMAX-1`.
const REAL_TIME: [(&str, u8); 2] = [("RTMIN+", 15), ("RTMAX-", 14)];
const SIGNAL_MAX: u8 = 64;

pub(crate) fn stop_signal(text: String) -> Result<String, ImageError> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number_to = |text: &str, max| text.parse::<u8>().is_ok_and(|n| (1..=max).contains(&n));
    let is_known = SIGNALS.contains(&name)
        || number_to(&text, SIGNAL_MAX)
        || REAL_TIME
            .iter()
            .any(|(base, max)| name.strip_prefix(base).is_some_and(|n| number_to(n, *max)));
    if is_known {
        Ok(text)
    } else {
        wrong(format!("invalid signal: {text}"))
    }
}
