//! Which devices a container may use: Docker's default list, and rules that a request adds.

use berth_types::oci::DeviceRule;

use crate::error::ContainerError;
use crate::record::HostSettings;

/// Character devices that every container may use: null, zero, full, random, urandom; tty, ptmx.
const COMMON: [(i64, i64); 7] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)];
/// Major number of the pseudo-terminals.
const TERMINALS: i64 = 136;

fn rule(
    allow: bool,
    kind: char,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> DeviceRule {
    DeviceRule {
        allow,
        kind: Some(kind),
        major,
        minor,
        access: access.to_owned(),
    }
}

/// The rules of a container, the later before the earlier: nothing but making nodes, the harmless
/// ones, and what was asked for. All devices for a privileged one.
///
/// # Errors
/// A rule that cannot be read; the request was checked when the container was made.
pub(crate) fn rules(host: &HostSettings) -> Result<Vec<DeviceRule>, ContainerError> {
    if host.privileged {
        return Ok(vec![rule(true, 'a', None, None, "rwm")]);
    }
    let mut rules = vec![
        rule(false, 'a', None, None, "rwm"),
        rule(true, 'c', None, None, "m"),
        rule(true, 'b', None, None, "m"),
    ];
    for (major, minor) in COMMON {
        rules.push(rule(true, 'c', Some(major), Some(minor), "rwm"));
    }
    rules.push(rule(true, 'c', Some(TERMINALS), None, "rwm"));
    for text in &host.device_rules {
        rules.push(parse(text)?);
    }
    Ok(rules)
}

/// Reads a rule of `--device-cgroup-rule`: `c 42:* rmw`.
///
/// # Errors
/// Docker's sentence.
pub(crate) fn parse(text: &str) -> Result<DeviceRule, ContainerError> {
    let parts: Vec<&str> = text.split([' ', ':']).collect();
    let read = || {
        let [kind @ ("a" | "b" | "c"), major, minor, access] = *parts else {
            return None;
        };
        let plain = text.matches(':').count() == 1 && (1..=3).contains(&access.len());
        let accesses = access.chars().all(|c| matches!(c, 'r' | 'w' | 'm'));
        let number = |part: &str| match part {
            "*" => Some(None),
            digits => digits.parse::<u32>().ok().map(|n| Some(i64::from(n))),
        };
        let kind = kind.chars().next()?;
        let rule = rule(true, kind, number(major)?, number(minor)?, access);
        (plain && accesses).then_some(rule)
    };
    read().ok_or_else(|| {
        ContainerError::Invalid(format!(
            "invalid device cgroup rule format: '{text}': expected one like 'c 42:* rmw', of type a, b or c"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_or_refused() {
        let fine = |text: &str| parse(text).unwrap();
        assert_eq!(
            fine("c 10:229 rw"),
            rule(true, 'c', Some(10), Some(229), "rw")
        );
        assert_eq!(fine("b 8:* r"), rule(true, 'b', Some(8), None, "r"));
        assert_eq!(fine("a *:* rwm"), rule(true, 'a', None, None, "rwm"));
        for bad in [
            "",
            "c",
            "c 1:3",
            "c 1:3 x",
            "d 1:3 r",
            "c 1:3:r",
            "c 1 3 r",
            "c -1:3 r",
            "c 1:3 ",
            "c 1:3 rwmr",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_asked_for_comes_last() {
        let host = |privileged| HostSettings {
            privileged,
            device_rules: vec!["c 1:1 r".to_owned()],
            ..HostSettings::default()
        };
        let list = rules(&host(false)).unwrap();
        assert!(!list[0].allow && list.last() == Some(&rule(true, 'c', Some(1), Some(1), "r")));
        assert_eq!(rules(&host(true)).unwrap().len(), 1);
    }
}
