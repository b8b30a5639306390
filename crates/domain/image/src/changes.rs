//! `--change`: Dockerfile instructions that alter an image's configuration. Pure.

use berth_types::oci::ImageDefaults;

use crate::error::ImageError;
use crate::{instructions, values, words};

/// Bytes of all changes together.
const CHANGES_MAX: usize = 256 << 10;
/// What runs the shell form of `CMD` and `ENTRYPOINT`.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Applies the instructions in order. One text may hold several lines.
///
/// # Errors
/// The first instruction that is wrong, or that Berth does not do.
pub(crate) fn apply(changes: &[String], config: &mut ImageDefaults) -> Result<(), ImageError> {
    if changes.iter().map(String::len).sum::<usize>() > CHANGES_MAX {
        return wrong(format!("the changes are longer than {CHANGES_MAX} bytes"));
    }
    let mut cmd_is_set = false;
    for instruction in instructions(&changes.join("\n")) {
        let (name, rest) = match instruction.split_once(char::is_whitespace) {
            Some((name, rest)) => (name, rest.trim()),
            None => (instruction.as_str(), ""),
        };
        apply_one(name, rest, config)?;
        cmd_is_set |= name.eq_ignore_ascii_case("CMD");
        if name.eq_ignore_ascii_case("ENTRYPOINT") && !cmd_is_set {
            // The command was made for another entry point.
            config.cmd = None;
        }
    }
    Ok(())
}

/// The instructions of a text: without comments and empty lines, and with continued lines joined.
fn instructions(text: &str) -> Vec<String> {
    let mut instructions = Vec::new();
    let mut open = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with('#') || (open.is_empty() && line.trim().is_empty()) {
            continue;
        }
        match line.trim_end().strip_suffix('\\') {
            Some(continued) => open.push_str(continued),
            None => {
                open.push_str(line);
                instructions.push(std::mem::take(&mut open).trim().to_owned());
            }
        }
    }
    if !open.trim().is_empty() {
        instructions.push(open.trim().to_owned());
    }
    instructions
}

fn apply_one(name: &str, rest: &str, config: &mut ImageDefaults) -> Result<(), ImageError> {
    let upper = name.to_ascii_uppercase();
    let known = [
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "LABEL",
        "USER",
        "WORKDIR",
        "STOPSIGNAL",
        "VOLUME",
        "SHELL",
    ];
    if known.contains(&upper.as_str()) {
        check_flags(rest)?;
    }
    match upper.as_str() {
        "CMD" => config.cmd = Some(command("CMD", rest, config)?),
        "ENTRYPOINT" => {
            let command = command("ENTRYPOINT", rest, config)?;
            config.entrypoint = (!command.is_empty()).then_some(command);
        }
        "ENV" => env(rest, config)?,
        "EXPOSE" => expose(rest, config)?,
        "LABEL" => {
            for (key, value) in pairs("LABEL", rest, config)? {
                config.labels.insert(key, value);
            }
        }
        "USER" => config.user = one("USER", rest, config)?,
        "WORKDIR" => {
            config.working_dir = values::working_dir(&one("WORKDIR", rest, config)?, config)?
        }
        "STOPSIGNAL" => config.stop_signal = values::stop_signal(one("STOPSIGNAL", rest, config)?)?,
        "VOLUME" => instructions::volume(rest, config)?,
        "SHELL" => config.shell = Some(instructions::shell(rest)?),
        "HEALTHCHECK" => config.healthcheck = Some(instructions::healthcheck(rest, config)?),
        "ONBUILD" => config.on_build.push(instructions::onbuild(rest)?),
        _ => return wrong(format!("{name} is not a valid change command")),
    }
    Ok(())
}

pub(crate) fn wrong<T>(message: String) -> Result<T, ImageError> {
    Err(ImageError::Change(message))
}

/// None of these instructions takes a flag, so one is a mistake.
fn check_flags(rest: &str) -> Result<(), ImageError> {
    match rest
        .split_whitespace()
        .next()
        .and_then(|word| word.strip_prefix("--"))
    {
        Some(flag) if !flag.is_empty() => wrong(format!(
            "unknown flag: --{}",
            flag.split('=').next().unwrap_or(flag)
        )),
        _ => Ok(()),
    }
}

/// A command in JSON form, or in shell form.
pub(crate) fn command(
    name: &str,
    rest: &str,
    config: &ImageDefaults,
) -> Result<Vec<String>, ImageError> {
    if rest.is_empty() {
        return wrong(format!("{name} requires at least one argument"));
    }
    if let Some(list) = json(rest)? {
        return Ok(list);
    }
    let mut command = match &config.shell {
        Some(shell) => shell.clone(),
        None => SHELL.map(str::to_owned).to_vec(),
    };
    command.push(rest.to_owned());
    Ok(command)
}

/// A JSON array of texts; nothing where the text is no JSON array, which is another form then.
pub(crate) fn json(rest: &str) -> Result<Option<Vec<String>>, ImageError> {
    if !rest.starts_with('[') {
        return Ok(None);
    }
    let Ok(list) = serde_json::from_str::<Vec<serde_json::Value>>(rest) else {
        return Ok(None);
    };
    let texts: Option<Vec<String>> = list
        .into_iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect();
    match texts {
        Some(texts) => Ok(Some(texts)),
        None => {
            wrong("when using JSON array syntax, arrays must be comprised of strings only".into())
        }
    }
}

/// A word with the variables that the configuration has by now.
pub(crate) fn expand(word: &str, config: &ImageDefaults) -> Result<String, ImageError> {
    words::expand(word, &|name| {
        let pair = config.env.iter().filter_map(|pair| pair.split_once('='));
        pair.filter(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
            .next()
    })
}

/// The whole rest as one argument.
fn one(name: &str, rest: &str, config: &ImageDefaults) -> Result<String, ImageError> {
    if rest.is_empty() {
        return wrong(format!("{name} requires exactly one argument"));
    }
    expand(rest, config)
}

/// `name=value …`, or the old form `name value`, in which the value reaches to the end.
fn pairs(
    name: &str,
    rest: &str,
    config: &ImageDefaults,
) -> Result<Vec<(String, String)>, ImageError> {
    let words = words::split(rest);
    let Some(first) = words.first() else {
        return wrong(format!("{name} requires at least one argument"));
    };
    let raw: Vec<(&str, &str)> = if first.contains('=') {
        let pair = |word: &'_ String| {
            ImageError::Change(format!(
                "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
            ))
        };
        words
            .iter()
            .map(|word| word.split_once('=').ok_or_else(|| pair(word)))
            .collect::<Result<_, _>>()?
    } else {
        match rest.split_once(char::is_whitespace) {
            Some((key, value)) => vec![(key, value.trim_start())],
            None => return wrong(format!("{name} must have two arguments")),
        }
    };
    raw.into_iter()
        .map(|(key, value)| {
            let key = expand(key, config)?;
            if key.is_empty() {
                return wrong(format!("{name} names can not be blank"));
            }
            Ok((key, expand(value, config)?))
        })
        .collect()
}

fn env(rest: &str, config: &mut ImageDefaults) -> Result<(), ImageError> {
    for (key, value) in pairs("ENV", rest, config)? {
        let pair = format!("{key}={value}");
        let same = |old: &&mut String| old.split_once('=').is_some_and(|(name, _)| name == key);
        match config.env.iter_mut().find(same) {
            Some(old) => *old = pair,
            None => config.env.push(pair),
        }
    }
    Ok(())
}

fn expose(rest: &str, config: &mut ImageDefaults) -> Result<(), ImageError> {
    if rest.is_empty() {
        return wrong("EXPOSE requires at least one argument".into());
    }
    for word in rest.split_whitespace() {
        let expanded = expand(word, config)?;
        for port in expanded.split_whitespace() {
            values::expose(port, config)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use berth_types::ErrorKind;

    use super::*;

    fn config(changes: &[&str]) -> Result<ImageDefaults, ImageError> {
        let mut config = ImageDefaults::default();
        let changes: Vec<String> = changes.iter().map(|c| (*c).to_owned()).collect();
        apply(&changes, &mut config).map(|()| config)
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[track_caller]
    fn refused(change: &str, message: &str) {
        assert_eq!(config(&[change]).unwrap_err().to_string(), message);
    }

    #[test]
    fn commands_have_two_forms() {
        let shell = |text| Some(texts(&["/bin/sh", "-c", text]));
        assert_eq!(
            config(&["CMD echo  \"a b\" $X"]).unwrap().cmd,
            shell("echo  \"a b\" $X")
        );
        assert_eq!(
            config(&["cmd [\"a\", \"b c\"]"]).unwrap().cmd,
            Some(texts(&["a", "b c"]))
        );
        assert_eq!(config(&["CMD []"]).unwrap().cmd, Some(vec![]));
        assert_eq!(config(&["CMD ['a']"]).unwrap().cmd, shell("['a']"));
        let both = config(&["ENTRYPOINT [\"/init\"]", "CMD [\"x\"]"]).unwrap();
        assert_eq!(
            (both.entrypoint, both.cmd),
            (Some(texts(&["/init"])), Some(texts(&["x"])))
        );
        assert_eq!(
            config(&["ENTRYPOINT a", "ENTRYPOINT []"])
                .unwrap()
                .entrypoint,
            None
        );
        refused(
            "CMD [\"a\", 1]",
            "when using JSON array syntax, arrays must be comprised of strings only",
        );
        refused("CMD", "CMD requires at least one argument");
        refused("CMD --init=x y", "unknown flag: --init");
    }

    #[test]
    fn variables_are_set_replaced_and_used() {
        let config = config(&[
            "ENV A=1 B=\"x y\" C=it\\ is",
            "ENV OLD  some long   value",
            "ENV A=2 D=$A E='$A'",
            "LABEL a.b=\"$B\" version=${V:-1}",
            "WORKDIR /srv/$A",
            "WORKDIR ../x/./y",
            "USER u$A:g",
        ])
        .unwrap();
        // Within one instruction the values are those from before it.
        let env = [
            "A=2",
            "B=x y",
            "C=it is",
            "OLD=some long   value",
            "D=1",
            "E=$A",
        ];
        assert_eq!(config.env, env);
        assert_eq!(config.labels["a.b"], "x y");
        assert_eq!(config.labels["version"], "1");
        assert_eq!(config.working_dir, "/srv/x/y");
        assert_eq!(config.user, "u2:g");
        refused("ENV A", "ENV must have two arguments");
        refused("ENV", "ENV requires at least one argument");
        refused("ENV =x", "ENV names can not be blank");
        refused(
            "ENV A=1 B",
            "Syntax error - can't find = in \"B\". Must be of the form: name=value",
        );
        refused("USER", "USER requires exactly one argument");
        refused("WORKDIR ''", "cannot normalize nothing");
    }

    #[test]
    fn ports_and_signals_are_checked() {
        let all = config(&["ENV P=9", "EXPOSE 80 53/UDP 8000-8002/sctp $P"]).unwrap();
        let ports: Vec<&str> = all.exposed_ports.keys().map(String::as_str).collect();
        assert_eq!(
            ports,
            [
                "53/udp",
                "80/tcp",
                "8000/sctp",
                "8001/sctp",
                "8002/sctp",
                "9/tcp"
            ]
        );
        refused("EXPOSE", "EXPOSE requires at least one argument");
        refused("EXPOSE 70000", "invalid containerPort: 70000");
        refused("EXPOSE 9-8", "invalid containerPort: 9-8");
        refused("EXPOSE 1/ip", "invalid proto: ip");
        for signal in ["SIGTERM", "usr1", "9", "SIGRTMIN+3", "RTMAX-14"] {
            assert_eq!(
                config(&[&format!("STOPSIGNAL {signal}")])
                    .unwrap()
                    .stop_signal,
                signal
            );
        }
        for signal in ["SIGFOO", "0", "65", "RTMIN+16", "-1"] {
            refused(
                &format!("STOPSIGNAL {signal}"),
                &format!("invalid signal: {signal}"),
            );
        }
    }

    #[test]
    fn lines_comments_and_continuations() {
        let config = config(&[
            "# a comment\n\nENV A=1 \\\n  # inside\n  B=2\nUSER x",
            "  user y ",
        ]);
        let config = config.unwrap();
        assert_eq!(config.env, ["A=1", "B=2"]);
        assert_eq!(config.user, "y");
        assert_eq!(super::tests::config(&[]).unwrap(), ImageDefaults::default());
    }

    #[test]
    fn what_is_not_done_is_said() {
        refused("FOO bar", "FOO is not a valid change command");
        refused("RUN true", "RUN is not a valid change command");
        let long = format!("USER {}", "x".repeat(CHANGES_MAX));
        assert_eq!(config(&[&long]).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
