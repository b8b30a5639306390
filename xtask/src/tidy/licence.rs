//! SPDX licence expressions, as far as packages use them: names, `WITH`, `AND`, `OR`, brackets,
//! and the old `/` between alternatives.

/// Licences whose terms a program under Apache-2.0 that is handed on as a binary can keep.
const ACCEPTED: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// Whether some way to choose among the alternatives of `expression` uses accepted licences only.
/// An expression that does not parse is not accepted.
pub fn is_accepted(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words };
    parser.alternatives() == Some(true) && parser.words.is_empty()
}

struct Parser<'a> {
    words: &'a [&'a str],
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.next();
        }
        found
    }

    fn alternatives(&mut self) -> Option<bool> {
        let mut accepted = self.together()?;
        while self.takes("OR") {
            accepted |= self.together()?;
        }
        Some(accepted)
    }

    fn together(&mut self) -> Option<bool> {
        let mut accepted = self.single()?;
        while self.takes("AND") {
            accepted &= self.single()?;
        }
        Some(accepted)
    }

    fn single(&mut self) -> Option<bool> {
        match self.next()? {
            "(" => {
                let accepted = self.alternatives()?;
                self.takes(")").then_some(accepted)
            }
            ")" | "AND" | "OR" | "WITH" => None,
            name if self.takes("WITH") => {
                let exception = self.next()?;
                Some(ACCEPTED.contains(&format!("{name} WITH {exception}").as_str()))
            }
            name => Some(ACCEPTED.contains(&name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        for (expression, expected) in [
            ("MIT", true),
            ("MIT OR Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-only OR MIT", true),
            ("GPL-3.0-only AND MIT", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND GPL-2.0-only", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", true),
            ("GPL-2.0-only WITH Classpath-exception-2.0", false),
            ("MIT OR", false),
            ("(MIT", false),
            ("MIT Apache-2.0", false),
            ("", false),
        ] {
            assert_eq!(is_accepted(expression), expected, "{expression}");
        }
    }
}
