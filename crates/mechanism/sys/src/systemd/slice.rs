//! Names of slices and where they lie in the tree of control groups (`systemd.slice(5)`).

use std::fmt;

/// A valid name of a slice: `system.slice`, `berth-labs.slice`, `-.slice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice(String);

/// A name that no slice can have.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no name of a slice: give one like berth.slice, with a dash between the names of a slice and of the one below it"
)]
pub struct InvalidSlice(String);

/// Longest name of a unit (`UNIT_NAME_MAX` of systemd).
const NAME_MAX: usize = 255;
const SUFFIX: &str = ".slice";

impl Slice {
    /// The slice of system services.
    pub fn system() -> Self {
        Self("system.slice".to_owned())
    }

    /// Checks a name.
    ///
    /// # Errors
    /// It has another ending, other characters than units may have, or an empty part.
    pub fn parse(name: &str) -> Result<Self, InvalidSlice> {
        let invalid = || InvalidSlice(name.to_owned());
        let stem = name.strip_suffix(SUFFIX).ok_or_else(invalid)?;
        let fine = |c: char| c.is_ascii_alphanumeric() || ":_.\\-".contains(c);
        let parts = stem == "-" || stem.split('-').all(|part| !part.is_empty());
        (name.len() <= NAME_MAX && parts && stem.chars().all(fine))
            .then(|| Self(name.to_owned()))
            .ok_or_else(invalid)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The control group of the slice, absolute in the hierarchy: `/a.slice/a-b.slice` for
    /// `a-b.slice`, and empty for the root slice.
    pub fn group(&self) -> String {
        let stem = self.0.strip_suffix(SUFFIX).unwrap_or_default();
        if stem == "-" {
            return String::new();
        }
        let dashes = stem.match_indices('-').map(|(at, _)| at);
        let ends = dashes.chain([stem.len()]);
        ends.filter_map(|end| stem.get(..end))
            .map(|prefix| format!("/{prefix}{SUFFIX}"))
            .collect()
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_lies_below_those_that_its_name_begins_with() {
        let group = |name: &str| Slice::parse(name).map(|slice| slice.group()).ok();
        let check = |name, expected: Option<&str>| {
            assert_eq!(group(name), expected.map(str::to_owned), "{name}");
        };
        check("system.slice", Some("/system.slice"));
        check("a-b-c.slice", Some("/a.slice/a-b.slice/a-b-c.slice"));
        check("-.slice", Some(""));
        for bad in [
            "",
            ".slice",
            "a",
            "/a.slice",
            "a--b.slice",
            "-a.slice",
            "a/b.slice",
            "a-.slice",
            "ä.slice",
        ] {
            check(bad, None);
        }
        assert_eq!(Slice::system().group(), "/system.slice");
    }
}
