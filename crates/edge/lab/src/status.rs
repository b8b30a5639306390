//! The board of a class: a row for every seat.

use std::time::Duration;

use berth_console::table::columns;
use berth_types::Timestamp;
use serde_json::{Value, json};

use crate::report::bytes;

/// How recent an activity must be to count as going on.
const NOW: Duration = Duration::from_secs(5);

/// One seat at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Its lab.
    pub lab: String,
    /// Whose it is.
    pub name: String,
    /// The container's id.
    pub id: String,
    /// Its state, in the engine's word.
    pub state: String,
    /// Processor time over the last interval, in percent of one CPU.
    pub cpu: Option<f64>,
    /// Memory in use, in bytes.
    pub memory: Option<u64>,
    /// Its limit in bytes; 0 for none.
    pub memory_limit: u64,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// When somebody last typed, or a program last wrote.
    pub activity: Option<Timestamp>,
    /// Who looks at or types into it, the owner included.
    pub clients: Option<u32>,
}

/// The table; the labs are named where there are several.
pub fn table(rows: &[Row], now: Timestamp) -> String {
    let several = rows.windows(2).any(|pair| pair[0].lab != pair[1].lab);
    let mut heading = vec!["NAME", "STATE", "CPU", "MEMORY", "PIDS", "OPEN", "ACTIVE"];
    if several {
        heading.insert(0, "LAB");
    }
    let mut lines = vec![heading.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for row in rows {
        let mut line = vec![
            row.name.clone(),
            row.state.clone(),
            or_dash(row.cpu.map(|cpu| format!("{cpu:.1}%"))),
            or_dash(row.memory.map(|used| memory(used, row.memory_limit))),
            or_dash(row.pids.map(|n| n.to_string())),
            or_dash(row.clients.map(|n| n.to_string())),
            or_dash(row.activity.map(|at| ago(at, now))),
        ];
        if several {
            line.insert(0, row.lab.clone());
        }
        lines.push(line);
    }
    columns(&lines)
}

/// The same as JSON: a list with an object for each seat.
pub fn json(rows: &[Row]) -> String {
    let object = |row: &Row| {
        json!({
            "lab": row.lab,
            "name": row.name,
            "container": row.id,
            "state": row.state,
            "cpu_percent": row.cpu,
            "memory_bytes": row.memory,
            "memory_limit_bytes": row.memory_limit,
            "pids": row.pids,
            "clients": row.clients,
            "last_activity": row.activity.map(|at| at.to_string()),
        })
    };
    format!(
        "{}\n",
        Value::from(rows.iter().map(object).collect::<Vec<_>>())
    )
}

fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
}

fn memory(used: u64, limit: u64) -> String {
    let text = |n: u64| bytes(i64::try_from(n).unwrap_or(i64::MAX));
    match limit {
        0 => text(used),
        limit => format!("{} / {}", text(used), text(limit)),
    }
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    let nanos = now.as_nanos().saturating_sub(at.as_nanos());
    let age = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
    let seconds = age.as_secs();
    match seconds {
        _ if age <= NOW => "now".to_owned(),
        0..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn the_board_shows_who_does_what() {
        let ann = Row {
            lab: "go".to_owned(),
            name: "ann".to_owned(),
            state: "running".to_owned(),
            cpu: Some(12.34),
            memory: Some(3 << 20),
            memory_limit: 512 << 20,
            pids: Some(2),
            activity: Some(at(1000)),
            clients: Some(1),
            ..Row::default()
        };
        let bob = Row {
            lab: "go".to_owned(),
            name: "bob".to_owned(),
            state: "exited".to_owned(),
            ..Row::default()
        };
        assert_eq!(
            table(&[ann.clone(), bob.clone()], at(1130)),
            "NAME      STATE     CPU       MEMORY          PIDS      OPEN      ACTIVE\n\
             ann       running   12.3%     3MiB / 512MiB   2         1         2m ago\n\
             bob       exited    -         -               -         -         -\n"
        );
        let other = Row {
            lab: "rust".to_owned(),
            ..bob
        };
        let both = table(&[ann, other], at(1003));
        assert!(both.starts_with("LAB       NAME"), "{both}");
        assert!(both.contains("now"), "{both}");
    }

    #[test]
    fn ages_for_people() {
        for (age, wanted) in [
            (-3, "now"),
            (5, "now"),
            (59, "59s ago"),
            (7199, "1h ago"),
            (200_000, "2d ago"),
        ] {
            assert_eq!(ago(at(1_000_000), at(1_000_000 + age)), wanted);
        }
    }
}
