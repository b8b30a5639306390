//! `GET /containers/json`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use berth_api::container::{ContainerSummary, HostConfigSummary};
use berth_api::network::NetworkSettingsSummary;
use berth_container::{Containers, Phase, Record};
use berth_image::Images;
use berth_types::{Caller, Digest, Timestamp};

use super::{mounts, network};

/// A container as the list shows it.
pub fn summary(
    record: &Record,
    containers: &Containers,
    images: &mut ImageNames,
    now: Timestamp,
    size: bool,
) -> ContainerSummary {
    let usage = size.then(|| containers.usage(record));
    ContainerSummary {
        image: images.of(record),
        size_rw: usage.map(|u| u.0),
        size_root_fs: usage.map(|u| u.1),
        status: status(record, now),
        ..lasting(record, containers)
    }
}

/// The part of it that lasts as long as the container's state does: all but the image's name, the
/// sizes, and how long ago something was.
pub(super) fn lasting(record: &Record, containers: &Containers) -> ContainerSummary {
    ContainerSummary {
        id: record.id.to_string(),
        names: vec![format!("/{}", record.name)],
        image_id: record.image.to_string(),
        command: command(record),
        created: record.created.as_seconds(),
        ports: network::port_summaries(record),
        labels: record.settings.labels.clone(),
        state: record.state.phase.word().to_owned(),
        host_config: HostConfigSummary {
            network_mode: record.host.network.name(),
            annotations: record.host.annotations.clone(),
        },
        network_settings: NetworkSettingsSummary {
            networks: network::endpoints(record, containers),
        },
        mounts: mounts::points(record),
        ..ContainerSummary::default()
    }
}

/// What the names that containers were made from mean at this moment, each looked up once.
pub struct ImageNames {
    images: Images,
    caller: Caller,
    known: HashMap<String, Meaning>,
}

/// What a name means, and the name as JSON.
#[derive(Clone)]
struct Meaning {
    image: Option<Digest>,
    json: Arc<str>,
}

impl ImageNames {
    /// The names as `caller` sees them.
    pub fn new(images: &Images, caller: &Caller) -> Self {
        Self {
            images: images.clone(),
            caller: caller.clone(),
            known: HashMap::new(),
        }
    }

    /// The name that the container was made from, while it still means the same image; else the
    /// id.
    fn of(&mut self, record: &Record) -> String {
        match self.meaning(&record.image_name).image == Some(record.image) {
            true => record.image_name.clone(),
            false => record.image.to_string(),
        }
    }

    /// The same as JSON.
    pub(super) fn json_of(&mut self, record: &Record) -> Arc<str> {
        let meaning = self.meaning(&record.image_name);
        match meaning.image == Some(record.image) {
            true => meaning.json,
            false => format!("\"{}\"", record.image).into(),
        }
    }

    fn meaning(&mut self, name: &str) -> Meaning {
        if let Some(meaning) = self.known.get(name) {
            return meaning.clone();
        }
        let image = self.images.resolve(&self.caller, name).ok();
        let meaning = Meaning {
            image: image.map(|image| image.id),
            // A text always serialises.
            json: serde_json::to_string(name).unwrap_or_default().into(),
        };
        self.known.insert(name.to_owned(), meaning.clone());
        meaning
    }
}

/// The command in one line, as Docker joins it: parts with spaces in quotes.
fn command(record: &Record) -> String {
    let parts = record.command();
    let joined = |part: &String| {
        if part.contains(' ') {
            format!("'{part}'")
        } else {
            part.clone()
        }
    };
    parts.iter().map(joined).collect::<Vec<_>>().join(" ")
}

pub(super) fn status(record: &Record, now: Timestamp) -> String {
    let state = &record.state;
    match state.phase {
        Phase::Running => format!("Up {}", ago(state.started_at.age(now))),
        Phase::Paused => format!("Up {} (Paused)", ago(state.started_at.age(now))),
        Phase::Restarting => format!(
            "Restarting ({}) {} ago",
            state.exit_code,
            ago(state.finished_at.age(now))
        ),
        Phase::Exited => {
            format!(
                "Exited ({}) {} ago",
                state.exit_code,
                ago(state.finished_at.age(now))
            )
        }
        Phase::Removing | Phase::Removed => "Removal In Progress".to_owned(),
        Phase::Created | Phase::Starting => "Created".to_owned(),
    }
}

/// A span as a person says it, in Docker's words.
fn ago(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds as f64 / 3600.0).round() as u64);
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_in_dockers_words() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (125, "2 minutes"),
            (3599, "59 minutes"),
            (3700, "About an hour"),
            (7300, "2 hours"),
            (200_000, "2 days"),
            (1_300_000, "2 weeks"),
            (6_000_000, "2 months"),
            (70_000_000, "2 years"),
        ] {
            assert_eq!(ago(Duration::from_secs(seconds)), words, "{seconds}");
        }
    }
}
