//! Taking names off images, and images with the layers that nobody else has.
//!
//! ```text
//! may it go, and what of it         pure; Docker's rules and sentences
//! references, image, claims, layers one commit
//! names of the layers' directories  free
//! the files                         Images::collect, behind the reply
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use berth_storage::{Claim, Retired};
use berth_store::{Row, WriteError, WriteTxn, failpoint};
use berth_types::{Caller, Digest, ImageReference};

use crate::error::ImageError;
use crate::events;
use crate::index::{Index, SHORT_MIN};
use crate::record::{IMAGES, Image, PINS, REFERENCES};
use crate::service::Inner;

/// A container that was made from an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id, as it pins the image.
    pub id: String,
    /// Whether it runs.
    pub running: bool,
}

/// What a removal did.
#[derive(Debug, Default)]
#[must_use = "the files stay until the next start unless they are collected"]
pub struct Removal {
    /// Names that were taken off.
    pub untagged: Vec<ImageReference>,
    /// The image, if it is gone.
    pub deleted: Option<Digest>,
    /// Its layers that are gone, and their files still to be deleted.
    pub retired: Retired,
}

impl Removal {
    /// Bytes of the layers that are gone.
    pub fn bytes(&self) -> u64 {
        self.retired.layers.iter().map(|layer| layer.bytes).sum()
    }
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub untag: Vec<ImageReference>,
    pub delete: bool,
}

/// By Docker's rules: what `name`, which means `image`, takes off or away.
pub(crate) fn plan(
    index: &Index,
    image: &Image,
    name: &str,
    force: bool,
    users: &[User],
) -> Result<Plan, ImageError> {
    let references = index.references_of(image);
    let running = users.iter().find(|user| user.running);
    let stopped = users.iter().find(|user| !user.running);
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    let by_id = digits.len() >= SHORT_MIN && image.id.hex().starts_with(digits);
    if !by_id {
        let reference = name.parse::<ImageReference>()?.or_latest();
        let is_last = references.len() <= 1;
        if let Some(user) = users.first().filter(|_| is_last && !force) {
            return Err(ImageError::Conflict(format!(
                "conflict: unable to remove repository reference {name:?} (must force) - container {} is using its referenced image {}",
                short(&user.id),
                short(&image.id.hex()),
            )));
        }
        return Ok(Plan {
            untag: vec![reference],
            // An image that runs loses its last name and nothing more.
            delete: is_last && running.is_none(),
        });
    }
    let conflict = |can: &str, why: String| {
        Err(ImageError::Conflict(format!(
            "conflict: unable to delete {} ({can} be forced) - {why}",
            short(&image.id.hex())
        )))
    };
    if let Some(user) = running {
        let id = short(&user.id);
        return conflict(
            "cannot",
            format!("image is being used by running container {id}"),
        );
    }
    if references.len() > 1 && !force {
        let why = "image is referenced in multiple repositories";
        return conflict("must", why.to_owned());
    }
    if let Some(user) = stopped.filter(|_| !force) {
        let id = short(&user.id);
        return conflict(
            "must",
            format!("image is being used by stopped container {id}"),
        );
    }
    Ok(Plan {
        untag: references,
        delete: true,
    })
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

pub(crate) fn remove(
    inner: &Arc<Inner>,
    caller: &Caller,
    name: &str,
    force: bool,
    users: impl FnOnce(&Image) -> Vec<User>,
) -> Result<Removal, ImageError> {
    let index = inner.index();
    let image = index.resolve(caller, name)?;
    let users = users(&image);
    let plan = plan(&index, &image, name, force, &users)?;
    carry_out(inner, image, plan, users)
}

/// Does what was planned. What changed meanwhile is noticed in the commit.
pub(crate) fn carry_out(
    inner: &Arc<Inner>,
    image: Arc<Image>,
    plan: Plan,
    users: Vec<User>,
) -> Result<Removal, ImageError> {
    failpoint::hit("image.remove.before-commit");
    let deleted = plan.delete.then_some(image.id);
    let shown = Arc::clone(inner);
    let users: BTreeSet<String> = users.into_iter().map(|user| user.id).collect();
    let (untagged, retired) = inner
        .storage
        .retire(move |txn| {
            let untagged = untag(txn, &image, plan.untag)?;
            let mut claims: Vec<Claim> = Vec::new();
            if plan.delete {
                delete(txn, &image, &users)?;
                claims.extend(image.top().map(|top| (top, image.claimant())));
            }
            let (gone, is_gone) = (untagged.clone(), plan.delete);
            txn.on_commit(Box::new(move || {
                shown.update(|index| index.without(&image, &gone, is_gone));
                let id = image.id.to_string();
                for _ in &gone {
                    events::publish(&shown.db, &image, "untag", &id);
                }
                if is_gone {
                    events::publish(&shown.db, &image, "delete", &id);
                }
            }));
            Ok::<_, ImageError>((untagged, claims))
        })
        .map_err(WriteError::flatten)?;
    failpoint::hit("image.remove.after-commit");
    Ok(Removal {
        untagged,
        deleted,
        retired,
    })
}

/// Takes those of the references off that still point to the image; returns them.
fn untag(
    txn: &mut WriteTxn<'_>,
    image: &Image,
    references: Vec<ImageReference>,
) -> Result<Vec<ImageReference>, ImageError> {
    let mut untagged = Vec::new();
    for reference in references {
        let key = (image.owner.name().to_owned(), reference.to_string());
        if txn
            .get(&REFERENCES, &key)?
            .is_some_and(|row| row.image == image.id)
        {
            txn.remove(&REFERENCES, &key)?;
            untagged.push(reference);
        }
    }
    Ok(untagged)
}

/// Removes the row, unless someone named or used the image meanwhile.
fn delete(
    txn: &mut WriteTxn<'_>,
    image: &Image,
    users: &BTreeSet<String>,
) -> Result<(), ImageError> {
    let key = image.key();
    let changed = |what: &str| {
        Err(ImageError::Conflict(format!(
            "conflict: unable to delete {} - {what} meanwhile: try again",
            short(&image.id.hex())
        )))
    };
    for row in txn.scan_prefix(&REFERENCES, &key.0)? {
        if matches!(row, Row::Whole(_, row) if row.image == image.id) {
            return changed("it was given a name");
        }
    }
    for row in txn.scan_prefix(&PINS, &key)? {
        let (Row::Whole(pin, _) | Row::Damaged { key: Some(pin), .. }) = row else {
            continue;
        };
        if !users.contains(&pin.2) {
            return changed("a container was made from it");
        }
        txn.remove(&PINS, &pin)?;
    }
    if !txn.remove(&IMAGES, &key)? {
        return Err(ImageError::Gone(image.id));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use berth_types::{Scope, Timestamp};

    use super::*;

    fn image() -> Arc<Image> {
        Arc::new(Image {
            id: Digest::from_sha256([0xab; 32]),
            owner: Scope::root(),
            document: String::new(),
            config: Default::default(),
            layers: Vec::new(),
            size: 0,
            created: Timestamp::NEVER,
            added: Timestamp::NEVER,
        })
    }

    fn planned(
        names: &[&str],
        name: &str,
        force: bool,
        users: &[(&str, bool)],
    ) -> Result<(usize, bool), String> {
        let mut index = Index::default().with(image(), None);
        for name in names {
            index = index.with(image(), Some(name.parse().unwrap()));
        }
        let users: Vec<User> = users
            .iter()
            .map(|(id, running)| User {
                id: id.repeat(64),
                running: *running,
            })
            .collect();
        plan(&index, &image(), name, force, &users)
            .map(|plan| (plan.untag.len(), plan.delete))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_rules_are_dockers() {
        let one = ["a:1"];
        let two = ["a:1", "b:1"];
        assert_eq!(planned(&two, "a:1", false, &[("c", true)]), Ok((1, false)));
        assert_eq!(planned(&one, "a:1", false, &[]), Ok((1, true)));
        assert_eq!(
            planned(&one, "a:1", false, &[("c", false)]).unwrap_err(),
            "conflict: unable to remove repository reference \"a:1\" (must force) - container \
             cccccccccccc is using its referenced image abababababab"
        );
        assert_eq!(planned(&one, "a:1", true, &[("c", false)]), Ok((1, true)));
        assert_eq!(planned(&one, "a:1", true, &[("c", true)]), Ok((1, false)));
        assert_eq!(planned(&one, "abab", false, &[]), Ok((1, true)));
        assert_eq!(planned(&[], "sha256:abab", false, &[]), Ok((0, true)));
        assert_eq!(
            planned(&two, "abab", false, &[]).unwrap_err(),
            "conflict: unable to delete abababababab (must be forced) - image is referenced in \
             multiple repositories"
        );
        assert_eq!(planned(&two, "abab", true, &[("c", false)]), Ok((2, true)));
        assert_eq!(
            planned(&one, "abab", false, &[("c", false)]).unwrap_err(),
            "conflict: unable to delete abababababab (must be forced) - image is being used by \
             stopped container cccccccccccc"
        );
        assert_eq!(
            planned(&two, "abab", true, &[("c", true)]).unwrap_err(),
            "conflict: unable to delete abababababab (cannot be forced) - image is being used by \
             running container cccccccccccc"
        );
    }
}
