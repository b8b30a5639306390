//! `berth-lab`: the verbs of `berth lab`, which give every name of a list a box of its own.
//!
//! A list is read and checked as a whole ([`list`]), what is to be done is decided from what is
//! there ([`plan`], pure), then done ([`execute`]) and reported ([`report`]). The engine's API is
//! all it uses.

mod execute;
mod list;
mod plan;
mod report;
mod seat;

use std::io::{self, Read, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use berth_api::client::{Client, endpoint};
use clap::{Args, Parser};

use seat::Offer;

/// The most bytes of a list.
const LIST_BYTES_MAX: u64 = 4 << 20;

/// The verbs that are planned and not built.
const UNBUILT: [&str; 12] = [
    "apply", "check", "collect", "exam", "fork", "join", "open", "push", "replay", "reset",
    "status", "watch",
];

/// Give every name of a list a box of its own
#[derive(Debug, Parser)]
#[command(name = "berth lab", bin_name = "berth lab", version)]
enum Verb {
    /// Make and start one box per name of a list; boxes that are there already are kept
    ///
    /// A box is a container named exactly as the name, without a network, with limits, labelled
    /// `berth.lab` and `berth.lab.seat`. Its first process is `sleep infinity` whatever the
    /// image's own command is: a shell would end at once without a terminal.
    Allocate(Allocate),
    /// Remove the boxes of a list, and nothing that is not a box of this lab
    Deallocate(Deallocate),
}

#[derive(Debug, Args)]
struct Class {
    /// File with a name a line; '-' for standard input; '#' begins a comment
    #[arg(value_name = "LIST")]
    list: String,
    /// Name of the lab [default: the list's file name without its ending]
    #[arg(long, value_name = "NAME")]
    lab: Option<String>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Allocate {
    #[command(flatten)]
    class: Class,
    /// Image that the boxes are made from
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// Memory of each box, such as 512m or 2g
    #[arg(long, value_name = "BYTES", default_value = "512m", value_parser = memory)]
    memory: i64,
    /// CPUs of each box, such as 1 or 0.5
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = nano_cpus)]
    cpus: i64,
    /// Processes and threads of each box
    #[arg(long, value_name = "NUMBER", default_value_t = 256,
          value_parser = clap::value_parser!(i64).range(1..=4_194_304))]
    pids: i64,
}

#[derive(Debug, Args)]
struct Deallocate {
    #[command(flatten)]
    class: Class,
}

fn memory(text: &str) -> Result<i64, String> {
    let bytes = berth_types::parse_size(text).map_err(|e| e.to_string())?;
    i64::try_from(bytes)
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("impossible size {text:?}"))
}

/// CPUs in billionths, from a decimal number of at most three places.
fn nano_cpus(text: &str) -> Result<i64, String> {
    let fail = || format!("{text:?} is no number of CPUs: expected one like 1, 2 or 0.5");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 || whole.len() > 6 {
        return Err(fail());
    }
    let milli: i64 = format!("{whole}{fraction:0<3}")
        .parse()
        .map_err(|_| fail())?;
    if milli > 0 {
        Ok(milli * 1_000_000)
    } else {
        Err(fail())
    }
}

fn main() -> ExitCode {
    if let Some(verb) = std::env::args()
        .nth(1)
        .filter(|v| UNBUILT.contains(&v.as_str()))
    {
        let _ = writeln!(
            io::stderr(),
            "berth: 'lab {verb}' is not built yet.\nSee 'berth lab --help' for what is"
        );
        return ExitCode::FAILURE;
    }
    match run(Verb::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // There is no better place to tell that standard error is gone.
            let _ = writeln!(io::stderr(), "berth: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything went well.
fn run(verb: Verb) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match verb {
        Verb::Allocate(flags) => {
            let (lab, names) = flags.class.read()?;
            let offer = Offer {
                lab,
                image: flags.image,
                memory: flags.memory,
                nano_cpus: flags.cpus,
                pids: flags.pids,
            };
            let results = runtime
                .block_on(async { execute::allocate(&connect().await?, names, offer).await })?;
            let text = match flags.class.json {
                true => report::seats_json(&results),
                false => report::seats(&results),
            };
            tell(&text, &results)
        }
        Verb::Deallocate(flags) => {
            let (lab, names) = flags.class.read()?;
            let results = runtime
                .block_on(async { execute::deallocate(&connect().await?, names, &lab).await })?;
            let text = match flags.class.json {
                true => report::removals_json(&results),
                false => report::removals(&results),
            };
            tell(&text, &results)
        }
    }
}

async fn connect() -> Result<Client> {
    let endpoint = endpoint::discover_here(&endpoint::Wish::default())?;
    Ok(Client::connect(&endpoint.host).await?)
}

/// Prints the report, then every failure; whether there was none.
fn tell<T>(text: &str, results: &[report::Result<T>]) -> Result<bool> {
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write the report")?;
    let mut fine = true;
    for (name, result) in results {
        if let Err(reason) = result {
            fine = false;
            writeln!(io::stderr(), "{name}: {reason}").context("cannot write the report")?;
        }
    }
    Ok(fine)
}

impl Class {
    /// The lab's name and the names of the list, checked before anything is touched.
    fn read(&self) -> Result<(String, Vec<String>)> {
        let lab = self.lab()?;
        let mut text = String::new();
        let source: Box<dyn Read> = match self.list.as_str() {
            "-" => Box::new(io::stdin()),
            path => Box::new(
                std::fs::File::open(path)
                    .with_context(|| format!("cannot open the list {path}"))?,
            ),
        };
        source
            .take(LIST_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .with_context(|| format!("cannot read the list {} as UTF-8 text", self.list))?;
        if text.len() as u64 > LIST_BYTES_MAX {
            bail!(
                "the list {} has more than {LIST_BYTES_MAX} bytes",
                self.list
            );
        }
        let names = list::parse(&text).map_err(|mistakes| {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(
                "the list {} is wrong, nothing was done:\n  {}",
                self.list,
                lines.join("\n  ")
            )
        })?;
        if names.is_empty() {
            bail!("the list {} holds no name", self.list);
        }
        Ok((lab, names))
    }

    fn lab(&self) -> Result<String> {
        let lab = match (&self.lab, self.list.as_str()) {
            (Some(lab), _) => lab.clone(),
            (None, "-") => bail!("a list from standard input has no name: name the lab with --lab"),
            (None, path) => {
                let stem = Path::new(path).file_stem().and_then(|s| s.to_str());
                stem.unwrap_or_default().to_owned()
            }
        };
        list::check_name(&lab).map_err(|reason| {
            anyhow::anyhow!("the lab's name is impossible: {reason}; name it with --lab")
        })?;
        Ok(lab)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_and_memory() {
        for (text, wanted) in [
            ("1", Some(1_000_000_000)),
            ("0.5", Some(500_000_000)),
            (".25", Some(250_000_000)),
            ("0", None),
            ("-1", None),
            ("x", None),
            ("", None),
            ("1.0001", None),
        ] {
            assert_eq!(nano_cpus(text).ok(), wanted, "{text}");
        }
        assert_eq!(memory("512m"), Ok(512 << 20));
        assert!(memory("0").is_err());
    }

    #[test]
    fn the_lab_is_named_after_its_list() {
        let class = |list: &str, lab: Option<&str>| Class {
            list: list.to_owned(),
            lab: lab.map(str::to_owned),
            json: false,
        };
        assert_eq!(class("/x/class.txt", None).lab().unwrap(), "class");
        assert_eq!(class("/x/class.txt", Some("go")).lab().unwrap(), "go");
        assert_eq!(class("-", Some("go")).lab().unwrap(), "go");
        assert!(class("-", None).lab().is_err());
        assert!(class("my class.txt", None).lab().is_err());
    }

    #[test]
    fn a_wrong_list_is_refused_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("class.txt");
        let read = |text: &[u8]| {
            std::fs::write(&path, text).unwrap();
            let list = path.to_str().unwrap().to_owned();
            Class {
                list,
                lab: None,
                json: false,
            }
            .read()
            .map_err(|e| format!("{e:#}"))
        };
        assert_eq!(read(b"aa\r\nbb").unwrap().1, ["aa", "bb"]);
        let wrong = read(b"aa\n-b\naa\n").unwrap_err();
        assert!(
            wrong.contains("line 2") && wrong.contains("line 3"),
            "{wrong}"
        );
        assert!(read(b"# nobody\n").unwrap_err().contains("holds no name"));
        assert!(read(b"\xff\xfe").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Verb::command().debug_assert();
        let parsed =
            Verb::try_parse_from(["lab", "allocate", "x.txt", "--image", "i", "--pids", "0"]);
        assert!(parsed.is_err());
    }
}
