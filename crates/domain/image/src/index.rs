//! All images in memory, and which of them a name means. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_types::{Caller, Digest, ImageReference, Scope};

use crate::error::ImageError;
use crate::record::Image;

/// Digits of an id from which on it may be shortened, as Docker has it.
pub(crate) const SHORT_MIN: usize = 4;
const FULL: usize = 64;

/// An immutable state of all images and references.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    pub images: BTreeMap<(Scope, Digest), Arc<Image>>,
    pub references: BTreeMap<(Scope, ImageReference), Digest>,
}

impl Index {
    /// The state with one more image, and with `reference` pointing to it.
    pub fn with(&self, image: Arc<Image>, reference: Option<ImageReference>) -> Self {
        let mut next = self.clone();
        if let Some(reference) = reference {
            next.references
                .insert((image.owner.clone(), reference), image.id);
        }
        next.images.insert((image.owner.clone(), image.id), image);
        next
    }

    /// The state without some of an image's references, and without the image if it `is_gone`.
    pub fn without(&self, image: &Image, references: &[ImageReference], is_gone: bool) -> Self {
        let mut next = self.clone();
        for reference in references {
            next.references
                .remove(&(image.owner.clone(), reference.clone()));
        }
        if is_gone {
            next.images.remove(&(image.owner.clone(), image.id));
        }
        next
    }

    /// The images that the caller may know of.
    pub fn visible<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = &'a Arc<Image>> {
        self.images
            .values()
            .filter(|image| caller.scope.sees(&image.owner))
    }

    /// The names of an image, in order.
    pub fn references_of(&self, image: &Image) -> Vec<ImageReference> {
        self.references
            .iter()
            .filter(|((owner, _), id)| **id == image.id && *owner == image.owner)
            .map(|((_, reference), _)| reference.clone())
            .collect()
    }

    /// The one image that `name` means to the caller: by its whole id, else by its reference, else
    /// by the beginning of its id.
    pub fn resolve(&self, caller: &Caller, name: &str) -> Result<Arc<Image>, ImageError> {
        let digits = name.strip_prefix("sha256:").unwrap_or(name);
        let is_hex = digits
            .bytes()
            .all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        let is_id = is_hex && (SHORT_MIN..=FULL).contains(&digits.len());
        if is_id && digits.len() == FULL {
            return self
                .by_id(caller, digits)?
                .ok_or_else(|| ImageError::NotFound(name.to_owned()));
        }
        if digits.len() != name.len() {
            // `sha256` is no repository here: nobody means `sha256:TAG` by it.
            let found = if is_id {
                self.by_id(caller, digits)?
            } else {
                None
            };
            return found.ok_or_else(|| ImageError::NotFound(name.to_owned()));
        }
        let reference = name.parse::<ImageReference>()?.or_latest();
        if let Some(image) = self.by_reference(caller, &reference)? {
            return Ok(image);
        }
        let found = if is_id {
            self.by_id(caller, digits)?
        } else {
            None
        };
        found.ok_or_else(|| ImageError::NotFound(reference.to_string()))
    }

    /// The caller's own reference, else, for who sees other scopes, the only one elsewhere.
    fn by_reference(
        &self,
        caller: &Caller,
        reference: &ImageReference,
    ) -> Result<Option<Arc<Image>>, ImageError> {
        let find = |owner: &Scope| {
            let id = self.references.get(&(owner.clone(), reference.clone()))?;
            self.images.get(&(owner.clone(), *id))
        };
        if let Some(image) = find(&caller.scope) {
            return Ok(Some(Arc::clone(image)));
        }
        let elsewhere = self
            .references
            .keys()
            .filter(|(owner, name)| name == reference && caller.scope.sees(owner))
            .filter_map(|(owner, _)| find(owner));
        one(caller, elsewhere, &reference.to_string())
    }

    /// The image whose id begins with `digits`.
    fn by_id(&self, caller: &Caller, digits: &str) -> Result<Option<Arc<Image>>, ImageError> {
        let matching = self
            .visible(caller)
            .filter(|image| image.id.hex().starts_with(digits));
        one(caller, matching, digits)
    }
}

/// The only image among `found`. The same image in several scopes is one, best the caller's own.
fn one<'a>(
    caller: &Caller,
    found: impl Iterator<Item = &'a Arc<Image>>,
    name: &str,
) -> Result<Option<Arc<Image>>, ImageError> {
    let mut only: Option<&Arc<Image>> = None;
    for image in found {
        match only {
            Some(other) if other.id != image.id => {
                return Err(ImageError::Ambiguous(name.to_owned()));
            }
            Some(_) if image.owner != caller.scope => {}
            _ => only = Some(image),
        }
    }
    Ok(only.cloned())
}

#[cfg(test)]
mod tests {
    use berth_types::{ErrorKind, Timestamp};

    use super::*;

    fn scope(name: &str) -> Scope {
        serde_json::from_value(name.into()).unwrap()
    }

    fn caller(name: &str) -> Caller {
        Caller {
            scope: scope(name),
            uid: None,
            pid: None,
        }
    }

    fn image(owner: &str, id: [u8; 2]) -> Arc<Image> {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&id);
        Arc::new(Image {
            id: Digest::from_sha256(bytes),
            owner: scope(owner),
            document: String::new(),
            config: Default::default(),
            layers: Vec::new(),
            size: 0,
            created: Timestamp::NEVER,
            added: Timestamp::NEVER,
        })
    }

    fn index() -> Index {
        let name = |text: &str| Some(text.parse::<ImageReference>().unwrap());
        Index::default()
            .with(image("root", [0xab, 0xcd]), name("busybox:latest"))
            .with(image("root", [0xab, 0xce]), name("beef:1"))
            .with(image("lab:a", [0xbe, 0xef]), name("busybox:latest"))
            .with(image("lab:a", [0xab, 0xcd]), name("mine:2"))
            .with(image("lab:b", [0x12, 0x34]), name("mine:2"))
            .with(image("lab:b", [0xde, 0xad]), name("only:1"))
    }

    #[track_caller]
    fn check(who: &str, name: &str, expected: Result<(&str, u8), ErrorKind>) {
        let found = index().resolve(&caller(who), name);
        let found = found.as_ref().map_err(ImageError::kind);
        let found = found.map(|image| (image.owner.name(), image.id.as_bytes()[1]));
        assert_eq!(found, expected, "{who} {name}");
    }

    #[test]
    fn a_name_means_one_image_of_the_callers_own() {
        use ErrorKind::{Invalid, NotFound};
        check("root", "busybox", Ok(("root", 0xcd)));
        check(
            "root",
            "docker.io/library/busybox:latest",
            Ok(("root", 0xcd)),
        );
        check("root", "busybox:1", Err(NotFound));
        check("root", "abcd", Ok(("root", 0xcd)));
        check("root", "sha256:abce", Ok(("root", 0xce)));
        check(
            "root",
            &format!("abcd{}", "0".repeat(60)),
            Ok(("root", 0xcd)),
        );
        check(
            "root",
            &format!("sha256:abcd{}", "0".repeat(60)),
            Ok(("root", 0xcd)),
        );
        check("root", &format!("sha256:{}", "0".repeat(64)), Err(NotFound));
        check("root", "abc", Err(NotFound));
        check("lab:a", "busybox", Ok(("lab:a", 0xef)));
        check("lab:a", "mine:2", Ok(("lab:a", 0xcd)));
        // A reference goes before an id: 'beef' has no tag 'latest', so it is an id.
        check("root", "beef", Ok(("lab:a", 0xef)));
        check("root", "beef:1", Ok(("root", 0xce)));
        // What another scope has is not there, but root sees all of it.
        check("lab:b", "busybox", Err(NotFound));
        check("lab:b", "abcd", Err(NotFound));
        check("root", "only:1", Ok(("lab:b", 0xad)));
        check("root", "mine:2", Err(Invalid));
        check("root", "Busybox", Err(Invalid));
        check("root", "", Err(Invalid));
    }

    #[test]
    fn ambiguity_is_the_callers_to_resolve() {
        let index = index().with(image("root", [0xab, 0xcf]), None);
        let longer = index.with(
            Arc::new(Image {
                id: Digest::from_sha256([0xab; 32]),
                ..(*image("root", [0, 0])).clone()
            }),
            None,
        );
        assert!(longer.resolve(&caller("root"), "abab").is_ok());
        let twin = [0xab, 0xcd];
        let mut bytes = [1; 32];
        bytes[..2].copy_from_slice(&twin);
        let twins = index.with(
            Arc::new(Image {
                id: Digest::from_sha256(bytes),
                ..(*image("root", [0, 0])).clone()
            }),
            None,
        );
        assert_eq!(
            twins.resolve(&caller("root"), "abcd").unwrap_err().kind(),
            ErrorKind::Invalid
        );
        assert!(twins.resolve(&caller("root"), "abcd00").is_ok());
    }

    #[test]
    fn the_sentence_is_dockers() {
        let missing = |name| {
            index()
                .resolve(&caller("root"), name)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(missing("nothing"), "No such image: nothing:latest");
        assert_eq!(missing("docker.io/user/x:1"), "No such image: user/x:1");
        assert_eq!(missing("sha256:0000"), "No such image: sha256:0000");
    }
}
