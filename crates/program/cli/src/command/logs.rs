//! `berth logs`

use berth_api::client::LogsOptions;
use berth_types::Timestamp;
use clap::Args;

use super::attached;
use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::options::value;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] CONTAINER",
    about: "Fetch the logs of a container",
    aliases: "berth container logs, berth logs",
    arity: Arity::One,
};

#[derive(Debug, Args)]
struct Flags {
    /// Show extra details provided to logs
    #[arg(long)]
    details: bool,
    /// Follow log output
    #[arg(long, short = 'f')]
    follow: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42
    /// minutes)
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Number of lines to show from the end of the logs (default "all")
    #[arg(long, short = 'n', value_name = "string")]
    tail: Option<String>,
    /// Show timestamps
    #[arg(long, short = 't')]
    timestamps: bool,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42
    /// minutes)
    #[arg(long, value_name = "string")]
    until: Option<String>,
    arguments: Vec<String>,
}

/// Prints what the container has written, each stream to its own.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    if flags.details {
        return Err(Exit::failed(
            "berth: '--details' is not built yet: logs carry none here",
        ));
    }
    let now = Timestamp::now();
    let bound = |name: &str, text: &Option<String>| match text {
        Some(text) => point_in_time(text, now)
            .map(Some)
            .map_err(|e| Exit::failed(format!("invalid value for \"{name}\": {e}"))),
        None => Ok(None),
    };
    let options = LogsOptions {
        follow: flags.follow,
        stdout: true,
        stderr: true,
        tail: Some(flags.tail.clone().unwrap_or_else(|| "all".to_owned())),
        since: bound("since", &flags.since)?,
        until: bound("until", &flags.until)?,
        timestamps: flags.timestamps,
    };
    let name = flags.arguments.first().map_or("", String::as_str);
    let client = context.client().await?;
    let container = client
        .containers()
        .inspect(name, false)
        .await
        .map_err(|e| refused(&e))?;
    let output = client
        .containers()
        .logs(&container.id, &options)
        .await
        .map_err(|e| refused(&e))?;
    attached::show(output, container.config.tty).await?;
    Ok(0)
}

/// A point in time for the engine, in seconds since the epoch: a length of time before `now`, an
/// RFC 3339 time or the beginning of one (UTC where it has no zone), or seconds as they are.
fn point_in_time(text: &str, now: Timestamp) -> Result<String, String> {
    if let Ok(nanos) = value::duration(text) {
        let at = Timestamp::from_nanos(now.as_nanos().saturating_sub(nanos));
        return Ok(at.as_seconds().to_string());
    }
    let number = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if number && !text.is_empty() {
        return Ok(text.to_owned());
    }
    let fail = || format!("failed to parse value as time or duration: {text:?}");
    let (date, time) = text.split_once('T').unwrap_or((text, ""));
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let zone = if zone.is_empty() { "Z" } else { zone };
    let clock = match clock.len() {
        0 => "00:00:00".to_owned(),
        2 => format!("{clock}:00:00"),
        5 => format!("{clock}:00"),
        _ => clock.to_owned(),
    };
    let at: Timestamp = format!("{date}T{clock}{zone}")
        .parse()
        .map_err(|_| fail())?;
    Ok(format!(
        "{}.{:09}",
        at.as_seconds(),
        at.as_nanos().rem_euclid(1_000_000_000)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_every_form() {
        let now = Timestamp::from_nanos(1_000_000 * 1_000_000_000);
        for (text, wanted) in [
            ("42m", "997480"),
            ("123.4", "123.4"),
            ("2025-01-01T00:00:00", "1735689600.000000000"),
            ("2025-01-01", "1735689600.000000000"),
            ("2025-01-01T00:00Z", "1735689600.000000000"),
            ("2025-01-01T01:00:00.5+01:00", "1735689600.500000000"),
        ] {
            assert_eq!(point_in_time(text, now).as_deref(), Ok(wanted), "{text}");
        }
        for bad in ["xyz", "2025-13-01", "", "2025-01-01T25"] {
            assert!(point_in_time(bad, now).is_err(), "{bad}");
        }
    }
}
