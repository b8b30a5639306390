//! User instructions of one create, start, exec, stop and rm, by who executes them, with
//! `dev/count-instructions.py`: one at a time, for this takes no counter in the processor.
//!
//! A step takes some microseconds, so each operation is done only once, after others that have
//! filled the caches. What polls while it waits is in the count: it holds within some percent.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use berth_testkit::Engine;

use super::counts::OPERATIONS;
use super::driver::{Column, Kind, Network};

const SCRIPT: &str = "dev/count-instructions.py";
/// Nothing is executed for this long: what followed an answer is over.
const QUIET: Duration = Duration::from_millis(300);
/// How often it is looked for.
const LOOKS_MAX: usize = 100;
/// All operations together; the rest is left out.
const BUDGET: Duration = Duration::from_secs(120);

/// Instructions of the engine, its monitors and the inits.
pub type Numbers = [u64; 3];

/// One operation, until its answer and behind it.
#[derive(Debug, PartialEq)]
pub struct Row {
    operation: &'static str,
    until: Numbers,
    behind: Numbers,
}

/// The script at work.
struct Counter {
    child: Child,
    asked: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Counts on an engine that has the image; as many rows as there was time for.
pub fn of(root: &Path, engine: &Engine) -> Result<Vec<Row>> {
    let id = engine.id().context("the engine runs")?;
    let column = Column::by_api(0, Kind::Berth, &engine.socket(), "berthd");
    column.run(Network::Bridge)?;
    column.create("stepped-bridge", Network::Bridge)?;
    let mut processes: Vec<u32> = engine.processes().into_iter().map(|(id, _)| id).collect();
    processes.retain(|process| *process != id);
    processes.insert(0, id);
    let mut counter = Counter::start(root, &processes)?;
    let rows = steps(&column, &mut counter);
    counter.end()?;
    rows
}

fn steps(column: &Column, counter: &mut Counter) -> Result<Vec<Row>> {
    let name = "stepped-none";
    let steps: [&dyn Fn() -> Result<Duration>; OPERATIONS.len()] = [
        &|| column.create(name, Network::None),
        &|| column.start(name),
        &|| column.start("stepped-bridge"),
        &|| column.exec(name),
        &|| column.stop(name),
        &|| column.remove(name),
    ];
    let begun = Instant::now();
    let mut rows = Vec::new();
    counter.behind()?;
    for (operation, step) in OPERATIONS.into_iter().zip(steps) {
        if begun.elapsed() > BUDGET {
            break;
        }
        // On a busy machine the engine's own deadlines pass; what has been counted stays.
        if let Err(error) = step() {
            eprintln!("bench: instructions of `{operation}`: {error:#}");
            break;
        }
        rows.push(Row {
            operation,
            until: counter.ask()?,
            behind: counter.behind()?,
        });
    }
    Ok(rows)
}

impl Counter {
    fn start(root: &Path, processes: &[u32]) -> Result<Self> {
        let mut child = Command::new("python3")
            .arg(root.join(SCRIPT))
            .args(processes.iter().map(u32::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting python3")?;
        let asked = child.stdin.take().context("its input is a pipe")?;
        let answers = child.stdout.take().context("its output is a pipe")?;
        let mut counter = Self {
            child,
            asked,
            answers: BufReader::new(answers),
        };
        let ready = counter.line()?;
        if ready != "ready" {
            bail!("{SCRIPT} said {ready:?}");
        }
        Ok(counter)
    }

    /// What was executed since the last time.
    fn ask(&mut self) -> Result<Numbers> {
        self.asked.write_all(b"\n").context("asking the counter")?;
        let line = self.line()?;
        parse(&line).with_context(|| format!("{SCRIPT} said {line:?}"))
    }

    /// What is executed until nothing is.
    fn behind(&mut self) -> Result<Numbers> {
        let mut all = Numbers::default();
        for _ in 0..LOOKS_MAX {
            let (sender, receiver) = mpsc::channel::<()>();
            // Nobody sends: the wait always ends by its limit.
            let _ = receiver.recv_timeout(QUIET);
            drop(sender);
            let found = self.ask()?;
            if found == Numbers::default() {
                break;
            }
            for (sum, one) in all.iter_mut().zip(found) {
                *sum += one;
            }
        }
        Ok(all)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .context("listening to the counter")?;
        Ok(line.trim_end().to_owned())
    }

    /// Lets everything go.
    fn end(mut self) -> Result<()> {
        drop(self.asked);
        let status = self.child.wait().context("waiting for the counter")?;
        if !status.success() {
            bail!("{SCRIPT} ended with {status}");
        }
        Ok(())
    }
}

/// `engine N monitor N init N`.
fn parse(line: &str) -> Option<Numbers> {
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["engine", engine, "monitor", monitor, "init", init] => Some([
            engine.parse().ok()?,
            monitor.parse().ok()?,
            init.parse().ok()?,
        ]),
        _ => None,
    }
}

/// In thousands.
pub fn markdown(rows: &[Row]) -> String {
    let mut text =
        "| | engine | monitor | init until it executes | until the answer | behind it |\n\
        |---|---|---|---|---|---|\n"
            .to_owned();
    let thousands = |number: u64| number.div_ceil(1000);
    for row in rows {
        let [engine, monitor, init] = row.until.map(thousands);
        let until = thousands(row.until.iter().sum());
        let behind = thousands(row.behind.iter().sum());
        let _ = writeln!(
            text,
            "| `{}` | {engine} | {monitor} | {init} | {until} | {behind} |",
            row.operation
        );
    }
    let left: Vec<&str> = OPERATIONS.into_iter().skip(rows.len()).collect();
    if !left.is_empty() {
        let left = left.join("; ");
        let _ = writeln!(text, "\nNot counted, for it took too long: {left}.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_says() {
        let found = parse("engine 1500 monitor 0 init 7").unwrap();
        assert_eq!(found, [1500, 0, 7]);
        assert_eq!(parse("ready"), None);
        let row = Row {
            operation: "rm",
            until: found,
            behind: Numbers::default(),
        };
        assert!(markdown(&[row]).contains("| `rm` | 2 | 0 | 1 | 2 | 0 |"));
    }
}
