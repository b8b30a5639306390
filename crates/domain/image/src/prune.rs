//! Removing the images that nobody needs.

use std::sync::Arc;

use berth_types::{Caller, Timestamp};

use crate::error::ImageError;
use crate::list::has_labels;
use crate::record::Image;
use crate::remove::{self, Plan, Removal, User};
use crate::service::Inner;

/// Which unused images go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneFilter {
    /// Only images without a name.
    pub dangling: bool,
    /// Only images made before this time.
    pub until: Option<Timestamp>,
    /// Only images with all of these labels: `key` or `key=value`.
    pub labels: Vec<String>,
    /// Only images with none of these labels.
    pub without_labels: Vec<String>,
}

/// Removes them one by one. One that came into use meanwhile stays.
pub(crate) fn prune(
    inner: &Arc<Inner>,
    caller: &Caller,
    filter: &PruneFilter,
    users: impl Fn(&Image) -> Vec<User>,
) -> Result<Vec<Removal>, ImageError> {
    let index = inner.index();
    let mut removals = Vec::new();
    for image in index.visible(caller) {
        let references = index.references_of(image);
        let labels = &filter.without_labels;
        let has_unwanted = labels
            .iter()
            .any(|l| has_labels(image, std::slice::from_ref(l)));
        if (filter.dangling && !references.is_empty())
            || filter.until.is_some_and(|until| image.created >= until)
            || !has_labels(image, &filter.labels)
            || has_unwanted
            || !users(image).is_empty()
        {
            continue;
        }
        let plan = Plan {
            untag: references,
            delete: true,
        };
        match remove::carry_out(inner, Arc::clone(image), plan, Vec::new()) {
            Ok(removal) => removals.push(removal),
            Err(ImageError::Conflict(_) | ImageError::Gone(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removals)
}
