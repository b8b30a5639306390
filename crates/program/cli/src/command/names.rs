//! Which command a command line names: ours, one of Docker's that is not built, or none.

use std::fmt::Write as _;

use super::table::{COMMANDS, GROUPS, UNBUILT, Verb};

/// What a command line names.
#[derive(Debug, PartialEq, Eq)]
pub enum Named {
    /// A command.
    Command(Found),
    /// A list of commands, to be printed.
    Help(String),
}

/// A command that was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The command.
    pub verb: Verb,
    /// The words it was called by.
    pub invoked: String,
    /// How many words those are.
    pub taken: usize,
}

/// Finds the command that the words behind `berth` name.
///
/// # Errors
/// There is no such command, or it is not built; the sentence to show.
pub fn find(words: &[String]) -> Result<Named, String> {
    let Some(first) = words.first() else {
        return Ok(Named::Help(overview()));
    };
    if first == "help" {
        return match words.get(1) {
            None => Ok(Named::Help(overview())),
            Some(_) => Err("berth: put --help behind the command instead".to_owned()),
        };
    }
    if let Some((name, about)) = GROUPS.iter().find(|(name, _)| name == first) {
        return in_group(name, about, words);
    }
    command(words, 1)
}

fn in_group(name: &str, about: &str, words: &[String]) -> Result<Named, String> {
    match words.get(1).map(String::as_str) {
        None | Some("--help") => Ok(Named::Help(group(name, about))),
        Some(_) => command(words, 2),
    }
}

fn command(words: &[String], taken: usize) -> Result<Named, String> {
    let invoked = words.get(..taken).unwrap_or_default().join(" ");
    if let Some((_, verb, _)) = COMMANDS.iter().find(|(name, ..)| *name == invoked) {
        return Ok(Named::Command(Found {
            verb: *verb,
            invoked,
            taken,
        }));
    }
    if UNBUILT.contains(&invoked.as_str()) {
        return Err(format!(
            "berth: '{invoked}' is not built yet.\nSee 'berth --help' for what is"
        ));
    }
    let parent = match words.first() {
        Some(group) if taken == 2 => format!("berth {group}"),
        _ => "berth".to_owned(),
    };
    Err(format!(
        "berth: '{invoked}' is not a berth command.\nSee '{parent} --help'"
    ))
}

/// The text of `berth --help`.
fn overview() -> String {
    let mut text =
        "Usage:  berth [OPTIONS] COMMAND\n\nA container engine for classrooms, with the \
                    commands of Docker\n\nManagement Commands:\n"
            .to_owned();
    for (name, about) in GROUPS {
        let _ = writeln!(text, "  {name:<11} {about}");
    }
    text.push_str("\nCommands:\n");
    for (name, _, about) in COMMANDS.iter().filter(|(name, ..)| !name.contains(' ')) {
        let _ = writeln!(text, "  {name:<11} {about}");
    }
    text.push_str(concat!(
        "\nGlobal Options:\n",
        "      --config string      Location of client config files\n",
        "  -c, --context string     Name of the context to use to connect to the engine\n",
        "  -D, --debug              Enable debug mode\n",
        "  -H, --host list          Socket of the engine to connect to\n",
        "  -l, --log-level string   Set the logging level (\"debug\", \"info\", \"warn\", \"error\", ",
        "\"fatal\") (default \"info\")\n",
        "  -v, --version            Print version information and quit\n",
        "\nThe engine is found by --context, -H, BERTH_HOST, DOCKER_HOST, the current context, ",
        "or at\nunix:///run/berth/berth.sock, in this order.\n",
        "\nRun 'berth COMMAND --help' for more information on a command.\n",
    ));
    text
}

fn group(name: &str, about: &str) -> String {
    let mut text = format!("Usage:  berth {name} COMMAND\n\n{about}\n\nCommands:\n");
    for (words, _, about) in COMMANDS.iter().filter(|(_, _, about)| !about.is_empty()) {
        if let Some(verb) = words
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(' '))
        {
            let _ = writeln!(text, "  {verb:<11} {about}");
        }
    }
    let _ = write!(
        text,
        "\nRun 'berth {name} COMMAND --help' for more information on a command.\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(line: &str) -> Result<Named, String> {
        find(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn every_way_to_call_a_command_leads_to_it() {
        for (line, verb, taken) in [
            ("ps -a", Verb::Ps, 1),
            ("container ls", Verb::Ps, 2),
            ("image inspect x", Verb::InspectImage, 2),
            ("system fsck", Verb::Fsck, 2),
            ("debug tasks", Verb::Tasks, 2),
            ("lab allocate x", Verb::Lab, 1),
        ] {
            match named(line) {
                Ok(Named::Command(found)) => assert_eq!((found.verb, found.taken), (verb, taken)),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn unbuilt_and_unknown_are_told_apart() {
        assert!(
            named("build x")
                .unwrap_err()
                .starts_with("berth: 'build' is not built yet")
        );
        assert!(
            named("image push x")
                .unwrap_err()
                .contains("'image push' is not built")
        );
        assert_eq!(
            named("bogus").unwrap_err(),
            "berth: 'bogus' is not a berth command.\nSee 'berth --help'"
        );
        assert_eq!(
            named("image bogus").unwrap_err(),
            "berth: 'image bogus' is not a berth command.\nSee 'berth image --help'"
        );
        assert!(matches!(named("container"), Ok(Named::Help(_))));
        assert!(matches!(named(""), Ok(Named::Help(_))));
    }
}
