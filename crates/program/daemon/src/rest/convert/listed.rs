//! The list of containers as it is sent, put together from ready pieces.
//!
//! An entry is made once for each snapshot and version of the API and kept with the snapshot
//! ([`berth_container::Forms`]). Two values of it do not last as long as the snapshot: what the
//! image is called at this moment, and how long ago something was. In their place the kept entry
//! has gaps, which every list fills anew.

use berth_api::container::ContainerSummary;
use berth_api::shape;
use berth_api::version::{ApiVersion, NEWEST};
use berth_container::{Containers, Form, Record};
use berth_types::Timestamp;
use serde_json::Value;

use super::summary::{ImageNames, lasting, status, summary};

/// What stands in the gaps while an entry is made, image and status.
const MARKS: [&str; 2] = ["\u{1}image", "\u{1}status"];
/// Bytes that are kept free for what goes into an entry's gaps and between two entries.
const BETWEEN: usize = 96;

/// A list of containers in the making.
pub struct Listed {
    containers: Containers,
    names: ImageNames,
    version: ApiVersion,
    now: Timestamp,
    body: Vec<u8>,
}

impl Listed {
    /// An empty list for clients of `version`.
    pub fn new(
        containers: &Containers,
        names: ImageNames,
        version: ApiVersion,
        now: Timestamp,
    ) -> Self {
        Self {
            containers: containers.clone(),
            names,
            version,
            now,
            body: vec![b'['],
        }
    }

    /// Adds an entry. Returns whether it was ready, which costs next to nothing.
    pub fn push(&mut self, record: &Record) -> bool {
        if self.body.len() > 1 {
            self.body.push(b',');
        }
        if let Some(form) = record.forms.get(self.version.number()) {
            self.fill(record, &form);
            return true;
        }
        match form(record, &self.containers, self.version) {
            Some(form) => self.fill(record, &record.forms.keep(form)),
            // A label of it reads like a mark.
            None => self.whole(record),
        }
        false
    }

    /// The list as JSON.
    pub fn finish(mut self) -> Vec<u8> {
        self.body.extend_from_slice(b"]\n");
        self.body
    }

    /// Makes room for so many entries of the size of this one.
    pub fn expect(&mut self, count: usize, like: &Record) {
        if let Some(form) = like.forms.get(self.version.number()) {
            let each = form.text.len().saturating_add(BETWEEN);
            self.body.reserve(each.saturating_mul(count));
        }
    }

    fn fill(&mut self, record: &Record, form: &Form) {
        let [image, state] = form.gaps.map(|at| at as usize);
        // Gaps are ascending and within the text.
        let part = |from: usize, to: usize| form.text.get(from..to).unwrap_or_default();
        self.body.extend_from_slice(part(0, image));
        let name = self.names.json_of(record);
        self.body.extend_from_slice(name.as_bytes());
        self.body.extend_from_slice(part(image, state));
        // Words, digits and parentheses: JSON as it is.
        self.body.push(b'"');
        let words = status(record, self.now);
        self.body.extend_from_slice(words.as_bytes());
        self.body.push(b'"');
        self.body.extend_from_slice(part(state, form.text.len()));
    }

    fn whole(&mut self, record: &Record) {
        let names = &mut self.names;
        let wire = summary(record, &self.containers, names, self.now, false);
        self.body.extend_from_slice(&json(&wire, self.version));
    }
}

/// An entry in the shape that a client of `version` expects.
fn json(wire: &ContainerSummary, version: ApiVersion) -> Vec<u8> {
    // Wire types always serialise.
    if version >= NEWEST {
        return serde_json::to_vec(wire).unwrap_or_default();
    }
    let mut value: Value = serde_json::to_value(wire).unwrap_or_default();
    shape::container_summary(&mut value, version);
    serde_json::to_vec(&value).unwrap_or_default()
}

/// The entry with its gaps; none where it cannot be told where they are.
fn form(record: &Record, containers: &Containers, version: ApiVersion) -> Option<Form> {
    let [image, status] = MARKS.map(str::to_owned);
    let wire = ContainerSummary {
        image,
        status,
        ..lasting(record, containers)
    };
    let (text, gaps) = cut(&json(&wire, version))?;
    Some(Form {
        kind: version.number(),
        text,
        gaps,
    })
}

/// Takes the marks out of an entry. Each has to be there once, in order.
fn cut(text: &[u8]) -> Option<(Box<[u8]>, [u32; 2])> {
    let mut rest = Vec::with_capacity(text.len());
    let mut gaps = [0; 2];
    let mut from = 0;
    for (mark, gap) in MARKS.iter().zip(&mut gaps) {
        let mark = serde_json::to_vec(mark).ok()?;
        let mut found = text
            .windows(mark.len())
            .enumerate()
            .filter(|(_, window)| *window == mark)
            .map(|(at, _)| at);
        let (at, None) = (found.next()?, found.next()) else {
            return None;
        };
        rest.extend_from_slice(text.get(from..at)?);
        *gap = u32::try_from(rest.len()).ok()?;
        from = at + mark.len();
    }
    rest.extend_from_slice(text.get(from..)?);
    Some((rest.into(), gaps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_cut_where_its_marks_are_and_only_there() {
        let entry = |label: &str| {
            let wire = ContainerSummary {
                image: MARKS[0].to_owned(),
                status: MARKS[1].to_owned(),
                labels: [("l".to_owned(), label.to_owned())].into(),
                ..ContainerSummary::default()
            };
            serde_json::to_vec(&wire).unwrap()
        };
        let (text, gaps) = cut(&entry("plain")).unwrap();
        let before = |gap: u32| {
            let before = std::str::from_utf8(&text[..gap as usize]).unwrap();
            before.rsplit(',').next().unwrap().to_owned()
        };
        assert_eq!(gaps.map(before), ["\"Image\":", "\"Status\":"]);
        assert!(!text.windows(4).any(|window| window == b"0001"));
        for mark in MARKS {
            assert_eq!(cut(&entry(mark)), None);
        }
        assert_eq!(cut(b"[]"), None);
    }
}
