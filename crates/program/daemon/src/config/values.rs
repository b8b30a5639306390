//! Raw options: what was typed, by flag name, with where it came from.

use std::collections::BTreeMap;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;

use super::ConfigError;
use super::options::{Kind, OPTIONS, Opt};

/// Values by option name: the flag, or the key where there is no flag.
#[derive(Debug, Default)]
pub struct Values(BTreeMap<&'static str, Vec<String>>);

fn name(option: &Opt) -> &'static str {
    if option.flag.is_empty() {
        option.key
    } else {
        option.flag
    }
}

/// The command line that the table describes.
pub fn command() -> Command {
    let mut command = Command::new("berthd")
        .about("The Berth container engine")
        .version(concat!("version ", env!("CARGO_PKG_VERSION")))
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .short('v')
                .long("version")
                .action(ArgAction::Version)
                .help("Print the version and quit"),
        );
    for option in OPTIONS.iter().filter(|o| !o.flag.is_empty()) {
        let mut arg = Arg::new(option.flag).long(option.flag).hide(true);
        if matches!(option.used, super::options::Use::Built) {
            arg = arg.hide(false);
        }
        if let Some(letter) = option.short {
            arg = arg.short(letter);
        }
        arg = match option.kind {
            Kind::Bool => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .overrides_with(option.flag),
            Kind::Text => arg.action(ArgAction::Set).overrides_with(option.flag),
            Kind::List | Kind::Map => arg.action(ArgAction::Append),
        };
        command = command.arg(arg);
    }
    command
}

impl Values {
    /// What the command line gave.
    pub fn from_flags(matches: &ArgMatches) -> Self {
        let mut values = BTreeMap::new();
        for option in OPTIONS.iter().filter(|o| !o.flag.is_empty()) {
            if matches.value_source(option.flag) == Some(ValueSource::CommandLine) {
                let given = matches
                    .get_many::<String>(option.flag)
                    .into_iter()
                    .flatten();
                values.insert(name(option), given.cloned().collect());
            }
        }
        Self(values)
    }

    /// What the configuration file gives. An empty file is an empty object.
    pub fn from_json(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let json: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
        let Value::Object(members) = json else {
            return Err("expected a JSON object with options in it".to_owned());
        };
        let mut values = BTreeMap::new();
        let mut unknown = Vec::new();
        for (key, value) in &members {
            match OPTIONS.iter().find(|o| !o.key.is_empty() && o.key == key) {
                Some(option) => {
                    values.insert(name(option), flatten(option, value)?);
                }
                None => unknown.push(key.as_str()),
            }
        }
        if !unknown.is_empty() {
            return Err(format!(
                "the following directives don't match any configuration option: {}",
                unknown.join(", ")
            ));
        }
        Ok(Self(values))
    }

    /// Adds the file's values to those of the command line.
    pub fn merge(&mut self, file: Self) -> Result<(), String> {
        let both: Vec<&str> = file
            .0
            .keys()
            .filter(|key| self.0.contains_key(*key))
            .copied()
            .collect();
        if !both.is_empty() {
            return Err(format!(
                "the following directives are specified both as a flag and in the configuration file: {}",
                both.join(", ")
            ));
        }
        self.0.extend(file.0);
        Ok(())
    }

    /// The options that were given.
    pub fn given(&self) -> impl Iterator<Item = &'static Opt> + '_ {
        OPTIONS.iter().filter(|o| self.0.contains_key(name(o)))
    }

    /// One text.
    pub fn text(&self, option: &str) -> Option<&str> {
        self.0.get(option)?.last().map(String::as_str)
    }

    /// All values of a repeated option.
    pub fn list(&self, option: &str) -> Vec<String> {
        self.0.get(option).cloned().unwrap_or_default()
    }

    /// `name=value` pairs.
    pub fn map(&self, option: &str) -> Result<BTreeMap<String, String>, ConfigError> {
        let pair = |entry: &String| match entry.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(ConfigError::Value(format!(
                "{option}: {entry:?} is not of the form name=value"
            ))),
        };
        self.0.get(option).into_iter().flatten().map(pair).collect()
    }

    /// A switch.
    pub fn bool(&self, option: &str) -> Result<Option<bool>, ConfigError> {
        let Some(text) = self.text(option) else {
            return Ok(None);
        };
        match text {
            "true" | "1" | "t" | "T" | "TRUE" | "True" => Ok(Some(true)),
            "false" | "0" | "f" | "F" | "FALSE" | "False" => Ok(Some(false)),
            _ => Err(ConfigError::Value(format!(
                "{option}: {text:?} is not true or false"
            ))),
        }
    }
}

fn flatten(option: &Opt, value: &Value) -> Result<Vec<String>, String> {
    let shape = |expected| format!("directive {:?}: expected {expected}", option.key);
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(switch) => Some(switch.to_string()),
        _ => None,
    };
    match (option.kind, value) {
        (Kind::Bool, Value::Bool(switch)) => Ok(vec![switch.to_string()]),
        (Kind::Bool, _) => Err(shape("true or false")),
        (Kind::Text, value) => scalar(value)
            .map(|v| vec![v])
            .ok_or_else(|| shape("a text")),
        (Kind::List, Value::Array(items)) => items
            .iter()
            .map(|item| scalar(item).or_else(|| Some(item.to_string())))
            .collect::<Option<_>>()
            .ok_or_else(|| shape("a list of texts")),
        (Kind::List, _) => Err(shape("a list of texts")),
        (Kind::Map, Value::Object(members)) => Ok(members
            .iter()
            .map(|(key, v)| format!("{key}={}", scalar(v).unwrap_or_else(|| v.to_string())))
            .collect()),
        (Kind::Map, _) => Err(shape("an object")),
    }
}
