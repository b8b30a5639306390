//! `berth debug tasks`

use std::time::Duration;

use berth_api::berth::{TaskSummary, Tasks};
use berth_api::client::Client;
use berth_console::page::Page;
use berth_console::table::columns_from;
use berth_console::{Stream, terminal};
use clap::Args;
use tokio::time::{MissedTickBehavior, interval};

use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome, PIPE_CLOSED};
use crate::say::say;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS]",
    about: "Show what the engine is doing at this moment, and what each thing waits for",
    aliases: "",
    arity: Arity::None,
};

/// How often the list is drawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(500);

/// Least width of a column, with its padding.
const COLUMN_MIN: usize = 6;

#[derive(Debug, Args)]
struct Flags {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Go on, twice a second
    #[arg(long, short = 'w')]
    watch: bool,
    arguments: Vec<String>,
}

/// Prints what is in flight: once, or again and again until it is interrupted.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    // The lane first: it answers when the engine is stuck, and its list is the same.
    let client = match context.lane().await? {
        Some(client) => client,
        None => context.client().await?,
    };
    if !flags.watch {
        let tasks = ask(&client).await?;
        crate::say::out(&text(&tasks, flags.json));
        return Ok(0);
    }
    let mut page = Page::new();
    let drawn = terminal::is_terminal(Stream::Stdout) && !flags.json;
    let mut ticks = interval(REDRAW_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let text = text(&ask(&client).await?, flags.json);
        if !drawn {
            say!("{}", text.trim_end());
        } else if page.draw(&text).is_err() {
            return Err(Exit::silent(PIPE_CLOSED));
        }
    }
}

/// What is in flight, without the question itself.
async fn ask(client: &Client) -> Result<Tasks, Exit> {
    let mut tasks = client.tasks().await.map_err(|e| refused(&e))?;
    tasks
        .tasks
        .retain(|task| !task.subject.ends_with(berth_api::berth::TASKS_PATH));
    Ok(tasks)
}

fn text(tasks: &Tasks, json: bool) -> String {
    if json {
        return serde_json::to_string(tasks).unwrap_or_default() + "\n";
    }
    let head = [
        "ID",
        "FOR",
        "AGE",
        "KIND",
        "SUBJECT",
        "WAITS FOR",
        "SINCE",
        "AT MOST",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(tasks.tasks.iter().map(line));
    let mut text = columns_from(&lines, COLUMN_MIN);
    if tasks.unlisted > 0 {
        text.push_str(&format!(
            "and {} more, too many for the list\n",
            tasks.unlisted
        ));
    }
    text
}

fn line(task: &TaskSummary) -> Vec<String> {
    let number = |number: u64| match number {
        0 => "-".to_owned(),
        number => number.to_string(),
    };
    let works = task.waits_for == "nothing";
    vec![
        number(task.id),
        number(task.parent),
        seconds(task.age_us),
        task.kind.clone(),
        task.subject.clone(),
        if works { "-" } else { &task.waits_for }.to_owned(),
        seconds(task.waited_us),
        task.left_us.map_or("-".to_owned(), seconds),
    ]
}

/// A time in the unit in which it is short.
fn seconds(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{}ms", micros / 1_000),
        1_000_000..600_000_000 => format!("{}.{}s", micros / 1_000_000, micros / 100_000 % 10),
        _ => format!("{}min", micros / 60_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_waited_for() {
        let task = TaskSummary {
            id: 7,
            parent: 3,
            kind: "start".to_owned(),
            subject: "0123456789ab".to_owned(),
            age_us: 1_530_000,
            waits_for: "monitor's answer".to_owned(),
            waited_us: 900,
            left_us: Some(118_000_000),
        };
        let tasks = Tasks {
            tasks: vec![task],
            unlisted: 2,
        };
        let text = text(&tasks, false);
        let line: Vec<&str> = text.lines().nth(1).unwrap().split("  ").collect();
        let cells: Vec<&str> = line
            .iter()
            .map(|c| c.trim())
            .filter(|c| !c.is_empty())
            .collect();
        assert_eq!(
            cells,
            [
                "7",
                "3",
                "1.5s",
                "start",
                "0123456789ab",
                "monitor's answer",
                "900us",
                "118.0s"
            ]
        );
        assert!(text.ends_with("and 2 more, too many for the list\n"));
    }
}
