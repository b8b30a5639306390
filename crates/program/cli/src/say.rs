//! Printing results and notes. Unlike the standard macros, these do not panic when the reader has
//! gone.

use std::io::{self, Write};

use crate::exit::{FAILED, PIPE_CLOSED};

/// Writes to standard output. If nobody reads it, the program ends as if SIGPIPE had killed it;
/// after any other failure, with a failure's status: results that are lost are no success.
pub fn out(text: &str) {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(PIPE_CLOSED.into()),
        Err(e) => {
            note(&format!("berth: cannot write to standard output: {e}\n"));
            std::process::exit(FAILED.into());
        }
    }
}

/// Writes to standard error. A failure has no place left where it could be told.
pub fn note(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Prints a line on standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::say::out(&(format!($($text)*) + "\n")) };
}

/// Prints a line on standard error.
macro_rules! complain {
    ($($text:tt)*) => { $crate::say::note(&(format!($($text)*) + "\n")) };
}

pub(crate) use {complain, say};
