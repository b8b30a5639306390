//! `berth image bootstrap`: a base image without a registry.

use std::io::{self, BufWriter, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use berth_api::client::ImportOptions;
use berth_bootstrap::{BootstrapError, Host, Release, Report, distribution};
use clap::Args;

use super::archive::Blocking;
use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::say::{complain, say};
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS]",
    about: "Make a base image from this machine's packages (Debian, Ubuntu and their relatives)",
    aliases: "",
    arity: Arity::None,
};

/// How many left out files are named.
const NAMED: usize = 5;
/// Bytes that are handed on at a time.
const CHUNK_BYTES: usize = 256 << 10;

#[derive(Debug, Args)]
struct Flags {
    /// 'host': from what is installed here, without a download;
    /// 'archive': from this machine's package sources, by mmdebstrap or debootstrap
    #[arg(long, value_name = "string", default_value = "host")]
    from: String,
    /// Packages to have beside the essential ones and what they need, separated by commas
    #[arg(long, value_name = "list", value_delimiter = ',')]
    packages: Vec<String>,
    /// Name and tag of the image (default: the system's name with the tag 'host' or 'archive')
    #[arg(long, short = 't', value_name = "string")]
    tag: Option<String>,
    /// Release to make with '--from archive' (default: this machine's)
    #[arg(long, value_name = "string")]
    suite: Option<String>,
    /// Take another root file system for the machine
    #[arg(long, value_name = "string", hide = true)]
    root: Option<PathBuf>,
    arguments: Vec<String>,
}

/// What became of the making, told beside the archive.
type Told = Arc<Mutex<Option<Result<Report, BootstrapError>>>>;

/// Makes the image, has the engine import it, and prints its id.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let root = flags.root.clone().unwrap_or_else(|| PathBuf::from("/"));
    let host = Host::open(&root).map_err(|e| failed(&e))?;
    let release = host.release().clone();
    let told = Told::default();
    let archive = match flags.from.as_str() {
        "host" if flags.suite.is_some() => {
            let sentence = "'--suite' goes with '--from archive': the host has one release";
            return Err(super::misuse(&USAGE, invoked, sentence));
        }
        "host" => from_host(host, &flags, Arc::clone(&told)).map_err(|e| failed(&e))?,
        "archive" => from_archive(&release, &flags, Arc::clone(&told)).map_err(|e| failed(&e))?,
        _ => {
            let sentence = "'--from' takes 'host' or 'archive'";
            return Err(super::misuse(&USAGE, invoked, sentence));
        }
    };
    let default = || format!("{}:{}", word(&release.id), flags.from);
    let options = ImportOptions {
        repo: flags.tag.clone().unwrap_or_else(default),
        message: format!("bootstrapped from {}", flags.from),
        changes: changes(&release, &flags),
        ..ImportOptions::default()
    };
    complain!(
        "making {} from {}, {}",
        options.repo,
        flags.from,
        release.name
    );
    let sent = send(context, archive, &options).await;
    let result = told.lock().unwrap_or_else(PoisonError::into_inner).take();
    // The engine only sees that the archive broke off; why, is known here.
    let report = result.transpose().map_err(|e| failed(&e))?;
    let id = sent?;
    if let Some(report) = report.filter(|_| flags.from == "host") {
        tell(&report);
    }
    say!("{id}");
    Ok(0)
}

async fn send(
    context: &Context,
    archive: Archive,
    options: &ImportOptions,
) -> Result<String, Exit> {
    let client = context.client().await?;
    let images = client.images();
    let archive = Blocking::new(Box::new(archive));
    let sent = images.import(archive, options).await;
    let mut progress = sent.map_err(|e| refused(&e))?;
    let mut id = String::new();
    while let Some(message) = progress.next().await.map_err(|e| refused(&e))? {
        if let Some(failure) = message.failed() {
            return Err(Exit::failed(failure));
        }
        id = message.status.unwrap_or(id);
    }
    Ok(id)
}

fn from_host(host: Host, flags: &Flags, told: Told) -> Result<Archive, BootstrapError> {
    let (reader, writer) = io::pipe().map_err(BootstrapError::Write)?;
    let wanted = (!flags.packages.is_empty()).then(|| flags.packages.clone());
    let making = std::thread::spawn(move || {
        let out = BufWriter::with_capacity(CHUNK_BYTES, writer);
        host.write(wanted.as_deref(), out)
    });
    Ok(Archive {
        reader: Box::new(reader),
        ending: Some(Ending::Thread(making)),
        told,
    })
}

fn from_archive(release: &Release, flags: &Flags, told: Told) -> Result<Archive, BootstrapError> {
    let suite = flags.suite.as_deref().unwrap_or(&release.codename);
    if suite.is_empty() {
        return Err(BootstrapError::NoSuite(release.name.clone()));
    }
    let order = distribution::Order {
        suite: suite.to_owned(),
        packages: flags.packages.clone(),
    };
    let (reader, making) = distribution::make(release, &order)?;
    Ok(Archive {
        reader: Box::new(reader),
        ending: Some(Ending::Program(making)),
        told,
    })
}

/// An archive that is being made. It ends with an error where its making failed, so that nobody
/// takes the beginning for the whole.
struct Archive {
    reader: Box<dyn Read + Send>,
    ending: Option<Ending>,
    told: Told,
}

enum Ending {
    Thread(JoinHandle<Result<Report, BootstrapError>>),
    Program(distribution::Making),
}

impl Read for Archive {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(space)?;
        if read > 0 || space.is_empty() {
            return Ok(read);
        }
        let result = match self.ending.take() {
            None => return Ok(0),
            Some(Ending::Program(making)) => making.finish().map(|()| Report::default()),
            Some(Ending::Thread(making)) => making
                .join()
                .unwrap_or_else(|_| Err(BootstrapError::Write(io::ErrorKind::Other.into()))),
        };
        let broken = result.is_err();
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        if broken {
            return Err(io::Error::other("the making of the image failed"));
        }
        Ok(0)
    }
}

/// What the image says of itself and of its origin.
fn changes(release: &Release, flags: &Flags) -> Vec<String> {
    let system = match (flags.from.as_str(), &flags.suite) {
        ("archive", Some(suite)) => format!("{}-{}", word(&release.id), word(suite)),
        _ => format!("{}-{}", word(&release.id), word(&release.codename)),
    };
    vec![
        "CMD [\"/bin/bash\"]".to_owned(),
        format!("LABEL berth.bootstrap.from={}", flags.from),
        format!("LABEL berth.bootstrap.system={}", system.trim_matches('-')),
    ]
}

/// The letters and digits of a text, which need no quotes anywhere.
fn word(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '.')
        .collect()
}

/// What is in the image and what is not, on standard error.
fn tell(report: &Report) {
    const MIB: u64 = 1 << 20;
    let size = report.bytes.div_ceil(MIB);
    complain!("{} packages, {size} MiB", report.packages);
    left_out("changed since they were installed", &report.changed);
    left_out("changed configuration", &report.configuration);
    if report.unchecked > 0 {
        let files = report.unchecked;
        complain!("left out {files} files for which their packages have no checksum");
    }
    if report.reowned > 0 {
        let files = report.reowned;
        complain!("{files} files of users or groups made on this machine are root's in the image");
    }
    for need in &report.unmet {
        complain!("warning: {need}, which is not installed");
    }
}

fn left_out(why: &str, files: &[String]) {
    if !files.is_empty() {
        let named = files.iter().take(NAMED).map(String::as_str);
        let named = named.collect::<Vec<_>>().join(" ");
        let more = if files.len() > NAMED { " …" } else { "" };
        complain!("left out {} files, {why}: {named}{more}", files.len());
    }
}

fn failed(error: &BootstrapError) -> Exit {
    Exit::failed(format!("berth: {}", berth_types::chain(error)))
}
