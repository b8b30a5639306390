//! Query parameters.

use std::collections::HashMap;

use berth_api::query::parse_bool;
use percent_encoding::percent_decode_str;

/// The parameters of one request; of a repeated one the first counts, except where all are asked
/// for.
#[derive(Debug, Default)]
pub struct Query(HashMap<String, Vec<String>>);

impl Query {
    /// Reads `a=b&c=d`; what is not UTF-8 is replaced.
    pub fn parse(text: &str) -> Self {
        let decode = |part: &str| {
            percent_decode_str(&part.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        let mut map: HashMap<String, Vec<String>> = HashMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            map.entry(decode(key)).or_default().push(decode(value));
        }
        Self(map)
    }

    /// The first value of a parameter.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.first().map(String::as_str)
    }

    /// The first value that is not empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|value| !value.is_empty())
    }

    /// Every value of a parameter.
    pub fn all(&self, key: &str) -> Vec<String> {
        self.0.get(key).cloned().unwrap_or_default()
    }

    /// A switch, by Docker's rules.
    pub fn switch(&self, key: &str) -> bool {
        parse_bool(self.get(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_switches_read() {
        let query = Query::parse("name=a%20b+c&all=1&changes=A&changes=B&x&f=%7B%22&bad=%ff");
        assert_eq!(query.get("name"), Some("a b c"));
        assert!(query.switch("all") && !query.switch("x") && !query.switch("none"));
        assert_eq!(query.all("changes"), ["A", "B"]);
        assert_eq!(query.get("f"), Some("{\""));
        assert_eq!(query.text("x"), None);
        assert!(query.get("bad").is_some());
    }
}
