//! Instructions that the engine only carries on: volumes, triggers, health checks, shells. Pure.

use berth_types::oci::{Empty, HealthCheck, ImageDefaults};
use berth_types::parse_duration;

use crate::changes::{command, expand, json, wrong};
use crate::error::ImageError;
use crate::words;

/// Least time in a health check, in nanoseconds.
const HEALTH_TIME_MIN: i64 = 1_000_000;

/// `VOLUME /a /b` or `VOLUME ["/a"]`.
pub(crate) fn volume(rest: &str, config: &mut ImageDefaults) -> Result<(), ImageError> {
    let paths = match json(rest)? {
        Some(list) => list,
        None => words::split(rest),
    };
    if paths.is_empty() {
        return wrong("VOLUME requires at least one argument".into());
    }
    for path in paths {
        let path = expand(path.trim(), config)?;
        if path.is_empty() {
            return wrong("VOLUME specified can not be an empty string".into());
        }
        config.volumes.insert(path, Empty {});
    }
    Ok(())
}

/// `SHELL ["/bin/bash", "-c"]`.
pub(crate) fn shell(rest: &str) -> Result<Vec<String>, ImageError> {
    match json(rest)? {
        Some(list) if !list.is_empty() => Ok(list),
        Some(_) => wrong("SHELL requires at least one argument".into()),
        None => wrong("SHELL requires the arguments to be in JSON form".into()),
    }
}

/// `ONBUILD INSTRUCTION …`, which is kept for builds upon the image.
pub(crate) fn onbuild(rest: &str) -> Result<String, ImageError> {
    let word = rest.split_whitespace().next().unwrap_or_default();
    match word.to_ascii_uppercase().as_str() {
        "" => wrong("ONBUILD requires at least one argument".into()),
        "ONBUILD" => wrong("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".into()),
        word @ ("MAINTAINER" | "FROM") => {
            wrong(format!("{word} isn't allowed as an ONBUILD trigger"))
        }
        _ => Ok(rest.to_owned()),
    }
}

/// `HEALTHCHECK NONE` or `HEALTHCHECK --flags CMD …`.
pub(crate) fn healthcheck(rest: &str, config: &ImageDefaults) -> Result<HealthCheck, ImageError> {
    let mut health = HealthCheck::default();
    let mut rest = rest;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, tail) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        rest = tail.trim_start();
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let place = match name {
            "interval" => &mut health.interval,
            "timeout" => &mut health.timeout,
            "start-period" => &mut health.start_period,
            "start-interval" => &mut health.start_interval,
            "retries" => {
                health.retries = match value.parse() {
                    Ok(retries @ 0..) => retries,
                    _ => return wrong(format!("--retries must be at least 0 (not {value:?})")),
                };
                continue;
            }
            _ => return wrong(format!("unknown flag: --{name}")),
        };
        *place = match parse_duration(value) {
            Some(0) => 0,
            Some(nanos) if nanos >= HEALTH_TIME_MIN => nanos,
            Some(_) => return wrong(format!("Interval \"{name}\" cannot be less than 1ms")),
            None => return wrong(format!("invalid duration {value:?}")),
        };
    }
    let (kind, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let arguments = arguments.trim();
    health.test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if arguments.is_empty() => vec!["NONE".to_owned()],
        "NONE" => return wrong("HEALTHCHECK NONE takes no arguments".into()),
        "CMD" if arguments.is_empty() => {
            return wrong("Missing command after HEALTHCHECK CMD".into());
        }
        "CMD" => match json(arguments)? {
            Some(list) => [vec!["CMD".to_owned()], list].concat(),
            // The engine's shell runs it, whatever SHELL says.
            None => vec![
                "CMD-SHELL".to_owned(),
                command("HEALTHCHECK", arguments, config)?
                    .pop()
                    .unwrap_or_default(),
            ],
        },
        "" => return wrong("HEALTHCHECK requires at least one argument".into()),
        other => {
            return wrong(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)"));
        }
    };
    Ok(health)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::apply;

    fn config(changes: &[&str]) -> Result<ImageDefaults, String> {
        let mut config = ImageDefaults::default();
        let changes: Vec<String> = changes.iter().map(|c| (*c).to_owned()).collect();
        apply(&changes, &mut config)
            .map(|()| config)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_only_carried_is_read_all_the_same() {
        let all = config(&[
            "SHELL [\"/bin/bash\", \"-c\"]",
            "CMD a b",
            "VOLUME /data /logs",
            "VOLUME [\"/with space\"]",
            "ONBUILD RUN make",
            "HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD curl -f http://x",
        ])
        .unwrap();
        assert_eq!(all.cmd.unwrap(), ["/bin/bash", "-c", "a b"]);
        let volumes: Vec<&str> = all.volumes.keys().map(String::as_str).collect();
        assert_eq!(volumes, ["/data", "/logs", "/with space"]);
        assert_eq!(all.on_build, ["RUN make"]);
        let health = all.healthcheck.unwrap();
        assert_eq!(health.test, ["CMD-SHELL", "curl -f http://x"]);
        assert_eq!(
            (health.interval, health.timeout, health.retries),
            (90_000_000_000, 500_000_000, 3)
        );
        let exec = config(&["HEALTHCHECK CMD [\"a\", \"b\"]"]).unwrap();
        assert_eq!(exec.healthcheck.unwrap().test, ["CMD", "a", "b"]);
    }

    #[test]
    fn an_entry_point_drops_the_command_that_was_there() {
        let mut given = ImageDefaults {
            cmd: Some(vec!["old".to_owned()]),
            ..ImageDefaults::default()
        };
        let mut kept = given.clone();
        apply(&["ENTRYPOINT [\"e\"]".to_owned()], &mut given).unwrap();
        assert_eq!(given.cmd, None);
        let both = ["CMD [\"new\"]".to_owned(), "ENTRYPOINT [\"e\"]".to_owned()];
        apply(&both, &mut kept).unwrap();
        assert_eq!(kept.cmd.unwrap(), ["new"]);
    }

    #[test]
    fn mistakes_are_named() {
        for (change, message) in [
            ("VOLUME", "VOLUME requires at least one argument"),
            (
                "SHELL bash -c",
                "SHELL requires the arguments to be in JSON form",
            ),
            ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
            ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
            ("HEALTHCHECK --every=1s CMD x", "unknown flag: --every"),
            ("HEALTHCHECK --interval=x CMD x", "invalid duration \"x\""),
            (
                "HEALTHCHECK --interval=1us CMD x",
                "Interval \"interval\" cannot be less than 1ms",
            ),
        ] {
            assert_eq!(config(&[change]).unwrap_err(), message);
        }
    }
}
