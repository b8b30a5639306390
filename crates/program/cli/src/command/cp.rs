//! `berth cp`

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use berth_api::archive::{PathStat, mode};
use berth_api::client::{Client, Output, PutOptions};
use berth_console::{Stream, terminal};
use clap::Args;

use super::archive::{Blocking, copy};
use super::local::{Packed, unpack, unpack_as};
use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::say::complain;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tberth cp [OPTIONS] SRC_PATH|- \
               CONTAINER:DEST_PATH",
    about: "Copy files/folders between a container and the local filesystem\n\nUse '-' as the \
            source to read a tar archive from stdin\nand extract it to a directory destination \
            in a container.\nUse '-' as the destination to stream a tar archive of a\ncontainer \
            source to stdout.",
    aliases: "berth container cp, berth cp",
    arity: Arity::Two,
};

#[derive(Debug, Args)]
struct Flags {
    /// Archive mode (copy all uid/gid information)
    #[arg(long, short = 'a')]
    archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(long, short = 'L')]
    follow_link: bool,
    /// Suppress progress output during copy. Progress output is automatically suppressed if no
    /// terminal is attached
    #[arg(long, short = 'q')]
    quiet: bool,
    arguments: Vec<String>,
}

/// Copies files into a container or out of it.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let source = flags.arguments.first().map_or("", String::as_str);
    let destination = flags.arguments.get(1).map_or("", String::as_str);
    if source.is_empty() {
        return Err(Exit::failed("source can not be empty"));
    }
    if destination.is_empty() {
        return Err(Exit::failed("destination can not be empty"));
    }
    match (split(source), split(destination)) {
        ((Some(_), _), (Some(_), _)) => {
            Err(Exit::failed("copying between containers is not supported"))
        }
        ((None, _), (None, _)) => Err(Exit::failed("must specify at least one container source")),
        ((Some(container), path), (None, to)) => {
            let client = context.client().await?;
            copy_out(&client, (container, path), to, &flags).await
        }
        ((None, from), (Some(container), path)) => {
            let client = context.client().await?;
            copy_in(&client, from, (container, path), &flags).await
        }
    }
}

/// Container and path of `web:/etc`; a path of this machine has no container.
fn split(argument: &str) -> (Option<&str>, &str) {
    match argument.split_once(':') {
        Some((container, path)) if !argument.starts_with(['/', '.']) => (Some(container), path),
        _ => (None, argument),
    }
}

fn tell(flags: &Flags, target: &str) {
    if !flags.quiet && terminal::is_terminal(Stream::Stdout) {
        complain!("Successfully copied to {target}");
    }
}

// ---- out of a container

async fn copy_out(
    client: &Client,
    (container, path): (&str, &str),
    to: &str,
    flags: &Flags,
) -> Outcome {
    let mut path = rooted(path);
    let mut name = last_name(&path);
    if flags.follow_link
        && let Ok(stat) = client.containers().path_stat(container, &path).await
        && stat.mode & mode::SYMLINK != 0
    {
        name = Some(stat.name.clone());
        path = beside(&path, &stat.link_target);
    }
    if to == "-" {
        let (_, archive) = fetch(client, container, &path).await?;
        copy(archive, &mut io::stdout()).await?;
        return Ok(0);
    }
    let target = PathBuf::from(to);
    check_parent(&target)?;
    let (stat, archive) = fetch(client, container, &path).await?;
    let source = Source {
        directory: stat.mode & mode::DIRECTORY != 0,
        contents: path.ends_with("/."),
        // Behind a followed link the archive has the name of what it leads to.
        name: name.filter(|name| *name != stat.name),
    };
    let place = place(&source, &target, to.ends_with('/')).map_err(Exit::failed)?;
    receive(archive, place).await?;
    tell(flags, to);
    Ok(0)
}

async fn fetch(client: &Client, container: &str, path: &str) -> Result<(PathStat, Output), Exit> {
    let archive = client.containers().get_archive(container, path).await;
    archive.map_err(|e| refused(&e))
}

/// What is copied out of a container.
#[derive(Debug)]
struct Source {
    directory: bool,
    /// What is in the directory, instead of the directory.
    contents: bool,
    /// The name it gets, where that is not the one in the archive.
    name: Option<String>,
}

/// Where an archive goes.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Into a directory that is there.
    Into(PathBuf),
    /// To this name; `contents` says that the archive has what is in it.
    As { target: PathBuf, contents: bool },
}

/// Docker's rules for what a copy is called.
fn place(source: &Source, target: &Path, as_directory: bool) -> Result<Place, &'static str> {
    let there = std::fs::metadata(target).ok();
    match there {
        Some(there) if there.is_dir() => Ok(match &source.name {
            Some(name) if !source.contents => Place::As {
                target: target.join(name),
                contents: false,
            },
            _ => Place::Into(target.to_owned()),
        }),
        Some(_) if source.directory => Err("cannot copy directory"),
        None if !source.directory && as_directory => Err("no such directory"),
        _ => Ok(Place::As {
            target: target.to_owned(),
            contents: source.contents,
        }),
    }
}

/// Unpacks on a thread of its own what the connection brings.
async fn receive(archive: Output, place: Place) -> Result<(), Exit> {
    let failed = |e: &dyn std::fmt::Display| Exit::failed(format!("berth: cannot copy: {e}"));
    let (mut reader, mut writer) = io::pipe().map_err(|e| failed(&e))?;
    let unpacker = std::thread::spawn(move || {
        match &place {
            Place::Into(directory) => unpack(&mut reader, directory)?,
            Place::As { target, contents } => unpack_as(&mut reader, target, *contents)?,
        }
        // Blocks of zeros behind the end, which the sender must get rid of.
        io::copy(&mut reader, &mut io::sink()).map(drop)
    });
    let copied = copy(archive, &mut writer).await;
    drop(writer);
    match unpacker.join() {
        Ok(Ok(())) => copied,
        Ok(Err(e)) => Err(failed(&e)),
        Err(_) => Err(failed(&"the archive could not be unpacked")),
    }
}

fn check_parent(target: &Path) -> Result<(), Exit> {
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => return Ok(()),
    };
    match parent.is_dir() {
        true => Ok(()),
        false => Err(Exit::failed(format!(
            "invalid output path: directory {:?} does not exist",
            parent.display().to_string()
        ))),
    }
}

// ---- into a container

async fn copy_in(
    client: &Client,
    from: &str,
    (container, path): (&str, &str),
    flags: &Flags,
) -> Outcome {
    let there = destination(client, container, &rooted(path)).await;
    let (directory, archive): (String, Box<dyn Read + Send>) = if from == "-" {
        if !there.directory {
            return Err(Exit::failed(format!(
                "destination \"{container}:{path}\" must be a directory"
            )));
        }
        (there.path, Box::new(io::stdin()))
    } else {
        let (directory, packed) = send(from, &there, flags.follow_link)?;
        (directory, Box::new(packed))
    };
    let options = PutOptions {
        keep_kinds: true,
        keep_owners: flags.archive,
    };
    client
        .containers()
        .put_archive(container, &directory, Blocking::new(archive), options)
        .await
        .map_err(|e| refused(&e))?;
    tell(flags, &format!("{container}:{path}"));
    Ok(0)
}

/// Where a copy goes in a container.
#[derive(Debug, PartialEq, Eq)]
struct Destination {
    path: String,
    exists: bool,
    directory: bool,
}

/// What lies at a path of a container, a last link followed.
async fn destination(client: &Client, container: &str, path: &str) -> Destination {
    let mut path = path.to_owned();
    let mut found = client.containers().path_stat(container, &path).await.ok();
    if let Some(link) = found.as_ref().filter(|s| s.mode & mode::SYMLINK != 0) {
        path = beside(&path, &link.link_target);
        found = client.containers().path_stat(container, &path).await.ok();
    }
    Destination {
        exists: found.is_some(),
        directory: found.is_some_and(|stat| stat.mode & mode::DIRECTORY != 0),
        path,
    }
}

/// The directory to unpack in, and the archive.
fn send(from: &str, to: &Destination, follow: bool) -> Result<(String, Packed), Exit> {
    let cannot = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Exit::failed(format!("lstat {from}: no such file or directory")),
        _ => Exit::failed(format!("berth: cannot read {from}: {e}")),
    };
    let mut path = PathBuf::from(from);
    let contents = from == "." || from.ends_with("/.");
    let name = match contents {
        true => ".".to_owned(),
        false => local_name(&path).map_err(cannot)?,
    };
    if follow || contents || from.ends_with('/') {
        path = path.canonicalize().map_err(cannot)?;
    }
    let kind = std::fs::symlink_metadata(&path).map_err(cannot)?;
    let (parent, base) = split_path(&to.path);
    let (directory, name) = match (to.exists, to.directory, kind.is_dir()) {
        (true, true, _) => (to.path.clone(), name),
        (true, false, true) => return Err(Exit::failed("cannot copy directory")),
        (false, _, false) if to.path.ends_with('/') => {
            return Err(Exit::failed("no such directory"));
        }
        _ => (parent, base),
    };
    let packed = Packed::new(path, name.into()).map_err(cannot)?;
    Ok((directory, packed))
}

/// The last name of a path, also of one that ends in `..`.
fn local_name(path: &Path) -> io::Result<String> {
    let whole;
    let name = match path.file_name() {
        Some(name) => name,
        None => {
            whole = path.canonicalize()?;
            whole.file_name().unwrap_or_default()
        }
    };
    Ok(match name.to_string_lossy() {
        name if name.is_empty() => ".".to_owned(),
        name => name.into_owned(),
    })
}

// ---- paths in containers

/// An absolute path; in a container relative ones begin at the root.
fn rooted(path: &str) -> String {
    match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    }
}

/// Directory and last name of an absolute path.
fn split_path(path: &str) -> (String, String) {
    let (parent, base) = path
        .trim_end_matches('/')
        .rsplit_once('/')
        .unwrap_or_default();
    (format!("{parent}/"), base.to_owned())
}

fn last_name(path: &str) -> Option<String> {
    let (_, base) = split_path(path);
    (!base.is_empty() && base != ".").then_some(base)
}

/// Where a link at `path` leads.
fn beside(path: &str, target: &str) -> String {
    match target.starts_with('/') {
        true => target.to_owned(),
        false => split_path(path).0 + target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_a_container_or_not() {
        for (argument, wanted) in [
            ("web:/etc", (Some("web"), "/etc")),
            ("web:etc:x", (Some("web"), "etc:x")),
            ("/tmp/a:b", (None, "/tmp/a:b")),
            ("./a:b", (None, "./a:b")),
            ("file", (None, "file")),
            ("-", (None, "-")),
        ] {
            assert_eq!(split(argument), wanted);
        }
    }

    #[test]
    fn copies_get_dockers_names() {
        let here = tempfile::tempdir().unwrap();
        let directory = here.path().to_owned();
        let file = here.path().join("file");
        let fresh = here.path().join("fresh");
        std::fs::write(&file, "").unwrap();
        let source = |directory, contents| Source {
            directory,
            contents,
            name: None,
        };
        let named = |target: &Path, contents| Place::As {
            target: target.to_owned(),
            contents,
        };
        for (from, to, slash, wanted) in [
            (
                source(false, false),
                &directory,
                false,
                Ok(Place::Into(directory.clone())),
            ),
            (
                source(true, true),
                &directory,
                false,
                Ok(Place::Into(directory.clone())),
            ),
            (source(false, false), &file, false, Ok(named(&file, false))),
            (
                source(true, false),
                &file,
                false,
                Err("cannot copy directory"),
            ),
            (source(true, false), &fresh, true, Ok(named(&fresh, false))),
            (source(true, true), &fresh, false, Ok(named(&fresh, true))),
            (
                source(false, false),
                &fresh,
                false,
                Ok(named(&fresh, false)),
            ),
            (source(false, false), &fresh, true, Err("no such directory")),
        ] {
            assert_eq!(place(&from, to, slash), wanted, "{from:?} {to:?}");
        }
    }

    #[test]
    fn paths_of_containers() {
        assert_eq!(rooted("a/b"), "/a/b");
        assert_eq!(split_path("/a/b/"), ("/a/".to_owned(), "b".to_owned()));
        assert_eq!(split_path("/"), ("/".to_owned(), String::new()));
        assert_eq!(beside("/a/link", "x/y"), "/a/x/y");
        assert_eq!(beside("/a/link", "/x"), "/x");
        assert_eq!(last_name("/a/."), None);
    }
}
