//! Paths and queries.

use std::fmt::Write as _;

/// The query of a request, as it is put together.
#[derive(Debug, Default)]
pub(super) struct Query {
    text: String,
}

impl Query {
    /// Adds `name=value`.
    pub(super) fn put(&mut self, name: &str, value: &str) {
        self.text.push(if self.text.is_empty() { '?' } else { '&' });
        self.text.push_str(name);
        self.text.push('=');
        encode(value, &mut self.text);
    }

    /// Adds `name=value` where there is a value that says something.
    pub(super) fn put_some(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.put(name, value);
        }
    }

    /// Adds `name=1` where the switch is on; off is Docker's default everywhere.
    pub(super) fn put_switch(&mut self, name: &str, on: bool) {
        if on {
            self.put(name, "1");
        }
    }

    /// The path with the query behind it.
    pub(super) fn after(self, path: &str) -> String {
        format!("{path}{}", self.text)
    }
}

/// One segment of a path; a `/` in it stays one, since image names have them.
pub(super) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, part) in text.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        encode(part, &mut out);
    }
    out
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, and `:`, which is safe
/// in both places and keeps image names readable.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Query, segment};

    #[test]
    fn what_people_type_cannot_change_the_request() {
        assert_eq!(segment("a/b:tag"), "a/b:tag");
        assert_eq!(segment("x?force=1&v=1#é"), "x%3Fforce%3D1%26v%3D1%23%C3%A9");
        let mut query = Query::default();
        query.put("name", "a b&c");
        query.put_some("none", None);
        query.put_some("empty", Some(""));
        query.put_switch("off", false);
        query.put_switch("all", true);
        assert_eq!(query.after("/x"), "/x?name=a%20b%26c&all=1");
        assert_eq!(Query::default().after("/x"), "/x");
    }
}
