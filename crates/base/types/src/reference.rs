//! Image names: `[domain/]path[:tag][@digest]`, by the grammar of the distribution
//! specification and Docker's rules for short names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL: &str = "library/";
/// Longest name without tag and digest that a registry takes.
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// A fully resolved image name. `ubuntu` is `docker.io/library/ubuntu:latest`; [`fmt::Display`]
/// writes the short, familiar form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageReference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid reference format: {text:?}: {reason}")]
pub struct ReferenceError {
    text: String,
    reason: &'static str,
}

impl ImageReference {
    /// The registry's host name, with its port if one was given.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, `library/ubuntu`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given or defaulted.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest behind `@`, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// This name, with `latest` where it has neither tag nor digest.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// The same repository under another tag.
    ///
    /// # Errors
    /// `tag` is empty, too long or has a character that a tag cannot have.
    pub fn with_tag(mut self, tag: &str) -> Result<Self, ReferenceError> {
        check_tag(tag).map_err(|reason| ReferenceError {
            text: tag.to_owned(),
            reason,
        })?;
        self.tag = Some(tag.to_owned());
        self.digest = None;
        Ok(self)
    }

    /// The familiar repository: `ubuntu`, `user/app`, `registry:5000/app`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        self.path
            .strip_prefix(OFFICIAL)
            .unwrap_or(&self.path)
            .to_owned()
    }
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut chars = tag.chars();
    if !chars.next().is_some_and(word) {
        return Err("a tag starts with a letter, a digit or an underscore");
    }
    if tag.len() > TAG_MAX {
        return Err("a tag has at most 128 characters");
    }
    if chars.all(|c| word(c) || c == '.' || c == '-') {
        Ok(())
    } else {
        Err("a tag holds letters, digits, '_', '.' and '-' only")
    }
}

fn check_component(part: &str) -> Result<(), &'static str> {
    let alnum = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return Err("a part of the name is empty");
    };
    if part.bytes().any(|c| c.is_ascii_uppercase()) {
        return Err("repository name must be lowercase");
    }
    if !alnum(first) || !alnum(last) {
        return Err("a part of the name starts and ends with a letter or a digit");
    }
    let mut separator = String::new();
    for &c in bytes {
        if alnum(c) {
            if !matches!(separator.as_str(), "" | "." | "_" | "__")
                && !separator.chars().all(|c| c == '-')
            {
                return Err("parts of a name are joined by one '.', one or two '_', or dashes");
            }
            separator.clear();
        } else if matches!(c, b'.' | b'_' | b'-') {
            separator.push(char::from(c));
        } else {
            return Err("a name holds lower-case letters, digits, '.', '_', '-' and '/' only");
        }
    }
    Ok(())
}

fn check_domain(domain: &str) -> Result<(), &'static str> {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (domain, None),
    };
    if port.is_some_and(|p| p.parse::<u16>().is_err()) {
        return Err("the registry's port is not a number from 0 to 65535");
    }
    let v6 = host.starts_with('[') && host.ends_with(']');
    let fine = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '-') || (v6 && matches!(c, ':' | '[' | ']'))
    };
    if host.is_empty() || !host.chars().all(fine) || host.starts_with('-') || host.ends_with('-') {
        return Err("the registry is not a host name");
    }
    Ok(())
}

fn parse(text: &str) -> Result<ImageReference, &'static str> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, d)) => (
            rest,
            Some(
                d.parse()
                    .map_err(|_| "the digest is not sha256 and 64 digits")?,
            ),
        ),
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    if name.len() > NAME_MAX {
        return Err("a name has at most 255 characters");
    }
    let (domain, path) = match name.split_once('/') {
        Some((head, tail))
            if head.contains(['.', ':']) || head == "localhost" || head.to_lowercase() != head =>
        {
            (head, tail.to_owned())
        }
        _ => (DEFAULT_DOMAIN, name.to_owned()),
    };
    check_domain(domain)?;
    let domain = if domain == "index.docker.io" {
        DEFAULT_DOMAIN
    } else {
        domain
    };
    let path = if domain == DEFAULT_DOMAIN && !path.contains('/') {
        format!("{OFFICIAL}{path}")
    } else {
        path
    };
    path.split('/').try_for_each(check_component)?;
    if tag.is_none() && domain == DEFAULT_DOMAIN && is_bare_id(&path) {
        return Err("64 hexadecimal digits name an image's ID, not a repository");
    }
    Ok(ImageReference {
        domain: domain.to_owned(),
        path,
        tag: tag.map(str::to_owned),
        digest,
    })
}

fn is_bare_id(path: &str) -> bool {
    path.strip_prefix(OFFICIAL)
        .is_some_and(|p| p.len() == 64 && p.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')))
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        parse(text).map_err(|reason| ReferenceError {
            text: text.to_owned(),
            reason,
        })
    }
}

impl TryFrom<String> for ImageReference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<ImageReference> for String {
    fn from(reference: ImageReference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.familiar_name())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, domain: &str, path: &str, familiar: &str) {
        let r: ImageReference = text.parse().unwrap();
        assert_eq!((r.domain(), r.path()), (domain, path), "{text}");
        assert_eq!(r.to_string(), familiar);
        assert_eq!(r.to_string().parse(), Ok(r));
    }

    #[test]
    fn short_names_are_resolved_as_docker_does() {
        check("ubuntu", "docker.io", "library/ubuntu", "ubuntu");
        check(
            "docker.io/ubuntu:v1",
            "docker.io",
            "library/ubuntu",
            "ubuntu:v1",
        );
        check(
            "index.docker.io/user/app",
            "docker.io",
            "user/app",
            "user/app",
        );
        check("localhost/app", "localhost", "app", "localhost/app");
        check("reg:5000/a/b:1", "reg:5000", "a/b", "reg:5000/a/b:1");
        check("a__b/c--d", "docker.io", "a__b/c--d", "a__b/c--d");
    }

    #[test]
    fn impossible_names_are_refused() {
        for bad in [
            "",
            "Ubuntu",
            "a//b",
            "a:",
            "a:-x",
            "-a",
            "a@sha256:12",
            "a b",
            "a/../b",
            "a..b",
            "reg:99999/a",
            "a.",
            ":x",
            "/a",
        ] {
            assert!(bad.parse::<ImageReference>().is_err(), "{bad:?}");
        }
        assert!("f".repeat(64).parse::<ImageReference>().is_err());
        assert!("f".repeat(256).parse::<ImageReference>().is_err());
    }

    #[test]
    fn latest_is_only_a_default() {
        let bare: ImageReference = "a".parse().unwrap();
        assert_eq!(bare.or_latest().to_string(), "a:latest");
        let tagged: ImageReference = "a:1".parse().unwrap();
        assert_eq!(tagged.clone().or_latest(), tagged);
        assert!(tagged.with_tag("x y").is_err());
    }
}
