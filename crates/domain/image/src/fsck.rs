//! Whether images, references and layers tell the same story.

use std::collections::HashMap;

use berth_storage::{Finding, FindingKind};
use berth_store::{Row, StoreError};

use crate::error::ImageError;
use crate::record::{IMAGES, Image, ImageKey, PINS, REFERENCES};
use crate::service::Inner;

pub(crate) fn check(inner: &Inner) -> Result<Vec<Finding>, ImageError> {
    let mut findings = Vec::new();
    let mut add = |kind, subject: String, message| {
        findings.push(Finding {
            kind,
            subject,
            message,
        })
    };
    let (images, references, pins) = inner.db.read(|txn| {
        Ok::<_, StoreError>((txn.scan(&IMAGES)?, txn.scan(&REFERENCES)?, txn.scan(&PINS)?))
    })?;
    // A damaged image is there: what points to it is in order.
    let mut present: HashMap<ImageKey, Option<Image>> = HashMap::new();
    for row in images {
        let (key, image) = match row {
            Row::Whole(key, row) => (Some(key.clone()), Image::from_row(key.1, row)),
            Row::Damaged { key, hex, reason } => (key, Err(format!("row {hex}: {reason}"))),
        };
        if let Err(reason) = &image {
            let subject = key
                .as_ref()
                .map(|(_, id)| id.to_string())
                .unwrap_or_default();
            let message = format!("image {subject} is damaged: {reason}");
            add(FindingKind::DamagedRow, subject, message);
        }
        if let Some(key) = key {
            present.insert(key, image.ok());
        }
    }
    for image in present.values().flatten() {
        let chain = image.top().map(|top| inner.storage.chain(top)).transpose();
        let is_whole = chain.is_ok_and(|chain| {
            chain
                .unwrap_or_default()
                .iter()
                .map(|layer| layer.id)
                .eq(image.layers.iter().copied())
        });
        if !is_whole {
            let message = format!("image {} lacks some of its layers", image.id);
            add(FindingKind::Missing, image.id.to_string(), message);
        }
    }
    for row in references {
        match row {
            Row::Whole((scope, name), row) => {
                if !present.contains_key(&(scope, row.image)) {
                    let message = format!("{name} points to {}, which does not exist", row.image);
                    add(FindingKind::Missing, name, message);
                }
            }
            Row::Damaged { hex, reason, .. } => {
                let message = format!("row {hex} of the references is damaged: {reason}");
                add(FindingKind::DamagedRow, hex, message);
            }
        }
    }
    for row in pins {
        match row {
            Row::Whole((scope, id, owner), _) => {
                if !present.contains_key(&(scope, id)) {
                    let message = format!("{owner} pins {id}, which does not exist");
                    add(FindingKind::Missing, id.to_string(), message);
                }
            }
            Row::Damaged { hex, reason, .. } => {
                let message = format!("row {hex} of the pins is damaged: {reason}");
                add(FindingKind::DamagedRow, hex, message);
            }
        }
    }
    Ok(findings)
}
