//! What is told about images.

use berth_store::{Db, Event, EventKind};
use berth_types::Timestamp;

use crate::record::Image;

/// Tells that `action` happened to an image; `name` is its id or the reference it is about.
pub(crate) fn publish(db: &Db, image: &Image, action: &str, name: &str) {
    let mut attributes = image.config.config.labels.clone();
    attributes.insert("name".to_owned(), name.to_owned());
    db.events().publish(Event {
        kind: EventKind::Image,
        action: action.to_owned(),
        id: image.id.to_string(),
        attributes,
        owner: image.owner.clone(),
        time: Timestamp::now(),
    });
}
