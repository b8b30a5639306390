//! What came of a list, as a table or as JSON.

use berth_console::table::columns;
use serde_json::{Value, json};

/// Digits of a shortened id.
const SHORT_ID: usize = 12;

/// A seat as it is after an allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seat {
    /// Whose it is, and the container's name.
    pub name: String,
    /// The container's id.
    pub id: String,
    /// The container's state, in the engine's word.
    pub state: String,
    /// The image it was made from.
    pub image: String,
    /// Its memory limit in bytes; 0 for none.
    pub memory: i64,
    /// Its CPU limit in billionths; 0 for none.
    pub nano_cpus: i64,
    /// Its limit on processes; 0 for none.
    pub pids: i64,
}

/// What came of one name: a value, or why not.
pub type Result<T> = (String, std::result::Result<T, String>);

/// The table of an allocation; a name that failed has a row without a container.
pub fn seats(results: &[Result<Seat>]) -> String {
    let heading = [
        "NAME",
        "CONTAINER",
        "STATE",
        "IMAGE",
        "MEMORY",
        "CPUS",
        "PIDS",
    ];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    for (name, result) in results {
        lines.push(match result {
            Ok(seat) => vec![
                name.clone(),
                short_id(&seat.id).to_owned(),
                seat.state.clone(),
                seat.image.clone(),
                bytes(seat.memory),
                cpus(seat.nano_cpus),
                limit(seat.pids),
            ],
            Err(_) => [name, "-", "failed", "-", "-", "-", "-"]
                .map(str::to_owned)
                .to_vec(),
        });
    }
    columns(&lines)
}

/// The same as JSON: a list with an object for each name.
pub fn seats_json(results: &[Result<Seat>]) -> String {
    let object = |(name, result): &Result<Seat>| match result {
        Ok(seat) => json!({
            "name": name,
            "container": seat.id,
            "state": seat.state,
            "image": seat.image,
            "memory_bytes": seat.memory,
            "cpus": seat.nano_cpus as f64 / 1e9,
            "pids": seat.pids,
        }),
        Err(error) => json!({"name": name, "error": error}),
    };
    format!(
        "{}\n",
        Value::from(results.iter().map(object).collect::<Vec<_>>())
    )
}

/// The table of a deallocation.
pub fn removals(results: &[Result<&'static str>]) -> String {
    let mut lines = vec![vec!["NAME".to_owned(), "RESULT".to_owned()]];
    for (name, result) in results {
        lines.push(vec![
            name.clone(),
            result.as_ref().unwrap_or(&"failed").to_string(),
        ]);
    }
    columns(&lines)
}

/// The same as JSON: a list with an object for each name.
pub fn removals_json(results: &[Result<&'static str>]) -> String {
    let object = |(name, result): &Result<&'static str>| match result {
        Ok(word) => json!({"name": name, "result": word}),
        Err(error) => json!({"name": name, "error": error}),
    };
    format!(
        "{}\n",
        Value::from(results.iter().map(object).collect::<Vec<_>>())
    )
}

fn short_id(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

fn limit(number: i64) -> String {
    if number > 0 {
        number.to_string()
    } else {
        "-".to_owned()
    }
}

fn cpus(nanos: i64) -> String {
    if nanos <= 0 {
        return "-".to_owned();
    }
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Bytes in the largest unit that leaves no long fraction: `512MiB`, `1.5GiB`.
pub fn bytes(number: i64) -> String {
    if number <= 0 {
        return "-".to_owned();
    }
    let mut size = number as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    let text = format!("{size:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_every_name() {
        let seat = Seat {
            name: "ann".to_owned(),
            id: "0123456789abcdef".to_owned(),
            state: "running".to_owned(),
            image: "debian:1".to_owned(),
            memory: 512 << 20,
            nano_cpus: 1_500_000_000,
            pids: 256,
        };
        let results = [
            ("ann".to_owned(), Ok(seat)),
            ("bob".to_owned(), Err("no".to_owned())),
        ];
        assert_eq!(
            seats(&results),
            "NAME      CONTAINER      STATE     IMAGE      MEMORY    CPUS      PIDS\n\
             ann       0123456789ab   running   debian:1   512MiB    1.5       256\n\
             bob       -              failed    -          -         -         -\n"
        );
        assert_eq!(
            seats_json(&results),
            "[{\"name\":\"ann\",\"container\":\"0123456789abcdef\",\"state\":\"running\",\
             \"image\":\"debian:1\",\"memory_bytes\":536870912,\"cpus\":1.5,\"pids\":256},\
             {\"name\":\"bob\",\"error\":\"no\"}]\n"
        );
        assert_eq!(
            removals(&[
                ("ann".to_owned(), Ok("removed")),
                ("bob".to_owned(), Err("no".into()))
            ]),
            "NAME      RESULT\nann       removed\nbob       failed\n"
        );
    }

    #[test]
    fn limits_for_people() {
        assert_eq!(
            (bytes(0), bytes(1536 << 20), bytes(1000)),
            ("-".into(), "1.5GiB".into(), "1000B".into())
        );
        assert_eq!(
            (cpus(0), cpus(250_000_000), limit(-1)),
            ("-".into(), "0.25".into(), "-".into())
        );
    }
}
