//! Seccomp filters: compiled once for each profile and set of capabilities.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use berth_sys::caps::CapSet;
use berth_sys::seccomp::{self, Filter};

use crate::error::ContainerError;
use crate::record::HostSettings;
use crate::seccomp::{default_profile_json, resolve};
use crate::spec::capabilities;

/// Filters that are kept; past that the cache starts anew.
const CACHE_MAX: usize = 32;

/// What a container's security options say about system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice<'a> {
    Default,
    Unconfined,
    Profile(&'a str),
}

/// The compiled filters, by profile text and capabilities.
#[derive(Default)]
pub(crate) struct Filters {
    cache: Mutex<HashMap<(String, u64), Arc<Filter>>>,
}

impl Filters {
    /// Refuses security options that are unknown or not built, and profiles that do not compile.
    pub(crate) fn check(
        &self,
        host: &HostSettings,
        available: CapSet,
    ) -> Result<(), ContainerError> {
        host.security_opt
            .iter()
            .try_for_each(|option| check_option(option))?;
        self.get(host, available).map(drop)
    }

    /// The filter of a container; none where it is unconfined.
    pub(crate) fn get(
        &self,
        host: &HostSettings,
        available: CapSet,
    ) -> Result<Option<Arc<Filter>>, ContainerError> {
        let json = match choice(host) {
            Choice::Unconfined => return Ok(None),
            Choice::Default => default_profile_json(),
            Choice::Profile(json) => json,
        };
        let caps = capabilities(host, available)?;
        let key = (json.to_owned(), caps.bits());
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = cache.get(&key) {
            return Ok(Some(Arc::clone(filter)));
        }
        let bad = |e: &dyn std::error::Error| {
            ContainerError::Invalid(format!(
                "Decoding seccomp profile failed: {}",
                berth_types::chain(e)
            ))
        };
        let profile = resolve(json, &caps).map_err(|e| bad(&e))?;
        let filter = Arc::new(seccomp::compile(&profile).map_err(|e| bad(&e))?);
        if cache.len() >= CACHE_MAX {
            cache.clear();
        }
        cache.insert(key, Arc::clone(&filter));
        Ok(Some(filter))
    }
}

fn choice(host: &HostSettings) -> Choice<'_> {
    let named = host.security_opt.iter().rev().find_map(|option| {
        let (key, value) = option.split_once(['=', ':'])?;
        (key == "seccomp").then_some(value)
    });
    match named {
        Some("unconfined") => Choice::Unconfined,
        Some("builtin" | "") => Choice::Default,
        Some(json) => Choice::Profile(json),
        None if host.privileged => Choice::Unconfined,
        None => Choice::Default,
    }
}

fn check_option(option: &str) -> Result<(), ContainerError> {
    let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
    match (key, value) {
        ("seccomp", _)
        | ("no-new-privileges", "" | "true" | "false")
        | ("apparmor", "unconfined")
        | ("label", "disable") => Ok(()),
        ("apparmor" | "label" | "systempaths" | "writable-cgroups", _) => {
            Err(ContainerError::Unsupported(format!(
                "--security-opt {option}: not built yet; seccomp, no-new-privileges, apparmor=unconfined and label=disable are"
            )))
        }
        _ => Err(ContainerError::Invalid(format!(
            "invalid --security-opt: {option:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(options: &[&str]) -> HostSettings {
        let security_opt = options.iter().map(|o| (*o).to_owned()).collect();
        HostSettings {
            security_opt,
            ..HostSettings::default()
        }
    }

    #[test]
    fn the_last_choice_counts_and_privileged_is_unconfined() {
        assert_eq!(choice(&host(&[])), Choice::Default);
        assert_eq!(choice(&host(&["seccomp=unconfined"])), Choice::Unconfined);
        assert_eq!(choice(&host(&["seccomp={}"])), Choice::Profile("{}"));
        assert_eq!(
            choice(&HostSettings {
                privileged: true,
                ..host(&[])
            }),
            Choice::Unconfined
        );
        let both = HostSettings {
            privileged: true,
            ..host(&["seccomp=builtin"])
        };
        assert_eq!(choice(&both), Choice::Default);
    }

    #[test]
    fn unknown_options_and_broken_profiles_are_refused() {
        let filters = Filters::default();
        for (option, part) in [
            ("fly=high", "invalid --security-opt"),
            ("apparmor=mine", "not built yet"),
            ("no-new-privileges=maybe", "invalid --security-opt"),
            ("seccomp={", "seccomp profile"),
        ] {
            let error = filters
                .check(&host(&[option]), CapSet::ALL)
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{option}: {error}");
        }
        filters
            .check(&host(&["no-new-privileges"]), CapSet::ALL)
            .unwrap();
    }

    #[test]
    fn the_same_profile_is_compiled_once() {
        let filters = Filters::default();
        let first = filters.get(&host(&[]), CapSet::ALL).unwrap().unwrap();
        let again = filters
            .get(&host(&["seccomp=builtin"]), CapSet::ALL)
            .unwrap()
            .unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let more = HostSettings {
            cap_add: vec!["SYS_ADMIN".into()],
            ..host(&[])
        };
        assert!(!Arc::ptr_eq(
            &first,
            &filters.get(&more, CapSet::ALL).unwrap().unwrap()
        ));
    }
}
