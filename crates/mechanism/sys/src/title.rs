//! What `ps` shows as the arguments of this process, changed while it runs.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

/// Positions in `/proc/PID/stat` of where the arguments begin and end (fields 48 and 49), counted
/// after the command's closing parenthesis.
const ARGUMENTS: (usize, usize) = (45, 46);

/// The last argument of this process, where the kernel reads it (`proc(5)`, `cmdline`).
#[derive(Debug)]
pub struct LastArgument {
    memory: File,
    address: u64,
    length: usize,
}

impl LastArgument {
    /// Finds it. It is `length` bytes long, without the NUL behind it.
    ///
    /// # Errors
    /// Without `/proc`; `InvalidData` when there is no argument of that length.
    pub fn find(length: usize) -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let stat = std::fs::read("/proc/self/stat")?;
        let (start, end) = bounds(&stat).ok_or_else(invalid)?;
        let memory = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/proc/self/mem")?;
        let address = (end.checked_sub(1 + length as u64))
            .filter(|at| *at > start)
            .ok_or_else(invalid)?;
        // It fills the place between two NULs, and nothing else is written over.
        let mut around = vec![0; length + 2];
        memory.read_exact_at(&mut around, address - 1)?;
        match around.as_slice() {
            [0, inside @ .., 0] if !inside.contains(&0) => Ok(Self {
                memory,
                address,
                length,
            }),
            _ => Err(invalid()),
        }
    }

    /// Replaces it by a text of the same length.
    ///
    /// # Errors
    /// `InvalidInput` for another length or a NUL in it; what the kernel says.
    pub fn replace(&self, text: &[u8]) -> io::Result<()> {
        if text.len() != self.length || text.contains(&0) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.memory.write_all_at(text, self.address)
    }
}

fn bounds(stat: &[u8]) -> Option<(u64, u64)> {
    let after = stat.iter().rposition(|b| *b == b')')? + 1;
    let text = std::str::from_utf8(stat.get(after..)?).ok()?;
    let field = |at| text.split_ascii_whitespace().nth(at)?.parse().ok();
    Some((field(ARGUMENTS.0)?, field(ARGUMENTS.1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_argument_is_another_one() {
        let Some(last) = std::env::args().next_back().filter(|a| !a.is_empty()) else {
            panic!("a test has its program's name at least");
        };
        if std::env::args().len() < 2 {
            // A program without arguments has none to replace.
            assert!(LastArgument::find(last.len()).is_err());
            return;
        }
        let found = LastArgument::find(last.len()).unwrap();
        let other = vec![b'x'; last.len()];
        found.replace(&other).unwrap();
        let line = std::fs::read("/proc/self/cmdline").unwrap();
        found.replace(last.as_bytes()).unwrap();
        assert!(line.ends_with(&[other.as_slice(), &[0]].concat()));
        assert!(found.replace(b"").is_err());
        assert!(LastArgument::find(last.len() + 1).is_err());
    }
}
