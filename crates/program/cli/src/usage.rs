//! Reading a command line, and Docker's words for one that cannot be read.
//!
//! clap does the reading. The rules are those of Docker's flag library, where they differ: a
//! switch takes `=true` and `=false`, an option's value may begin with a dash, the last of a
//! repeated option counts, and only `--help` asks for help.

use std::error::Error as _;
use std::fmt::Write as _;

use clap::builder::{ArgAction, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Args, Command};

use crate::exit::{Exit, FAILED, NOT_RUN};

/// How many arguments a command takes beside its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// None at all.
    None,
    /// One.
    One,
    /// One or more.
    Some,
    /// One or two.
    OneOrTwo,
    /// One or two, which is said in one sentence.
    FromOneToTwo,
    /// Two.
    Two,
    /// Two or more.
    TwoOrMore,
    /// None or one.
    Optional,
    /// Any number.
    Any,
}

/// The words that describe one command.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// What follows the command's name, such as `[OPTIONS] CONTAINER`.
    pub synopsis: &'static str,
    /// One line on what it does.
    pub about: &'static str,
    /// Every way to call it, if there is more than one.
    pub aliases: &'static str,
    /// How many arguments it takes; they are the field `arguments` of its flags.
    pub arity: Arity,
}

/// The width at which the text of an option begins on the next line instead.
const HELP_COLUMN_MAX: usize = 36;

impl Usage {
    /// Reads `args` (behind the name), called by the user as `invoked`, such as `container ls`.
    ///
    /// # Errors
    /// The command line is wrong, or asked for help, which was then printed.
    pub fn parse<A: Args>(&self, invoked: &str, args: &[String]) -> Result<A, Exit> {
        let mut command = command::<A>();
        let matches = match command.try_get_matches_from_mut(args) {
            Ok(matches) => matches,
            Err(e) if e.kind() == ErrorKind::DisplayHelp => {
                crate::say::out(&self.help(invoked, &command));
                return Err(Exit::silent(0));
            }
            Err(e) => return Err(self.wrong(invoked, NOT_RUN, &sentence(&e, &command, args))),
        };
        let given = matches
            .try_get_raw("arguments")
            .ok()
            .flatten()
            .map_or(0, clap::parser::RawValues::count);
        self.check_arity(invoked, given)?;
        A::from_arg_matches(&matches).map_err(|e| Exit::failed(e.to_string()))
    }

    /// A mistake in the command line: the sentence, then how to call the command.
    pub fn wrong(&self, invoked: &str, code: u8, sentence: &str) -> Exit {
        self.wrong_ending(invoked, code, sentence, "Run")
    }

    fn wrong_ending(&self, invoked: &str, code: u8, sentence: &str, verb: &str) -> Exit {
        let name = full_name(invoked);
        let message = format!(
            "{sentence}\n\nUsage:  {}\n\n{verb} '{name} --help' for more information",
            self.line(invoked)
        );
        Exit { code, message }
    }

    fn line(&self, invoked: &str) -> String {
        format!("{} {}", full_name(invoked), self.synopsis)
            .trim_end()
            .to_owned()
    }

    fn check_arity(&self, invoked: &str, given: usize) -> Result<(), Exit> {
        let (wanted, verb) = match (self.arity, given) {
            (Arity::None, 1..) => ("accepts no arguments", "Run"),
            (Arity::One, 0 | 2..) => ("requires 1 argument", "Run"),
            (Arity::Some, 0) => ("requires at least 1 argument", "See"),
            (Arity::OneOrTwo, 0) => ("requires at least 1 argument", "See"),
            (Arity::OneOrTwo, 3..) => ("requires at most 2 arguments", "Run"),
            (Arity::FromOneToTwo, 0 | 3..) => {
                ("requires at least 1 and at most 2 arguments", "Run")
            }
            (Arity::Two, 0..=1 | 3..) => ("requires 2 arguments", "Run"),
            (Arity::TwoOrMore, 0..=1) => ("requires at least 2 arguments", "See"),
            (Arity::Optional, 2..) => ("requires at most 1 argument", "Run"),
            _ => return Ok(()),
        };
        let sentence = format!("berth: '{}' {wanted}", full_name(invoked));
        Err(self.wrong_ending(invoked, FAILED, &sentence, verb))
    }

    /// The text of `--help`, laid out as Docker's.
    fn help(&self, invoked: &str, command: &Command) -> String {
        let mut text = format!("Usage:  {}\n\n{}\n", self.line(invoked), self.about);
        if !self.aliases.is_empty() {
            let _ = write!(text, "\nAliases:\n  {}\n", self.aliases);
        }
        let options = options_help(command);
        if !options.is_empty() {
            let _ = write!(text, "\nOptions:\n{options}");
        }
        text
    }
}

fn full_name(invoked: &str) -> String {
    if invoked.is_empty() {
        "berth".to_owned()
    } else {
        format!("berth {invoked}")
    }
}

/// The parser of a command's flags, with Docker's rules.
pub fn command<A: Args>() -> Command {
    let command = A::augment_args(Command::new("berth"))
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .arg(
            Arg::new("help")
                .long("help")
                .action(ArgAction::Help)
                .help("Print usage"),
        );
    command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => switch(arg, "false"),
        ArgAction::SetFalse => switch(arg, "true"),
        ArgAction::Set | ArgAction::Append if !arg.is_positional() => arg.allow_hyphen_values(true),
        _ => arg,
    })
}

/// A switch as Docker has them: `--rm`, `--rm=false`.
fn switch(arg: Arg, default: &'static str) -> Arg {
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_name("")
        .default_value(default)
        .default_missing_value("true")
        .value_parser(ValueParser::new(crate::options::value::switch))
}

fn options_help(command: &Command) -> String {
    let mut options: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_positional() && !arg.is_hide_set() && arg.get_id() != "help")
        .collect();
    options.sort_by_key(|arg| arg.get_long());
    let rows: Vec<(String, String)> = options.iter().map(|arg| option_help(arg)).collect();
    let width = rows
        .iter()
        .map(|(left, _)| left.len())
        .max()
        .unwrap_or(0)
        .min(HELP_COLUMN_MAX)
        + 3;
    let mut text = String::new();
    for (left, right) in rows {
        let right = right.replace('\n', &format!("\n{:width$}", ""));
        let _ = writeln!(text, "{left:width$}{right}");
    }
    text
}

fn option_help(arg: &Arg) -> (String, String) {
    let long = arg.get_long().unwrap_or_default();
    let mut left = match arg.get_short() {
        Some(short) => format!("  -{short}, --{long}"),
        None => format!("      --{long}"),
    };
    if let Some(kind) = arg.get_value_names().and_then(|names| names.first())
        && !kind.is_empty()
    {
        let _ = write!(left, " {kind}");
    }
    (
        left,
        arg.get_help().map(ToString::to_string).unwrap_or_default(),
    )
}

/// Docker's sentence for what clap found wrong.
fn sentence(error: &clap::Error, command: &Command, args: &[String]) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let flag = text(ContextKind::InvalidArg);
    let name = flag.split([' ', '=', '[']).next().unwrap_or(flag);
    let value = text(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument if name.starts_with("--") => format!("unknown flag: {name}"),
        ErrorKind::UnknownArgument if name.starts_with('-') => {
            let letter = name.chars().nth(1).unwrap_or('-');
            let typed = args.iter().find(|a| is_shorthand_group(a, letter));
            let typed = typed.map_or(name, String::as_str);
            format!("unknown shorthand flag: '{letter}' in {typed}")
        }
        ErrorKind::InvalidValue if value.is_empty() => match args.last() {
            Some(last) if last.starts_with('-') && !last.starts_with("--") => {
                let letter = last.chars().last().unwrap_or('-');
                format!("flag needs an argument: '{letter}' in {last}")
            }
            _ => format!("flag needs an argument: {name}"),
        },
        ErrorKind::ValueValidation => {
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            format!(
                "invalid argument \"{value}\" for \"{}\" flag: {reason}",
                both(name, command)
            )
        }
        _ => error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .replace("error: ", ""),
    }
}

fn is_shorthand_group(arg: &str, letter: char) -> bool {
    arg.strip_prefix('-')
        .is_some_and(|rest| !rest.starts_with('-') && rest.contains(letter))
}

/// `-m, --memory` for `--memory`.
fn both(long: &str, command: &Command) -> String {
    let found = command
        .get_arguments()
        .find(|arg| arg.get_long() == long.strip_prefix("--"));
    match found.and_then(Arg::get_short) {
        Some(short) => format!("-{short}, {long}"),
        None => long.to_owned(),
    }
}
