//! Telling who listens what happened to a container.

use std::collections::BTreeMap;

use berth_store::{Event, EventKind};
use berth_types::Timestamp;

use crate::record::Record;
use crate::shared::Shared;

/// Publishes an event of a container, after the change is recorded: its labels, its image and
/// name, and what is particular to the action.
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
