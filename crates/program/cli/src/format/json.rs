//! JSON as text: spread out, squeezed, and with Go's escapes.

use serde_json::Value;

/// Takes the blanks out of a JSON text and leaves everything else as it is.
///
/// # Errors
/// The text is not JSON; what is wrong with it.
pub fn compact(text: &str) -> Result<String, String> {
    serde_json::from_str::<Value>(text).map_err(|e| e.to_string())?;
    let mut out = String::with_capacity(text.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            quoted = c == '"';
        }
        out.push(c);
    }
    Ok(out)
}

/// Spreads compact JSON over lines with four blanks per level; keys stay in their order.
pub fn indent(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0usize;
    let (mut quoted, mut escaped) = (false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
            out.push(c);
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                if let Some(&end @ ('}' | ']')) = chars.peek() {
                    out.push(end);
                    chars.next();
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                quoted = c == '"';
                out.push(c);
            }
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("    ", depth));
}

/// Escapes what Go's encoder escapes for the sake of HTML pages.
pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_in_texts_stay() {
        assert_eq!(
            compact("{\n \"a b\": [1, \"x \\\" y\"] }").unwrap(),
            r#"{"a b":[1,"x \" y"]}"#
        );
        assert!(compact("{").is_err());
    }

    #[test]
    fn levels_are_four_blanks() {
        assert_eq!(
            indent(r#"[{"b":{},"a":["x:{,",[]]}]"#),
            "[\n    {\n        \"b\": {},\n        \"a\": [\n            \"x:{,\",\n            \
             []\n        ]\n    }\n]"
        );
        assert_eq!(indent("[]"), "[]");
    }
}
