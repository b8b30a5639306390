//! Finding the program and executing it, with the words that Docker's client looks for.

use std::ffi::CString;
use std::io;

use berth_sys::rustix::fs::{Access, FileType, access, stat};
use berth_sys::rustix::io::Errno;
use berth_types::launch::StartFailureKind;

/// Where programs are looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    #[error("cannot execute a program: no command is given, and the image has none")]
    Empty,
    #[error("exec: {0:?}: executable file not found in $PATH")]
    NotInPath(String),
    #[error("exec: {0:?}: stat {0}: no such file or directory")]
    Missing(String),
    #[error("exec {0}: no such file or directory: the interpreter that it names is missing")]
    NoInterpreter(String),
    #[error("exec: {0:?}: permission denied")]
    Denied(String),
    #[error("exec: {0:?}: is a directory: permission denied")]
    Directory(String),
    #[error("exec {0}: exec format error: it is for another architecture or lacks a #! line")]
    Format(String),
    #[error("exec {0}")]
    Other(String, #[source] io::Error),
    #[error("cannot pass {0:?} to the program: it holds a NUL byte")]
    Nul(String),
}

impl ExecError {
    pub(crate) fn kind(&self) -> StartFailureKind {
        match self {
            Self::NotInPath(_) | Self::Missing(_) | Self::NoInterpreter(_) | Self::Empty => {
                StartFailureKind::CommandNotFound
            }
            Self::Denied(_) | Self::Directory(_) | Self::Format(_) | Self::Other(..) => {
                StartFailureKind::NotExecutable
            }
            Self::Nul(_) => StartFailureKind::Internal,
        }
    }
}

/// A program and all it is given, made before the last rights are dropped.
pub(crate) struct Program {
    name: String,
    candidates: Vec<String>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    /// Reads `args` and `environment` (`NAME=value`), and the `PATH` in it.
    pub(crate) fn new(args: &[String], environment: &[String]) -> Result<Self, ExecError> {
        let name = args
            .first()
            .filter(|n| !n.is_empty())
            .ok_or(ExecError::Empty)?
            .clone();
        let path = environment
            .iter()
            .rev()
            .find_map(|e| e.strip_prefix("PATH="));
        let candidates = if name.contains('/') {
            vec![name.clone()]
        } else {
            let directories = path.unwrap_or(DEFAULT_PATH).split(':');
            directories
                .filter(|d| !d.is_empty())
                .map(|d| format!("{d}/{name}"))
                .collect()
        };
        let (arguments, environment) = (c_strings(args)?, c_strings(environment)?);
        Ok(Self {
            name,
            candidates,
            arguments,
            environment,
        })
    }

    /// Executes the first candidate that can be. Returns only with the reason why none was.
    pub(crate) fn execute(&self) -> ExecError {
        let given = self.name.contains('/');
        for path in &self.candidates {
            let Ok(c_path) = CString::new(path.as_str()) else {
                continue;
            };
            let error = berth_sys::process::exec(&c_path, &self.arguments, &self.environment);
            let errno = Errno::from_io_error(&error);
            match (errno, kind_of(path)) {
                (Some(Errno::NOENT | Errno::NOTDIR), None) if given => {
                    return ExecError::Missing(path.clone());
                }
                (Some(Errno::NOENT), Some(_)) => return ExecError::NoInterpreter(path.clone()),
                (Some(Errno::ACCESS), kind) if given => {
                    return if kind == Some(FileType::Directory) {
                        ExecError::Directory(path.clone())
                    } else {
                        ExecError::Denied(path.clone())
                    };
                }
                // Present and marked executable, and still refused: by the mount it is on.
                (Some(Errno::ACCESS), Some(FileType::RegularFile))
                    if access(path, Access::EXEC_OK).is_ok() =>
                {
                    return ExecError::Denied(path.clone());
                }
                (Some(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS), _) => {}
                (Some(Errno::NOEXEC), _) => return ExecError::Format(path.clone()),
                _ => return ExecError::Other(path.clone(), error),
            }
        }
        ExecError::NotInPath(self.name.clone())
    }
}

fn kind_of(path: &str) -> Option<FileType> {
    stat(path).ok().map(|s| FileType::from_raw_mode(s.st_mode))
}

fn c_strings(list: &[String]) -> Result<Vec<CString>, ExecError> {
    list.iter()
        .map(|s| CString::new(s.as_str()).map_err(|_| ExecError::Nul(s.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(name: &str, environment: &[&str]) -> Vec<String> {
        let environment: Vec<String> = environment.iter().map(|e| (*e).to_owned()).collect();
        Program::new(&[name.to_owned()], &environment)
            .unwrap()
            .candidates
    }

    #[test]
    fn the_containers_own_path_is_searched() {
        assert_eq!(candidates("x", &["PATH=/a::/b"]), ["/a/x", "/b/x"]);
        assert_eq!(candidates("x", &["APATH=/a", "PATH=/b"]), ["/b/x"]);
        assert_eq!(candidates("./x", &["PATH=/a"]), ["./x"]);
        assert_eq!(candidates("x", &[]).len(), 6);
    }

    #[test]
    fn nothing_to_execute_is_an_error() {
        for args in [&[][..], &[String::new()][..]] {
            assert!(matches!(Program::new(args, &[]), Err(ExecError::Empty)));
        }
        assert!(matches!(
            Program::new(&["a\0".to_owned()], &[]),
            Err(ExecError::Nul(_))
        ));
    }
}
