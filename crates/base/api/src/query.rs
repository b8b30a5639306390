//! Query parameters as Docker reads them.

/// A switch in a query: absent, empty, `0`, `no`, `false` and `none` (in any case, with blanks
/// around) are false, and everything else is true.
pub fn parse_bool(value: Option<&str>) -> bool {
    let Some(value) = value else { return false };
    let value = value.trim();
    !["", "0", "no", "false", "none"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::parse_bool;

    #[test]
    fn only_the_five_words_are_false() {
        for word in [
            None,
            Some(""),
            Some("0"),
            Some("no"),
            Some("False"),
            Some(" none "),
        ] {
            assert!(!parse_bool(word), "{word:?}");
        }
        for word in ["1", "true", "yes", "on", "00", "off", "anything"] {
            assert!(parse_bool(Some(word)), "{word:?}");
        }
    }
}
