//! The class that a verb is about: the list's names and the lab they belong to.

use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::list;

/// The most bytes of a list.
const LIST_BYTES_MAX: u64 = 4 << 20;

/// The names of the list at `path` (`-` for standard input), checked before anything is touched.
pub fn read(path: &str) -> Result<Vec<String>> {
    let source: Box<dyn Read> = match path {
        "-" => Box::new(io::stdin()),
        path => Box::new(
            std::fs::File::open(path).with_context(|| format!("cannot open the list {path}"))?,
        ),
    };
    let mut text = String::new();
    source
        .take(LIST_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read the list {path} as UTF-8 text"))?;
    if text.len() as u64 > LIST_BYTES_MAX {
        bail!("the list {path} has more than {LIST_BYTES_MAX} bytes");
    }
    let names = list::parse(&text).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(
            "the list {path} is wrong, nothing was done:\n  {}",
            lines.join("\n  ")
        )
    })?;
    if names.is_empty() {
        bail!("the list {path} holds no name");
    }
    Ok(names)
}

/// The lab's name: as given, or the file name of its list without the ending.
pub fn lab(given: Option<&str>, list: &str) -> Result<String> {
    let lab = match (given, list) {
        (Some(lab), _) => lab.to_owned(),
        (None, "-") => bail!("a list from standard input has no name: name the lab with --lab"),
        (None, path) => {
            let stem = Path::new(path).file_stem().and_then(|s| s.to_str());
            stem.unwrap_or_default().to_owned()
        }
    };
    list::check_name(&lab).map_err(|reason| {
        anyhow::anyhow!("the lab's name is impossible: {reason}; name it with --lab")
    })?;
    Ok(lab)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lab_is_named_after_its_list() {
        assert_eq!(lab(None, "/x/class.txt").unwrap(), "class");
        assert_eq!(lab(Some("go"), "/x/class.txt").unwrap(), "go");
        assert_eq!(lab(Some("go"), "-").unwrap(), "go");
        assert!(lab(None, "-").is_err());
        assert!(lab(None, "my class.txt").is_err());
    }

    #[test]
    fn a_wrong_list_is_refused_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("class.txt");
        let read = |text: &[u8]| {
            std::fs::write(&path, text).unwrap();
            super::read(path.to_str().unwrap()).map_err(|e| format!("{e:#}"))
        };
        assert_eq!(read(b"aa\r\nbb").unwrap(), ["aa", "bb"]);
        let wrong = read(b"aa\n-b\naa\n").unwrap_err();
        assert!(
            wrong.contains("line 2") && wrong.contains("line 3"),
            "{wrong}"
        );
        assert!(read(b"# nobody\n").unwrap_err().contains("holds no name"));
        assert!(read(b"\xff\xfe").unwrap_err().contains("UTF-8"));
    }
}
