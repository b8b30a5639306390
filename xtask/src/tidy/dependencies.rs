//! What comes from outside: its licences, and that nothing comes in two versions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Findings, licence};

/// Checks the packages that are compiled on the platforms Berth is built for. `allowed` goes from
/// the name of a package that may come in several versions to the reason.
pub fn check(metadata: &Value, allowed: &BTreeMap<String, String>, findings: &mut Findings) {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let (Some(name), Some(version)) = (package["name"].as_str(), package["version"].as_str())
        else {
            continue;
        };
        versions.entry(name).or_default().insert(version);
        match package["license"].as_str() {
            Some(expression) if licence::is_accepted(expression) => {}
            Some(expression) => {
                findings.breach(
                    format!("{name} {version}"),
                    format!("the licence `{expression}` is not accepted"),
                );
            }
            None => findings.breach(format!("{name} {version}"), "declares no licence"),
        }
    }
    for (name, versions) in &versions {
        let list = versions.iter().copied().collect::<Vec<_>>().join(", ");
        match (versions.len() > 1, allowed.contains_key(*name)) {
            (true, false) => findings.breach(
                "Cargo.lock",
                format!("{name} comes in several versions: {list}"),
            ),
            (false, true) => findings.breach(
                "Cargo.lock",
                format!("{name} comes in one version now; remove the exception"),
            ),
            _ => {}
        }
    }
    for name in allowed
        .keys()
        .filter(|name| !versions.contains_key(name.as_str()))
    {
        findings.breach(
            "Cargo.lock",
            format!("{name} is not used any more; remove the exception"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn licences_and_versions() {
        let metadata = json!({"packages": [
            {"name": "a", "version": "1.0.0", "license": "MIT"},
            {"name": "a", "version": "2.0.0", "license": "MIT"},
            {"name": "b", "version": "1.0.0", "license": "SSPL-1.0"},
            {"name": "c", "version": "1.0.0", "license": null},
            {"name": "d", "version": "1.0.0", "license": "ISC"},
            {"name": "e", "version": "1.0.0", "license": "ISC"},
            {"name": "e", "version": "1.1.0", "license": "ISC"},
        ]});
        let reason = |name: &str| (name.to_owned(), "because".to_owned());
        let mut findings = Findings::default();
        check(
            &metadata,
            &[reason("d"), reason("e"), reason("gone")].into(),
            &mut findings,
        );
        let found: Vec<_> = findings
            .breaches
            .iter()
            .map(|breach| format!("{}: {}", breach.place, breach.message))
            .collect();
        assert_eq!(
            found,
            [
                "b 1.0.0: the licence `SSPL-1.0` is not accepted",
                "c 1.0.0: declares no licence",
                "Cargo.lock: a comes in several versions: 1.0.0, 2.0.0",
                "Cargo.lock: d comes in one version now; remove the exception",
                "Cargo.lock: gone is not used any more; remove the exception",
            ]
        );
    }
}
