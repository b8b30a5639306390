//! How a command ends when it does not simply succeed.

/// Exit status of a command that failed: Docker's general one.
pub const FAILED: u8 = 1;
/// Exit status for a command line that cannot be read, and for `run` when the engine refused.
pub const NOT_RUN: u8 = 125;
/// Exit status of `run` when the container's command is not executable.
pub const NOT_EXECUTABLE: u8 = 126;
/// Exit status of `run` when the container's command does not exist.
pub const NOT_FOUND: u8 = 127;

/// Exit status of a program that wrote to a pipe nobody reads: 128 and SIGPIPE.
pub const PIPE_CLOSED: u8 = 141;

/// An early end: the text for standard error (none when empty) and the exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit status of the process.
    pub code: u8,
    /// What to print on standard error, without the last line end.
    pub message: String,
}

/// What a command gives back: its exit status, or an early end with a message.
pub type Outcome = Result<u8, Exit>;

impl Exit {
    /// A failure with the general exit status.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            code: FAILED,
            message: message.into(),
        }
    }

    /// An early end without a message.
    pub fn silent(code: u8) -> Self {
        Self {
            code,
            message: String::new(),
        }
    }
}

/// The exit status that `run` and `start -a` give for an error that kept the container from
/// starting, told from the engine's sentence as Docker's clients do.
pub fn code_of_refusal(message: &str) -> u8 {
    let said = |words: &[&str]| words.iter().any(|w| message.contains(w));
    if said(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file",
    ]) {
        NOT_FOUND
    } else if said(&["permission denied", "is a directory"]) {
        NOT_EXECUTABLE
    } else {
        NOT_RUN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_decides_the_status() {
        for (message, code) in [
            ("exec: \"nope\": executable file not found in $PATH", 127),
            (
                "exec: \"/nope\": stat /nope: no such file or directory",
                127,
            ),
            ("exec: \"/etc/passwd\": permission denied", 126),
            ("exec: \"/etc\": is a directory", 126),
            ("No such image: debian", 125),
            ("conflict: the name is taken", 125),
        ] {
            assert_eq!(code_of_refusal(message), code, "{message}");
        }
    }
}
