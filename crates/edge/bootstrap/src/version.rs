//! Which of two Debian versions is the later one (`deb-version(7)`).

use std::cmp::Ordering;

/// Compares `[epoch:]upstream[-revision]` with another.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (epoch_a, rest_a) = epoch(a);
    let (epoch_b, rest_b) = epoch(b);
    let (upstream_a, revision_a) = rest_a.rsplit_once('-').unwrap_or((rest_a, ""));
    let (upstream_b, revision_b) = rest_b.rsplit_once('-').unwrap_or((rest_b, ""));
    epoch_a
        .cmp(&epoch_b)
        .then_with(|| part(upstream_a.as_bytes(), upstream_b.as_bytes()))
        .then_with(|| part(revision_a.as_bytes(), revision_b.as_bytes()))
}

fn epoch(version: &str) -> (u64, &str) {
    match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    }
}

/// Where a byte sorts: `~` before the end, the end before letters, letters before all else.
fn order(byte: Option<u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None | Some(b'0'..=b'9') => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(letter),
        Some(other) => i32::from(other) + 256,
    }
}

fn part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    while !a.is_empty() || !b.is_empty() {
        while a.first().is_some_and(|x| !is_digit(x)) || b.first().is_some_and(|x| !is_digit(x)) {
            match order(a.first().copied()).cmp(&order(b.first().copied())) {
                Ordering::Equal => {}
                different => return different,
            }
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        let (digits_a, rest_a) = number(a);
        let (digits_b, rest_b) = number(b);
        match (digits_a.len().cmp(&digits_b.len())).then_with(|| digits_a.cmp(digits_b)) {
            Ordering::Equal => {}
            different => return different,
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

/// The digits at the front without their leading zeros, and what follows.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| !b.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    (digits.get(zeros..).unwrap_or_default(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_dpkg_sorts_them() {
        let rising = [
            "0~rc1", "0", "0.1", "0.1-1", "0.1-1+b1", "0.9", "0.10", "1.0~beta", "1.0", "1.0a",
            "1.0+x", "1.0.1", "1:0.1",
        ];
        for pair in rising.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("1.01-0", "1.1-00"), Ordering::Equal);
        assert_eq!(compare("1.0", "1.0-0"), Ordering::Equal);
    }
}
