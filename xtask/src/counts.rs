//! How many tests passed and failed, read from what the runners print.

/// Results of one runner, or of all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    /// Not run though asked for. Never a pass: shown by itself.
    pub skipped: u64,
}

impl Counts {
    /// The counts of a step that either holds or does not.
    pub fn of_step(held: bool) -> Self {
        Self {
            passed: u64::from(held),
            failed: u64::from(!held),
            skipped: 0,
        }
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

/// Reads a summary line of cargo-nextest:
/// `Summary [ 1.2s] 9/20 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 3 skipped`.
/// Tests of a run that was cut short and never started count as failed.
pub fn of_nextest_line(line: &str) -> Option<Counts> {
    let line = line.trim_start();
    let rest = line.strip_prefix("Summary [")?;
    let (_, rest) = rest.split_once(']')?;
    let (run, results) = rest.split_once(" run:")?;
    let mut counts = Counts::default();
    // A remark in brackets, as in `7 passed (1 slow, 2 leaky)`, holds commas of its own.
    for (amount, word) in without_brackets(results)
        .split(',')
        .filter_map(amount_and_word)
    {
        match word {
            "passed" => counts.passed += amount,
            "skipped" => counts.skipped += amount,
            _ => counts.failed += amount,
        }
    }
    if let Some((done, planned)) = run
        .split_whitespace()
        .next()
        .and_then(|amounts| amounts.split_once('/'))
        && let (Ok(done), Ok(planned)) = (done.parse::<u64>(), planned.parse::<u64>())
    {
        counts.failed += planned.saturating_sub(done);
    }
    Some(counts)
}

/// Reads the result line that the standard test harness prints for one test program:
/// `test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.01s`.
pub fn of_libtest_line(line: &str) -> Option<Counts> {
    let (_, results) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = Counts::default();
    for (amount, word) in results.split(';').filter_map(amount_and_word) {
        match word {
            "passed" => counts.passed += amount,
            "failed" => counts.failed += amount,
            "ignored" => counts.skipped += amount,
            _ => {}
        }
    }
    Some(counts)
}

/// Adds up every summary line `read` recognises; `None` when there was none at all.
pub fn total(output: &str, read: fn(&str) -> Option<Counts>) -> Option<Counts> {
    output.lines().filter_map(read).reduce(Counts::plus)
}

fn without_brackets(text: &str) -> String {
    let mut depth = 0_u32;
    let mut kept = String::new();
    for character in text.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(character),
            _ => {}
        }
    }
    kept
}

fn amount_and_word(part: &str) -> Option<(u64, &str)> {
    let (amount, word) = part.trim().split_once(' ')?;
    Some((amount.parse().ok()?, word.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Option<Counts> {
        Some(Counts {
            passed,
            failed,
            skipped,
        })
    }

    #[test]
    fn nextest_summaries() {
        for (line, expected) in [
            (
                "     Summary [   0.005s] 1 test run: 1 passed, 0 skipped",
                counts(1, 0, 0),
            ),
            (
                "     Summary [  12.005s] 12 tests run: 9 passed (1 slow, 2 leaky), 2 failed, 1 timed out, 4 skipped",
                counts(9, 3, 4),
            ),
            (
                "     Summary [   1.000s] 3/10 tests run: 2 passed, 1 failed, 0 skipped",
                counts(2, 8, 0),
            ),
            (
                "     Summary [   0.000s] 0 tests run: 0 passed, 0 skipped",
                counts(0, 0, 0),
            ),
            ("        PASS [   0.003s] xtask counts::tests::x", None),
            ("Summary of the day", None),
        ] {
            assert_eq!(of_nextest_line(line), expected, "{line}");
        }
    }

    #[test]
    fn libtest_summaries() {
        for (line, expected) in [
            (
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.00s",
                counts(3, 0, 1),
            ),
            (
                "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
                counts(3, 2, 0),
            ),
            ("test counts::tests::x ... ok", None),
        ] {
            assert_eq!(of_libtest_line(line), expected, "{line}");
        }
    }

    #[test]
    fn several_programs_add_up_and_silence_is_no_result() {
        let output = "test result: ok. 3 passed; 0 failed; 0 ignored\nnoise\ntest result: FAILED. 1 passed; 2 failed; 1 ignored\n";
        assert_eq!(total(output, of_libtest_line), counts(4, 2, 1));
        assert_eq!(total("error: could not compile\n", of_libtest_line), None);
    }
}
