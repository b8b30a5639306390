//! Names of images, taken apart for the engine.

use std::str::FromStr as _;

use berth_types::ImageReference;

/// Repository and tag of a name that an image gets; `latest` where it has none.
///
/// # Errors
/// The text is no such name; why, in a sentence.
pub fn new_name(text: &str) -> Result<(String, String), String> {
    let name = ImageReference::from_str(text).map_err(|e| e.to_string())?;
    if name.digest().is_some() {
        return Err("refusing to create a tag with a digest reference".to_owned());
    }
    let tag = name.tag().unwrap_or("latest").to_owned();
    Ok((name.familiar_name(), tag))
}

/// Repository, and tag or digest, of an image that is to be pulled; `latest` where neither is
/// said.
///
/// # Errors
/// The text names no image.
pub fn wanted(text: &str) -> Result<(String, String), String> {
    let name = ImageReference::from_str(text).map_err(|e| e.to_string())?;
    let version = match (name.digest(), name.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    Ok((name.familiar_name(), version))
}

/// The name as people know it, with its tag.
pub fn familiar(text: &str) -> String {
    ImageReference::from_str(text)
        .map_or_else(|_| text.to_owned(), |name| name.or_latest().to_string())
}

/// The name in full, as in `docker.io/library/box:latest`.
pub fn canonical(text: &str) -> String {
    match ImageReference::from_str(text).map(ImageReference::or_latest) {
        Ok(name) => {
            let short = name.to_string();
            let version = short
                .strip_prefix(&name.familiar_name())
                .unwrap_or_default();
            format!("{}/{}{version}", name.domain(), name.path())
        }
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{new_name, wanted};

    #[test]
    fn names_are_taken_apart() {
        let pair = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(new_name("box"), pair("box", "latest"));
        assert_eq!(new_name("docker.io/library/box:1"), pair("box", "1"));
        assert_eq!(new_name("reg:5000/a/b:1"), pair("reg:5000/a/b", "1"));
        assert!(new_name("Box").is_err());
        let digest = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(wanted(&format!("a@{digest}")), pair("a", &digest));
        assert!(new_name(&format!("a@{digest}")).is_err());
        assert_eq!(wanted("a"), pair("a", "latest"));
    }
}
