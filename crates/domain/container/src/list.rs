//! Which containers a list shows: pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex_lite::Regex;

use crate::network::parse_exposed;
use crate::record::{Network, Phase, Record};

/// A filter that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid filter '{0}'")]
pub struct FilterError(pub String);

/// Conditions on containers. Values of one key are alternatives; keys must all hold.
#[derive(Debug, Default)]
pub struct Filter {
    terms: BTreeMap<String, Vec<String>>,
    names: Vec<Regex>,
}

/// The keys that Docker knows.
const KEYS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATUSES: [&str; 7] = [
    "created",
    "restarting",
    "running",
    "removing",
    "paused",
    "exited",
    "dead",
];
const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

impl Filter {
    /// Checks keys and values.
    ///
    /// # Errors
    /// A key that does not exist, or a value that its key cannot have.
    pub fn new(terms: BTreeMap<String, Vec<String>>) -> Result<Self, FilterError> {
        let bad = |key: &str, value: &str| Err(FilterError(format!("{key}={value}")));
        let mut names = Vec::new();
        for (key, values) in &terms {
            if !KEYS.contains(&key.as_str()) {
                return Err(FilterError(key.clone()));
            }
            for value in values {
                match key.as_str() {
                    "status" if !STATUSES.contains(&value.as_str()) => return bad(key, value),
                    "health" if !HEALTHS.contains(&value.as_str()) => return bad(key, value),
                    "exited" if value.parse::<i32>().is_err() => return bad(key, value),
                    "name" => match Regex::new(value) {
                        Ok(regex) => names.push(regex),
                        Err(_) => return bad(key, value),
                    },
                    _ => {}
                }
            }
        }
        Ok(Self { terms, names })
    }

    /// Whether the list shows more than running containers without being asked for all.
    pub fn implies_all(&self) -> bool {
        self.terms.contains_key("status") || self.terms.contains_key("exited")
    }

    /// The containers of `all` (newest first) that fit. `ancestors` tells whether a container's
    /// image is, or is built on, the named one.
    pub fn apply(
        &self,
        all: Vec<Arc<Record>>,
        ancestor: impl Fn(&Record, &str) -> bool,
    ) -> Vec<Arc<Record>> {
        let bound = |key: &str| {
            let wanted = self.terms.get(key)?.first()?;
            Some(all.iter().find(|r| is(r, wanted)).map(|r| r.created))
        };
        let (before, since) = (bound("before"), bound("since"));
        let fits = |r: &&Arc<Record>| {
            before.is_none_or(|at| at.is_some_and(|at| r.created < at))
                && since.is_none_or(|at| at.is_some_and(|at| r.created > at))
                && self.fits(r, &ancestor)
        };
        all.iter().filter(fits).cloned().collect()
    }

    fn fits(&self, record: &Record, ancestor: impl Fn(&Record, &str) -> bool) -> bool {
        self.terms.iter().all(|(key, values)| {
            let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|v| test(v));
            match key.as_str() {
                "id" => any(&|v| record.id.to_string().starts_with(v)),
                "name" => {
                    let slashed = format!("/{}", record.name);
                    self.names
                        .iter()
                        .any(|r| r.is_match(&record.name) || r.is_match(&slashed))
                }
                "label" => values.iter().all(|v| label(record, v)),
                "status" => any(&|v| record.state.phase.word() == v),
                "exited" => {
                    record.state.phase == Phase::Exited
                        && any(&|v| v.parse() == Ok(record.state.exit_code))
                }
                "ancestor" => any(&|v| ancestor(record, v)),
                "network" => any(&|v| on_network(record, v)),
                "volume" => any(&|v| {
                    record
                        .host
                        .binds
                        .iter()
                        .any(|b| b.source == v || b.target == v)
                }),
                "expose" => any(&|v| {
                    record
                        .settings
                        .exposed_ports
                        .iter()
                        .any(|p| p == v || p.starts_with(&format!("{v}/")))
                }),
                "health" => any(&|v| v == "none"),
                "is-task" => any(&|v| matches!(v, "0" | "false")),
                "publish" => any(&|v| publishes(record, v)),
                // Bounds are applied by the caller; isolation means nothing on Linux.
                _ => true,
            }
        })
    }
}

/// By the network's name, or by its id or the head of it where that is known from an endpoint.
fn on_network(record: &Record, key: &str) -> bool {
    let endpoint = record.state.endpoint.as_ref();
    record.host.network.name() == key
        || endpoint.is_some_and(|e| !key.is_empty() && e.network.starts_with(key))
}

/// Whether the container is published on a port of the host that `port[-port][/protocol]` names.
fn publishes(record: &Record, text: &str) -> bool {
    let Some((first, last, protocol)) = parse_exposed(text) else {
        return false;
    };
    let published = record.state.endpoint.iter().flat_map(|e| &e.published);
    published
        .filter(|p| p.protocol == protocol)
        .any(|p| (first..=last).contains(&p.host_port))
}

fn is(record: &Record, key: &str) -> bool {
    record.name == key.trim_start_matches('/') || record.id.to_string().starts_with(key)
}

fn label(record: &Record, term: &str) -> bool {
    match term.split_once('=') {
        Some((key, value)) => record.settings.labels.get(key).is_some_and(|v| v == value),
        None => record.settings.labels.contains_key(term),
    }
}

impl Network {
    /// Reads a network's name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::None, Self::Host, Self::Bridge]
            .into_iter()
            .find(|n| n.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{HostSettings, Settings, State};
    use berth_types::{ContainerId, Digest, Scope, Timestamp};

    fn record(n: u8, name: &str, phase: Phase) -> Arc<Record> {
        Arc::new(Record {
            id: ContainerId::from_bytes([n; 32]),
            name: name.into(),
            owner: Scope::root(),
            created: Timestamp::from_nanos(i64::from(n)),
            image: Digest::from_sha256([n; 32]),
            image_owner: Scope::root(),
            image_name: "img".into(),
            layers: vec![],
            settings: Settings {
                labels: [("n".to_owned(), n.to_string())].into(),
                ..Settings::default()
            },
            host: HostSettings::default(),
            state: State {
                phase,
                exit_code: i32::from(n),
                ..State::created()
            },
            forms: crate::Forms::default(),
        })
    }

    #[track_caller]
    fn check(terms: &[(&str, &[&str])], expected: &[&str]) {
        let terms = terms
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.iter().map(|v| (*v).to_owned()).collect()))
            .collect();
        let all = vec![
            record(3, "web", Phase::Running),
            record(2, "web2", Phase::Exited),
            record(1, "db", Phase::Created),
        ];
        let listed = Filter::new(terms)
            .unwrap()
            .apply(all, |r, v| v == "img" && r.image_name == v);
        assert_eq!(
            listed.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn keys_are_joined_by_and_their_values_by_or() {
        check(&[], &["web", "web2", "db"]);
        check(&[("name", &["web"])], &["web", "web2"]);
        check(&[("name", &["^/web$"])], &["web"]);
        check(&[("name", &["^db$", "^web$"])], &["web", "db"]);
        check(&[("name", &["web"]), ("status", &["exited"])], &["web2"]);
        check(&[("exited", &["2"])], &["web2"]);
        check(&[("exited", &["3"])], &[]);
        check(&[("label", &["n=1"])], &["db"]);
        check(&[("label", &["n", "n=3"])], &["web"]);
        check(&[("id", &["0202"])], &["web2"]);
        check(&[("before", &["web"])], &["web2", "db"]);
        check(&[("since", &["db"])], &["web", "web2"]);
        check(&[("since", &["nobody"])], &[]);
        check(&[("ancestor", &["img"])], &["web", "web2", "db"]);
        check(&[("network", &["host"])], &[]);
    }

    #[test]
    fn wrong_keys_and_values_are_named() {
        for (key, value, text) in [
            ("color", "red", "invalid filter 'color'"),
            ("status", "odd", "invalid filter 'status=odd'"),
            ("exited", "x", "invalid filter 'exited=x'"),
            ("name", "(", "invalid filter 'name=('"),
        ] {
            let terms = [(key.to_owned(), vec![value.to_owned()])].into();
            assert_eq!(Filter::new(terms).unwrap_err().to_string(), text);
        }
    }
}
