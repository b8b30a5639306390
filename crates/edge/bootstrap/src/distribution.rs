//! A base image from the machine's own package sources, by `mmdebstrap(1)` or `debootstrap(8)`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use crate::error::BootstrapError;
use crate::host::Release;

/// What is to be made.
#[derive(Debug, Clone)]
pub struct Order {
    /// The release, such as `bookworm`.
    pub suite: String,
    /// Packages beside those of the smallest system.
    pub packages: Vec<String>,
}

/// A program that makes a system and writes its archive.
pub struct Making {
    program: &'static str,
    child: Child,
    scratch: Option<Scratch>,
}

/// A directory that goes when its user does.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays in the directory for temporary files is not ours to worry about further.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One of the sources that apt knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    uri: String,
    release: String,
    component: String,
}

/// Starts to make a system; its archive comes from the returned pipe. Messages of the programs go
/// to standard error.
///
/// # Errors
/// No such program is installed, or apt knows no sources for the release.
pub fn make(release: &Release, order: &Order) -> Result<(ChildStdout, Making), BootstrapError> {
    let sources = sources(release, &order.suite)?;
    let is_installed = |program: &str| find(program).is_some();
    let (program, mut command, scratch) = if is_installed("mmdebstrap") {
        ("mmdebstrap", mmdebstrap(order, &sources)?, None)
    } else if is_installed("debootstrap") {
        let scratch = debootstrap(order, &sources)?;
        let mut tar = Command::new("tar");
        tar.args([
            "--create",
            "--numeric-owner",
            "--one-file-system",
            "--file=-",
        ]);
        tar.arg("--directory").arg(&scratch.0).arg(".");
        ("tar", tar, Some(scratch))
    } else {
        return Err(BootstrapError::NoProgram);
    };
    let run = |source| BootstrapError::Run { program, source };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(run)?;
    let archive = child.stdout.take();
    let archive = archive.ok_or_else(|| run(std::io::ErrorKind::BrokenPipe.into()))?;
    let making = Making {
        program,
        child,
        scratch,
    };
    Ok((archive, making))
}

impl Making {
    /// Waits for the end, after the archive has been read.
    ///
    /// # Errors
    /// The program failed: the archive is not to be trusted then.
    pub fn finish(mut self) -> Result<(), BootstrapError> {
        let program = self.program;
        let status = self.child.wait();
        drop(self.scratch.take());
        check(program, status)
    }
}

fn check(program: &'static str, status: std::io::Result<ExitStatus>) -> Result<(), BootstrapError> {
    let status = status.map_err(|source| BootstrapError::Run { program, source })?;
    if status.success() {
        Ok(())
    } else {
        Err(BootstrapError::Failed { program, status })
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let directories = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    directories.map(|d| d.join(program)).find(|p| p.is_file())
}

fn output(program: &'static str, arguments: &[&str]) -> Result<String, BootstrapError> {
    let run = |source| BootstrapError::Run { program, source };
    let command = Command::new(program)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output();
    let output = command.map_err(run)?;
    check(program, Ok(output.status))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What apt knows of the release: the distribution's own, not what the owner has added.
fn sources(release: &Release, suite: &str) -> Result<Vec<Source>, BootstrapError> {
    let format = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)";
    let known = output(
        "apt-get",
        &["indextargets", "--format", format, "Created-By: Packages"],
    )?;
    let sources = chosen(&known, &release.id, suite);
    if sources.is_empty() {
        return Err(BootstrapError::NoSources {
            suite: suite.to_owned(),
        });
    }
    Ok(sources)
}

fn chosen(known: &str, id: &str, suite: &str) -> Vec<Source> {
    let mut sources: Vec<Source> = known
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('|').map(str::to_owned);
            let (origin, uri) = (fields.next()?, fields.next()?);
            let (release, component) = (fields.next()?, fields.next()?);
            let rest = release.strip_prefix(suite)?;
            let is_ours =
                origin.eq_ignore_ascii_case(id) && matches!(rest, "" | "-updates" | "-security");
            is_ours.then_some(Source {
                uri,
                release,
                component,
            })
        })
        .collect();
    sources.sort();
    sources.dedup();
    sources
}

fn mmdebstrap(order: &Order, sources: &[Source]) -> Result<Command, BootstrapError> {
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", "--format=tar"]);
    if !order.packages.is_empty() {
        command.arg(format!("--include={}", order.packages.join(",")));
    }
    let proxies = ["Acquire::http::Proxy", "Acquire::https::Proxy"];
    let dump = [&["dump", "--format", "%f \"%v\";%n"][..], &proxies].concat();
    for option in output("apt-config", &dump)?.lines() {
        if !option.ends_with(" \"\";") {
            command.arg(format!("--aptopt={option}"));
        }
    }
    command.arg(&order.suite).arg("-");
    for source in sources {
        command.arg(format!(
            "deb {} {} {}",
            source.uri, source.release, source.component
        ));
    }
    Ok(command)
}

/// Makes the system in a directory, since debootstrap writes no archive.
fn debootstrap(order: &Order, sources: &[Source]) -> Result<Scratch, BootstrapError> {
    let program = "debootstrap";
    let run = |source| BootstrapError::Run { program, source };
    let name = format!("berth-bootstrap-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir(&directory).map_err(run)?;
    let scratch = Scratch(directory);
    let of_suite = |source: &&Source| source.release == order.suite;
    let mirror = sources.iter().find(of_suite);
    let mirror = mirror.ok_or_else(|| BootstrapError::NoSources {
        suite: order.suite.clone(),
    })?;
    let mut command = Command::new(program);
    command.arg("--variant=minbase");
    if !order.packages.is_empty() {
        command.arg(format!("--include={}", order.packages.join(",")));
    }
    // Its account of what it does belongs to the messages: the archive has standard output.
    command.arg(&order.suite).arg(&scratch.0).arg(&mirror.uri);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(run)?;
    if let Some(mut words) = child.stdout.take() {
        let _ = std::io::copy(&mut words, &mut std::io::stderr());
    }
    check(program, child.wait())?;
    list(&scratch.0, sources).map_err(run)?;
    Ok(scratch)
}

/// Gives the system all sources, not only the one it was made from.
fn list(directory: &Path, sources: &[Source]) -> std::io::Result<()> {
    let mut file = std::fs::File::create(directory.join("etc/apt/sources.list"))?;
    for source in sources {
        writeln!(
            file,
            "deb {} {} {}",
            source.uri, source.release, source.component
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_distributions_own_sources_are_taken() {
        let known = "\
            Debian|http://mirror/debian|bookworm|main\n\
            Debian|http://mirror/debian|bookworm|main\n\
            Debian|http://mirror/debian|bookworm-updates|main\n\
            Debian|http://mirror/debian|bookworm-backports|main\n\
            Debian|http://mirror/debian|trixie|main\n\
            Somebody|http://elsewhere/apt|bookworm|main\n\
            broken line\n";
        let found = chosen(known, "debian", "bookworm");
        let releases: Vec<&str> = found.iter().map(|s| s.release.as_str()).collect();
        assert_eq!(releases, ["bookworm", "bookworm-updates"]);
        assert!(chosen(known, "ubuntu", "bookworm").is_empty());
    }
}
