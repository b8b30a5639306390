//! A list of packages and all that they need. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::control::{Need, Package};
use crate::error::BootstrapError;

/// What a box for training has beside the essential packages; those that are installed.
const USUAL: &[&str] = &[
    "apt",
    "bash-completion",
    "bzip2",
    "ca-certificates",
    "curl",
    "file",
    "iproute2",
    "iputils-ping",
    "less",
    "locales-all",
    "login",
    "man-db",
    "nano",
    "netbase",
    "passwd",
    "procps",
    "psmisc",
    "readline-common",
    "sudo",
    "tzdata",
    "vim-tiny",
    "xz-utils",
];

/// The packages of an image, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closure {
    /// The packages.
    pub packages: BTreeMap<String, Package>,
    /// Needs that no installed package meets, as `package needs name`.
    pub unmet: Vec<String>,
}

/// The essential packages, those of `wanted` (or the usual ones), and all they need.
///
/// # Errors
/// A wanted package is not installed.
pub fn closure(
    installed: &BTreeMap<String, Package>,
    wanted: Option<&[String]>,
) -> Result<Closure, BootstrapError> {
    let essential = installed.values().filter(|package| package.essential);
    let mut ahead: Vec<&str> = essential.map(|package| package.name.as_str()).collect();
    match wanted {
        Some(wanted) => {
            let is_missing = |name: &&String| !installed.contains_key(*name);
            let missing: Vec<&str> = wanted
                .iter()
                .filter(is_missing)
                .map(String::as_str)
                .collect();
            if !missing.is_empty() {
                return Err(BootstrapError::NotInstalled(missing.join(", ")));
            }
            ahead.extend(wanted.iter().map(String::as_str));
        }
        None => ahead.extend(USUAL.iter().filter(|name| installed.contains_key(**name))),
    }
    let providers = providers(installed);
    let mut names: BTreeSet<&str> = ahead.iter().copied().collect();
    let mut unmet = BTreeSet::new();
    while let Some(name) = ahead.pop() {
        let Some(package) = installed.get(name) else {
            continue;
        };
        for group in &package.needs {
            match group
                .iter()
                .find_map(|need| meeting(need, installed, &providers))
            {
                Some(found) if names.insert(found) => ahead.push(found),
                Some(_) => {}
                None => {
                    let ways: Vec<&str> = group.iter().map(|need| need.name.as_str()).collect();
                    unmet.insert(format!("{name} needs {}", ways.join(" or ")));
                }
            }
        }
    }
    Ok(Closure {
        packages: names
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), installed.get(name)?.clone())))
            .collect(),
        unmet: unmet.into_iter().collect(),
    })
}

/// Who provides what.
fn providers(installed: &BTreeMap<String, Package>) -> BTreeMap<&str, &str> {
    let mut providers = BTreeMap::new();
    for package in installed.values() {
        for provided in &package.provides {
            // The first by name, so that the same packages give the same image.
            providers
                .entry(provided.as_str())
                .or_insert(package.name.as_str());
        }
    }
    providers
}

/// The installed package that meets a need.
fn meeting<'a>(
    need: &Need,
    installed: &'a BTreeMap<String, Package>,
    providers: &BTreeMap<&'a str, &'a str>,
) -> Option<&'a str> {
    installed
        .get(&need.name)
        .filter(|package| need.is_met_by(&package.version))
        .map(|package| package.name.as_str())
        .or_else(|| providers.get(need.name.as_str()).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control;

    fn system() -> BTreeMap<String, Package> {
        let package = |name: &str, rest: &str| {
            format!("Package: {name}\nStatus: install ok installed\nArchitecture: all\n{rest}\n")
        };
        control::installed(
            &[
                package(
                    "base",
                    "Version: 1\nEssential: yes\nPre-Depends: lib (>= 2)",
                ),
                package("lib", "Version: 2"),
                package(
                    "tool",
                    "Version: 1\nDepends: nothing | old (>= 2) | virtual, lonely",
                ),
                package("old", "Version: 1"),
                package("zeta", "Version: 1\nProvides: virtual"),
                package("eta", "Version: 1\nProvides: virtual\nDepends: tool"),
                package("other", "Version: 1"),
            ]
            .join("\n"),
        )
    }

    #[test]
    fn what_is_needed_comes_along_and_nothing_else() {
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|w| (*w).to_owned()).collect();
            let closure = closure(&system(), Some(&wanted)).unwrap();
            (
                closure.packages.into_keys().collect::<Vec<_>>().join(" "),
                closure.unmet,
            )
        };
        assert_eq!(names(&[]), ("base lib".to_owned(), vec![]));
        // The first of the providers, not `old`, which is too old.
        assert_eq!(
            names(&["tool"]),
            (
                "base eta lib tool".to_owned(),
                vec!["tool needs lonely".to_owned()]
            )
        );
    }

    #[test]
    fn what_is_not_installed_is_named() {
        let wanted = ["tool".to_owned(), "ghost".to_owned(), "phantom".to_owned()];
        let error = closure(&system(), Some(&wanted)).unwrap_err();
        assert!(error.to_string().contains("ghost, phantom"), "{error}");
    }
}
