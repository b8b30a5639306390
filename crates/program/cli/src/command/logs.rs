//! `berth logs`

use berth_api::client::LogsOptions;
use berth_types::Timestamp;
use clap::Args;

use super::attached;
use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::options::moment::point_in_time;
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
