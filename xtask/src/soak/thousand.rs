//! `cargo xtask soak thousand [--containers N] [--bridge 1]`: many containers on one engine.
//!
//! They are started, listed, measured, stopped and removed; in the middle of the starts the engine
//! is killed and started again. All the while somebody reads ([`super::stage`]). Ends with the proof
//! that nothing is left.

use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use berth_testkit::{Engine, EngineBuilder};
use serde_json::{Value, json};

use super::measure::{Held, all_well, ask, each, number};
use super::stage::{Stage, stage, table};

/// Without `--containers`.
const CONTAINERS: u32 = 1000;
/// Clients that ask for something at the same time.
const CLIENTS: usize = 8;
/// The whole, with an ample part for every container.
const LIMIT: Duration = Duration::from_secs(180);
/// See [`LIMIT`].
const LIMIT_OF_ONE: Duration = Duration::from_secs(2);

/// KiB that the engine may hold for each container that runs.
const KIB_OF_ONE: u64 = 20;
/// KiB that it may hold beside, with the threads and the lists of the moment.
const KIB_BESIDE: u64 = 12 << 10;
/// KiB that it may hold when all are removed and it has become quiet.
const KIB_AFTER: u64 = 20 << 10;
/// How many more threads than at first it may have then.
const THREADS_AFTER: u64 = 8;
/// How soon after the last start or removal that is so.
const QUIET: Duration = Duration::from_secs(25);

const IMAGE: &str = "busybox:test";

/// The soak itself.
pub fn run(_root: &Path, arguments: &[OsString]) -> Result<bool> {
    let options = number(arguments, &[("--containers", CONTAINERS), ("--bridge", 0)])?;
    let (count, bridge) = (options[0], options[1] != 0);
    many(count, bridge)
}

fn many(count: u32, bridge: bool) -> Result<bool> {
    let limit = LIMIT + LIMIT_OF_ONE * count;
    let builder = EngineBuilder::new().limit(limit);
    let mut engine = match bridge {
        true => builder.network().start(),
        false => builder.start(),
    };
    engine.import_busybox();
    // Whatever is made once is made.
    ask_run(&engine, bridge)?;
    let before = engine.census();
    let fresh = Held::of_engine(&engine)?;
    let names: Vec<String> = (0..count).map(|n| format!("one-of-many-{n}")).collect();

    let mut stages = Vec::new();
    let half = names.len() / 2;
    let reach = begin(&mut engine, &mut stages, &names, half, bridge)?;
    let running = Held::of_engine(&engine)?;
    let most = fresh.private + KIB_BESIDE + KIB_OF_ONE * u64::from(count);
    let resting = Held::once(&engine, QUIET, |held| held.private <= most)?;
    use_them(&engine, &mut stages, &names)?;
    end(&engine, &mut stages, &names, half)?;

    println!("{}", table(&stages));
    println!(
        "engine, fresh: {fresh}\nengine, {count} running: {running}\nengine, {count} resting: {resting}"
    );
    let removed = Held::of_engine(&engine)?;
    let is_over = |held: &Held| gone(&fresh, held).is_ok();
    let begun = Instant::now();
    let quiet = Held::once(&engine, QUIET, is_over)?;
    println!(
        "engine, all removed: {removed}\nengine, {:.0} s later: {quiet}",
        begun.elapsed().as_secs_f64()
    );
    let of_one = resting.private.saturating_sub(fresh.private) as f64 / f64::from(count.max(1));
    println!("each container that runs: {of_one:.1} KiB of the engine's");
    println!(
        "engine killed at {half} starts and started again: first answer after {:.0} ms, all that ran in reach after {:.0} ms",
        reach.0.as_secs_f64() * 1e3,
        reach.1.as_secs_f64() * 1e3
    );
    ensure!(
        resting.private <= most,
        "{count} containers run: {} KiB, and not {most} at most",
        resting.private
    );
    gone(&fresh, &quiet)?;
    engine.assert_consistent();
    let processes = |line: &String| !line.starts_with("process ");
    let left: Vec<String> = before
        .difference(&engine.census())
        .into_iter()
        .filter(|line| processes(&line[2..].to_owned()))
        .collect();
    ensure!(left.is_empty(), "something is left: {}", left.join(", "));
    Ok(true)
}

/// That the engine holds nothing any more of containers that were.
fn gone(fresh: &Held, now: &Held) -> Result<()> {
    ensure!(
        now.private <= KIB_AFTER,
        "all are removed: {} KiB, and not {KIB_AFTER} at most",
        now.private
    );
    ensure!(
        now.threads <= fresh.threads + THREADS_AFTER,
        "all are removed: {} threads, {} at first",
        now.threads,
        fresh.threads
    );
    Ok(())
}

fn ask_run(engine: &Engine, bridge: bool) -> Result<()> {
    let network = if bridge { "bridge" } else { "none" };
    let ran = engine.docker(&["run", "--rm", "--network", network, IMAGE, "true"]);
    ensure!(ran.status == 0, "the first container: {ran}");
    Ok(())
}

/// Starts all, kills the engine on the way, starts it again, and starts the rest. Returns the time
/// to the first answer of the new engine, and to that when every container could be signalled.
fn begin(
    engine: &mut Engine,
    stages: &mut Vec<Stage>,
    names: &[String],
    half: usize,
    bridge: bool,
) -> Result<(Duration, Duration)> {
    let start = |engine: &Engine, name: &String| {
        create(engine, name, bridge)?;
        ask(engine, "POST", &path(name, "start"), None, &[204, 304]).map(drop)
    };
    let (first, rest) = names.split_at(half);
    let failed = stage(engine, stages, "create and start", first, CLIENTS, |name| {
        start(engine, name)
    })?;
    all_well("starting the first half", &failed)?;

    // The second half is under way when the engine is killed.
    let under_way = AtomicUsize::new(0);
    let (enough, seen) = mpsc::channel();
    thread::scope(|scope| {
        let running = &*engine;
        scope.spawn(|| {
            let (_, _) = each(rest, CLIENTS, |name| {
                if under_way.fetch_add(1, Ordering::Relaxed) == rest.len() / 2 {
                    let _ = enough.send(());
                }
                // Most of these fail: that is what the kill is for.
                start(running, name)
            });
            drop(enough);
        });
        let _ = seen.recv();
        kill(running)
    })?;
    engine.kill9();
    let begun = Instant::now();
    engine.start_again();
    let answered = begun.elapsed();
    let survived = running(engine)?;
    let (_, failed) = each(&survived, CLIENTS, |name| {
        ask(
            engine,
            "POST",
            &path(name, "kill?signal=CONT"),
            None,
            &[204],
        )
        .map(drop)
    });
    let reached = begun.elapsed();
    all_well("reaching what ran", &failed)?;

    let failed = stage(engine, stages, "start the rest", rest, CLIENTS, |name| {
        start(engine, name)
    })?;
    all_well("starting the second half", &failed)?;
    let now = running(engine)?;
    ensure!(
        now.len() == names.len(),
        "{} run, not {}",
        now.len(),
        names.len()
    );
    Ok((answered, reached))
}

/// SIGKILL by number: whoever holds the engine reaps it when the clients have noticed.
fn kill(engine: &Engine) -> Result<()> {
    let id = engine.id().context("the engine runs")?;
    let killed = std::process::Command::new("kill")
        .args(["-KILL", &id.to_string()])
        .status()
        .context("executing kill")?;
    ensure!(killed.success(), "kill -KILL {id}: {killed}");
    Ok(())
}

fn use_them(engine: &Engine, stages: &mut Vec<Stage>, names: &[String]) -> Result<()> {
    let lists: Vec<u32> = (0..20).collect();
    let failed = stage(engine, stages, "list", &lists, 1, |_| {
        ask(engine, "GET", "/containers/json", None, &[200]).map(drop)
    })?;
    all_well("listing", &failed)?;
    let failed = stage(engine, stages, "inspect", names, 1, |name| {
        ask(engine, "GET", &path(name, "json"), None, &[200]).map(drop)
    })?;
    all_well("inspecting", &failed)?;
    let once = "stats?stream=false&one-shot=true";
    let failed = stage(engine, stages, "stats, one each", names, CLIENTS, |name| {
        ask(engine, "GET", &path(name, once), None, &[200]).map(drop)
    })?;
    all_well("stats", &failed)?;
    command(engine, stages, &["ps", "--quiet"])?;
    command(engine, stages, &["stats", "--no-stream"])
}

fn end(engine: &Engine, stages: &mut Vec<Stage>, names: &[String], half: usize) -> Result<()> {
    let (first, rest) = names.split_at(half);
    let failed = stage(engine, stages, "stop", first, CLIENTS, |name| {
        ask(engine, "POST", &path(name, "stop?t=0"), None, &[204]).map(drop)
    })?;
    all_well("stopping", &failed)?;
    let failed = stage(engine, stages, "rm", first, CLIENTS, |name| {
        ask(engine, "DELETE", &path(name, ""), None, &[204]).map(drop)
    })?;
    all_well("removing", &failed)?;
    let mut words = vec!["rm", "--force"];
    words.extend(rest.iter().map(String::as_str));
    command(engine, stages, &words)
}

fn create(engine: &Engine, name: &str, bridge: bool) -> Result<()> {
    let network = if bridge { "bridge" } else { "none" };
    let body = json!({
        "Image": IMAGE, "Cmd": ["sleep", "100000"], "HostConfig": { "NetworkMode": network }
    });
    // The name is taken where the engine that was killed had come so far.
    let to = format!("/containers/create?name={name}");
    ask(engine, "POST", &to, Some(&body), &[201, 409]).map(drop)
}

fn path(name: &str, verb: &str) -> String {
    match verb {
        "" => format!("/containers/{name}"),
        verb => format!("/containers/{name}/{verb}"),
    }
}

/// The names of what runs.
fn running(engine: &Engine) -> Result<Vec<String>> {
    let body = ask(engine, "GET", "/containers/json", None, &[200])?;
    let list: Vec<Value> = serde_json::from_slice(&body).context("the list")?;
    let name = |entry: &Value| {
        Some(
            entry["Names"][0]
                .as_str()?
                .trim_start_matches('/')
                .to_owned(),
        )
    };
    list.iter().map(|e| name(e).context("a name")).collect()
}

/// One command of the stock client as a stage.
fn command(engine: &Engine, stages: &mut Vec<Stage>, words: &[&str]) -> Result<()> {
    let shown = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
    let failed = stage(engine, stages, &format!("docker {shown}"), &[()], 1, |()| {
        let output = engine.docker(words);
        if output.status != 0 {
            bail!(
                "docker {shown}: {}",
                output.stderr.lines().next().unwrap_or_default()
            );
        }
        Ok(())
    })?;
    all_well(&shown, &failed)
}
