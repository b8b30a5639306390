//! What is told about a container's life, after it was recorded: Docker's words.

use std::collections::BTreeMap;

use berth_store::{Event, EventKind};
use berth_types::Timestamp;

use crate::lifecycle::{Effect, Input};
use crate::record::{Phase, Record, State};
use crate::shared::Shared;

/// Tells that something happened to a container, with facts beyond its name, image and labels.
pub(crate) fn publish(
    shared: &Shared,
    record: &Record,
    action: impl Into<String>,
    extra: &[(&str, String)],
) {
    let mut attributes: BTreeMap<String, String> = record.settings.labels.clone();
    attributes.insert("image".to_owned(), record.image_name.clone());
    attributes.insert("name".to_owned(), record.name.clone());
    for (key, value) in extra {
        attributes.insert((*key).to_owned(), value.clone());
    }
    shared.db.events().publish(Event {
        kind: EventKind::Container,
        action: action.into(),
        id: record.id.to_string(),
        attributes,
        owner: record.owner.clone(),
        time: Timestamp::now(),
    });
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    /// Docker's word.
    pub action: &'static str,
    /// Facts of this one event.
    pub facts: Vec<(&'static str, String)>,
}

fn news(action: &'static str) -> News {
    News {
        action,
        facts: Vec::new(),
    }
}

/// What a step of the state machine is told as, in order. `stopping` is whether a stop was under
/// way before it.
pub(crate) fn of_step(
    before: &State,
    input: &Input,
    effects: &[Effect],
    after: &State,
    stopping: bool,
) -> Vec<News> {
    let changed = before.phase != after.phase;
    match input {
        Input::Started(_) if before.phase == Phase::Starting && changed => {
            let again = before.restart.asked.then(|| news("restart"));
            [news("start")].into_iter().chain(again).collect()
        }
        Input::Frozen if changed => vec![news("pause")],
        Input::Thawed if changed => vec![news("unpause")],
        Input::RemoveDone => vec![news("destroy")],
        Input::OomKilled(_) if before.oom_kills < after.oom_kills => vec![news("oom")],
        Input::Ended(_) => {
            // Of a monitor that was killed only its exit record tells.
            let untold = after.oom_killed && !before.oom_killed;
            let oom = untold.then(|| news("oom"));
            let lasted = after.started_at.age(after.finished_at).as_secs();
            let die = News {
                action: "die",
                facts: vec![
                    ("exitCode", after.exit_code.to_string()),
                    ("execDuration", lasted.to_string()),
                ],
            };
            let stop = stopping.then(|| news("stop"));
            oom.into_iter().chain([die]).chain(stop).collect()
        }
        _ => effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Signal(number) => Some(News {
                    action: "kill",
                    facts: vec![("signal", number.to_string())],
                }),
                _ => None,
            })
            .collect(),
    }
}
