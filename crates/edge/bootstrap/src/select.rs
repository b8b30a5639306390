//! Which files the packages of an image own, where they are, and how each is recognised as the
//! package's own: by the checksum it came with.

use std::collections::BTreeMap;

use md5::{Digest as _, Md5};

use crate::closure::Closure;
use crate::error::BootstrapError;
use crate::root::{Found, Root, read};

/// Where dpkg keeps its records.
pub const DPKG: &str = "var/lib/dpkg";

/// An MD5 sum; dpkg records no other.
pub type Sum = [u8; 16];

/// What packages say of one path.
#[derive(Debug, Default)]
pub struct Claim {
    /// Where the file is on the machine: elsewhere, if a package that stays behind diverted it.
    pub source: String,
    /// The sums that its content may have. Several where packages share a file.
    pub sums: Vec<Sum>,
    /// Whether it is a configuration file.
    pub is_configuration: bool,
}

impl Claim {
    /// Whether the content is a package's own.
    pub fn is_met_by(&self, content: &[u8]) -> bool {
        let sum: Sum = Md5::digest(content).into();
        self.sums.contains(&sum)
    }
}

/// A file that stands in for another (`dpkg-divert(1)`).
pub struct Diversion {
    /// The path that packages have it under.
    pub from: String,
    /// The path it is at.
    pub to: String,
    /// The package whose own file is not moved; `:` for the administrator.
    pub by: String,
}

/// Everything that the packages own, by place in the image.
pub struct Selection {
    /// The places.
    pub claims: BTreeMap<String, Claim>,
    /// The diversions of packages in the image.
    pub diversions: Vec<Diversion>,
}

impl Selection {
    /// Collects what the packages own.
    ///
    /// # Errors
    /// A list of dpkg cannot be read.
    pub fn new(root: &Root, closure: &Closure) -> Result<Self, BootstrapError> {
        let diversions = diversions(root)?;
        let mut claims: BTreeMap<String, Claim> = BTreeMap::new();
        for (name, package) in &closure.packages {
            let sums = sums(&info(root, name, &package.architecture, "md5sums")?, root);
            let configuration: BTreeMap<String, &str> = package
                .configuration
                .iter()
                .map(|(path, sum)| (root.place(path), sum.as_str()))
                .collect();
            for path in info(root, name, &package.architecture, "list")?.lines() {
                let place = root.place(path);
                if place.is_empty() || place == "." {
                    continue;
                }
                let (target, source) = diverted(root, &place, name, &diversions, closure);
                let claim = claims.entry(target).or_default();
                claim.source = source;
                claim.sums.extend(sums.get(&place));
                if let Some(sum) = configuration.get(&place) {
                    claim.is_configuration = true;
                    claim.sums.extend(parse_sum(sum));
                }
            }
        }
        let kept = |diversion: &Diversion| closure.packages.contains_key(&diversion.by);
        Ok(Self {
            claims,
            diversions: diversions.into_iter().filter(kept).collect(),
        })
    }

    /// The content of a place, if a package owns it and it is the package's own.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn verified(&self, root: &Root, place: &str) -> Result<Option<Vec<u8>>, BootstrapError> {
        let Some(claim) = self.claims.get(place) else {
            return Ok(None);
        };
        let Found::File(stat, file) = root.look(&claim.source)? else {
            return Ok(None);
        };
        Ok(read(place, &stat, file)?.filter(|content| claim.is_met_by(content)))
    }
}

/// One of dpkg's files about a package; empty where there is none.
///
/// # Errors
/// It cannot be read.
pub fn info(
    root: &Root,
    name: &str,
    architecture: &str,
    kind: &str,
) -> Result<String, BootstrapError> {
    for file in [format!("{name}:{architecture}"), name.to_owned()] {
        if let Some(text) = root.text(&format!("{DPKG}/info/{file}.{kind}"))? {
            return Ok(text);
        }
    }
    Ok(String::new())
}

fn diversions(root: &Root) -> Result<Vec<Diversion>, BootstrapError> {
    let text = root
        .text(&format!("{DPKG}/diversions"))?
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines
        .chunks_exact(3)
        .filter_map(|lines| match lines {
            [from, to, by] => Some(Diversion {
                from: (*from).to_owned(),
                to: (*to).to_owned(),
                by: (*by).to_owned(),
            }),
            _ => None,
        })
        .collect())
}

/// Where a package's file goes in the image, and where it is on the machine.
fn diverted(
    root: &Root,
    place: &str,
    package: &str,
    diversions: &[Diversion],
    closure: &Closure,
) -> (String, String) {
    let found = diversions
        .iter()
        .find(|d| d.by != package && root.place(&d.from) == place);
    match found {
        None => (place.to_owned(), place.to_owned()),
        Some(diversion) => {
            let moved = root.place(&diversion.to);
            if closure.packages.contains_key(&diversion.by) {
                (moved.clone(), moved)
            } else {
                (place.to_owned(), moved)
            }
        }
    }
}

/// Lines of a sum, two blanks and a path without its first slash.
fn sums(text: &str, root: &Root) -> BTreeMap<String, Sum> {
    text.lines()
        .filter_map(|line| {
            let (sum, path) = line.split_once("  ")?;
            Some((root.place(path), parse_sum(sum)?))
        })
        .collect()
}

fn parse_sum(text: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    if text.len() != 2 * sum.len() || !text.is_ascii() {
        return None;
    }
    for (at, byte) in sum.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(sum)
}
