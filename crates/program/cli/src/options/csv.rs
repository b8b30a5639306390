//! One record of comma-separated values (RFC 4180), as `--mount`, `--network` and `--gpus` take.

/// The fields of `text`; a field in double quotes may hold commas, and `""` for a quote.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, tail) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (field, tail) = rest.split_at(end);
                if field.contains('"') {
                    return Err(format!(
                        "parse error in {text:?}: bare \" in non-quoted field"
                    ));
                }
                (field.to_owned(), tail)
            }
        };
        fields.push(field);
        match tail.strip_prefix(',') {
            Some(next) => rest = next,
            None if tail.is_empty() => return Ok(fields),
            None => {
                return Err(format!(
                    "parse error in {text:?}: text behind a quoted field"
                ));
            }
        }
    }
}

fn unquote(text: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest
            .find('"')
            .ok_or("parse error: a quoted field has no end")?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Ok((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn quotes_hold_commas() {
        assert_eq!(split("a,b=c,").unwrap(), ["a", "b=c", ""]);
        assert_eq!(split("\"a,b\",\"c\"\"d\"").unwrap(), ["a,b", "c\"d"]);
        for bad in ["\"a", "a\"b", "\"a\"b"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}
