//! What can be typed.

use clap::{Args, Parser};

/// Give every name of a list a box of its own
#[derive(Debug, Parser)]
#[command(name = "berth lab", bin_name = "berth lab", version)]
pub enum Verb {
    /// Make and start one box per name of a list; boxes that are there already are kept
    ///
    /// A box is a container named exactly as the name, with a terminal, limits, and a shell that
    /// is started anew whenever it ends. It belongs to its lab and is labelled `berth.lab` and
    /// `berth.lab.seat`. Interrupted and run again, it finishes.
    Allocate(Allocate),
    /// Show the boxes: who, state, CPU, memory, last activity
    Status(Status),
    /// Open the shell of a box on this terminal; Ctrl-P Ctrl-Q leaves it
    ///
    /// A box that is stopped is started. `exit` ends the shell and never the box's files; the
    /// next opening finds a new one.
    Open(Open),
    /// See the screen of a box, read only, with a line on theirs saying so; `q` leaves
    Watch(Look),
    /// See the screen of a box and type with its owner; Ctrl-P Ctrl-Q leaves
    Join(Look),
    /// Remove the boxes of a list, or all, and nothing that is not a box of a lab
    Deallocate(Deallocate),
}

/// `allocate`.
#[derive(Debug, Args)]
pub struct Allocate {
    /// File with a name a line; '-' for standard input; '#' begins a comment
    #[arg(value_name = "LIST")]
    pub list: String,
    /// Name of the lab [default: the list's file name without its ending]
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
    /// Image that the boxes are made from
    #[arg(long, value_name = "IMAGE")]
    pub image: String,
    /// Memory of each box, such as 512m or 2g
    #[arg(long, value_name = "BYTES", default_value = "512m", value_parser = memory)]
    pub memory: i64,
    /// CPUs of each box, such as 1 or 0.5
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = nano_cpus)]
    pub cpus: i64,
    /// Processes and threads of each box
    #[arg(long, value_name = "NUMBER", default_value_t = 256,
          value_parser = clap::value_parser!(i64).range(1..=4_194_304))]
    pub pids: i64,
    /// Network of the boxes: 'default', or 'none' for no network at all
    #[arg(long, value_name = "NETWORK", default_value = "default",
          value_parser = ["default", "bridge", "none"])]
    pub network: String,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `deallocate`.
#[derive(Debug, Args)]
pub struct Deallocate {
    /// File with a name a line; '-' for standard input
    #[arg(value_name = "LIST", required_unless_present = "all")]
    pub list: Option<String>,
    /// Every box of every lab, or of the one that --lab names
    #[arg(long, conflicts_with = "list")]
    pub all: bool,
    /// Name of the lab [default: the list's file name without its ending]
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Only the boxes of this lab
    #[arg(value_name = "LAB")]
    pub lab: Option<String>,
    /// Show it again and again until interrupted
    #[arg(long)]
    pub watch: bool,
    /// Print JSON instead of a table; with --watch one document a line
    #[arg(long)]
    pub json: bool,
}

/// `open`.
#[derive(Debug, Args)]
pub struct Open {
    /// Whose box
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Keys that leave the box as it is, as docker's --detach-keys
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,
}

/// `watch` and `join`.
#[derive(Debug, Args)]
pub struct Look {
    /// Whose box
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Who looks, for the line on their screen
    #[arg(long = "as", value_name = "WHO", default_value = "the trainer")]
    pub who: String,
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
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Verb::command().debug_assert();
        for (words, fine) in [
            (
                &["allocate", "x.txt", "--image", "i", "--pids", "0"][..],
                false,
            ),
            (&["allocate", "x.txt"], false),
            (&["deallocate"], false),
            (&["deallocate", "--all"], true),
            (&["deallocate", "--all", "--lab", "go"], true),
            (&["deallocate", "--all", "x.txt"], false),
            (&["status", "--watch", "--json"], true),
            (&["open"], false),
            (&["watch", "ann", "--as", "Bo"], true),
        ] {
            let parsed = Verb::try_parse_from(["lab"].iter().chain(words));
            assert_eq!(parsed.is_ok(), fine, "{words:?}");
        }
    }
}
