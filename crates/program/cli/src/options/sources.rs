//! What the options of `create` draw from the caller's surroundings: variables and files.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The caller's surroundings, so that resolving options stays a function of its input.
pub trait Surroundings {
    /// The value of a variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// The text of a file; a relative path starts at [`Surroundings::directory`].
    fn read(&self, path: &str) -> io::Result<String>;
    /// The working directory.
    fn directory(&self) -> PathBuf;
}

/// The surroundings of this process.
pub struct Process;

impl Surroundings for Process {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn directory(&self) -> PathBuf {
        std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
    }
}

/// The environment: the files first, then the options. A bare name takes the caller's value; in a
/// file it is left out where the caller has none, as an option it is sent as it is, which removes
/// the variable.
pub fn environment(
    files: &[String],
    options: &[String],
    from: &dyn Surroundings,
) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for file in files {
        for (name, value) in lines(file, from)? {
            if let Some(value) = value.or_else(|| from.variable(&name)) {
                all.push(format!("{name}={value}"));
            }
        }
    }
    for option in options {
        all.push(match option.contains('=') {
            true => option.clone(),
            false => match from.variable(option) {
                Some(value) => format!("{option}={value}"),
                None => option.clone(),
            },
        });
    }
    Ok(all)
}

/// The labels: the files first, then the options. A bare name in a file is left out, as Docker
/// does; as an option it has an empty value.
pub fn labels(
    files: &[String],
    options: &[String],
    from: &dyn Surroundings,
) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::new();
    for file in files {
        all.extend(
            lines(file, from)?
                .into_iter()
                .filter_map(|(name, v)| Some((name, v?))),
        );
    }
    all.extend(options.iter().map(|option| pair(option)));
    Ok(all)
}

/// `key=value`, or a bare key with an empty value.
pub fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

/// The lines of a file of `key=value` or bare keys; blank lines and `#` comments are passed over.
fn lines(file: &str, from: &dyn Surroundings) -> Result<Vec<(String, Option<String>)>, String> {
    let text = from.read(file).map_err(|e| open_failed(file, &e))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut pairs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (line.trim_end(), None),
        };
        if key.is_empty() {
            return Err(format!(
                "no variable name on line {} of {file}: '{line}'",
                index + 1
            ));
        }
        if key.contains(char::is_whitespace) {
            return Err(format!(
                "variable '{key}' contains whitespaces (line {} of {file})",
                index + 1
            ));
        }
        pairs.push((key.to_owned(), value));
    }
    Ok(pairs)
}

/// Docker's sentence for a file that cannot be opened.
pub fn open_failed(path: &str, error: &io::Error) -> String {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    format!("open {path}: {reason}")
}

/// A path that begins with a dot, made absolute; any other as it is.
pub fn absolute_if_dotted(path: &str, directory: &Path) -> String {
    if !path.starts_with('.') {
        return path.to_owned();
    }
    let mut clean = PathBuf::new();
    for part in directory.join(path).components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_resolved_against_the_directory() {
        let at = Path::new("/home/me");
        for (path, wanted) in [
            (".", "/home/me"),
            ("./a/./b", "/home/me/a/b"),
            ("../x", "/home/x"),
            ("../../../x", "/x"),
            ("name", "name"),
            ("/a", "/a"),
        ] {
            assert_eq!(absolute_if_dotted(path, at), wanted);
        }
    }
}
