//! The rows of the tables: what is done with every column in turn.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use berth_testkit::{Engine, busybox_rootfs_tar};

use super::driver::{Column, Network};
use super::rounds::{Bench, Figure, Rounds};

/// The image with files enough for load, export and the log's source.
pub const FILES_IMAGE: &str = "bench-files:1";
/// In it: so many files of pseudo-random size below [`FILE_MAX`].
const FILES: u32 = 4000;
const FILE_MAX: u64 = 32 * 1024;
/// A line of the log with its end.
const LINE: usize = 100;
/// Lines in the file that containers print again and again.
const LINES: usize = 40_000;
/// How often they print it.
const PRINTED: usize = 16;
/// What a container has changed before it is committed.
const CHANGE: &str = "head -c 20000000 /dev/urandom > /change";
const COMMITTED: &str = "bench-committed";

/// `version`, `run --rm` with both networks.
pub fn run(bench: &mut Bench, rounds: Rounds) {
    let all = bench.which(|_| true);
    bench.rounds("version", &all, rounds, |column, _, _| {
        Ok(vec![Figure::milliseconds(
            if column.is_command() {
                "version"
            } else {
                "_ping"
            },
            column.version()?,
        )])
    });
    for (row, network) in [
        ("run --rm true, bridge", Network::Bridge),
        ("run --rm true, none", Network::None),
    ] {
        bench.rounds(row, &all, rounds, |column, _, _| {
            Ok(vec![Figure::milliseconds(row, column.run(network)?)])
        });
    }
}

/// Create, start, exec, stop and rm of one container after the other, on the bridge.
pub fn life(bench: &mut Bench, rounds: Rounds) {
    let all = bench.which(|_| true);
    bench.rounds(
        "create, start, exec, stop, rm",
        &all,
        rounds,
        |column, number, round| {
            let name = format!("bench-{number}-{round}");
            Ok(vec![
                Figure::milliseconds("create", column.create(&name, Network::Bridge)?),
                Figure::milliseconds("start", column.start(&name)?),
                Figure::milliseconds("exec true", column.exec(&name)?),
                Figure::milliseconds("stop -t 0", column.stop(&name)?),
                Figure::milliseconds("rm", column.remove(&name)?),
            ])
        },
    );
}

/// Many containers at once: by command line with a look at all of them while they run, then
/// over the socket. `looked` is called while they run.
pub fn many(
    bench: &mut Bench,
    count: u32,
    rounds: Rounds,
    mut looked: impl FnMut(&mut Bench) -> Result<()>,
) -> Result<()> {
    let mut asked = Vec::new();
    for by_command in [true, false] {
        // A second command line for an engine would only double its containers.
        let members = bench.which(|column| column.is_command() == by_command);
        let members: Vec<usize> = members
            .into_iter()
            .filter(|member| {
                let column = &bench.columns[*member];
                let key = (column.subject, by_command);
                let first = !asked.contains(&key);
                asked.push(key);
                first
            })
            .collect();
        let started = start_many(bench, &members, count);
        if by_command {
            looks(bench, count, rounds);
            looked(bench)?;
        }
        let row = format!("rm -f of {count}");
        let once = Rounds { warm: 0, count: 1 };
        bench.rounds(&row, &members, once, |column, number, _| {
            let names: Vec<String> = (0..started[number]).map(|k| many_name(column, k)).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let time = column.remove_by_force(&names)?;
            let whole = started[number] == count;
            Ok(whole
                .then(|| Figure::seconds(&row, time))
                .into_iter()
                .collect())
        });
    }
    Ok(())
}

/// The name of the `number`th of many containers.
fn many_name(column: &Column, number: u32) -> String {
    format!("bench-many-{}-{number}", column.subject)
}

/// How many were started, for each column.
fn start_many(bench: &mut Bench, members: &[usize], count: u32) -> Vec<u32> {
    let row = format!("{count} x run -d");
    let mut sums = vec![(0, Duration::ZERO); bench.columns.len()];
    let rounds = Rounds { warm: 0, count };
    bench.rounds(&row, members, rounds, |column, number, round| {
        let time = column.run_detached(&many_name(column, round))?;
        let (started, sum) = &mut sums[number];
        *started += 1;
        *sum += time;
        Ok(Vec::new())
    });
    for member in members {
        let (started, sum) = sums[*member];
        if started == count {
            bench.add(*member, &Figure::seconds(&row, sum));
        }
    }
    sums.into_iter().map(|(started, _)| started).collect()
}

/// What is asked while many run.
fn looks(bench: &mut Bench, count: u32, rounds: Rounds) {
    let all = bench.which(|_| true);
    let row = format!("ps, {count} running");
    bench.rounds(&row, &all, rounds, |column, _, _| {
        Ok(vec![Figure::milliseconds(&row, column.list()?)])
    });
    let row = format!("inspect 1 of {count}");
    bench.rounds(&row, &all, rounds, |column, _, _| {
        let name = many_name(column, 7);
        Ok(vec![Figure::milliseconds(&row, column.inspect(&name)?)])
    });
    let few = Rounds {
        warm: 0,
        count: rounds.count.min(3),
    };
    bench.rounds("stats", &all, few, |column, _, _| {
        let row = if column.is_command() {
            format!("stats --no-stream, {count} running")
        } else {
            format!("stats, one sample of 1 of {count}")
        };
        Ok(vec![Figure::milliseconds(
            &row,
            column.stats(&many_name(column, 7))?,
        )])
    });
    let row = format!("run --rm true, {count} running");
    bench.rounds(&row, &all, rounds, |column, _, _| {
        Ok(vec![Figure::milliseconds(
            &row,
            column.run(Network::Bridge)?,
        )])
    });
}

/// Load, and at its end the image stays; commit and export.
pub fn images(bench: &mut Bench, archive: &Path, rounds: Rounds) -> Result<()> {
    let all = bench.which(|_| true);
    let size = fs::metadata(archive)
        .with_context(|| format!("asking for {}", archive.display()))?
        .len();
    bench.rounds("load", &all, rounds, |column, _, _| {
        written_back()?;
        let time = column.load(archive)?;
        column.remove_image(FILES_IMAGE)?;
        Ok(vec![Figure::throughput("load", size, time)])
    });
    stay(bench, archive);
    let changed = |number: usize| format!("bench-changed-{number}");
    let once = Rounds { warm: 0, count: 1 };
    bench.rounds("changes to commit", &all, once, |column, number, _| {
        let name = changed(number);
        column.create_for(&name, FILES_IMAGE, &["sh", "-c", CHANGE], Network::None)?;
        column.start(&name)?;
        column.wait(&name)?;
        Ok(Vec::new())
    });
    bench.rounds("commit", &all, rounds, |column, number, _| {
        written_back()?;
        let time = column.commit(&changed(number), COMMITTED)?;
        column.remove_image(&format!("{COMMITTED}:1"))?;
        Ok(vec![Figure::milliseconds("commit, 20 MB changed", time)])
    });
    bench.rounds("export", &all, rounds, |column, number, _| {
        let time = column.export(&changed(number))?;
        Ok(vec![Figure::milliseconds("export, 4000 files", time)])
    });
    bench.rounds("rm", &all, once, |column, number, _| {
        column.remove(&changed(number))?;
        Ok(Vec::new())
    });
    Ok(())
}

/// Loads the image into every engine once, to stay.
pub fn stay(bench: &mut Bench, archive: &Path) {
    let mut seen = Vec::new();
    let mut members = bench.which(|column| column.is_command());
    members.retain(|member| {
        let subject = bench.columns[*member].subject;
        let first = !seen.contains(&subject);
        seen.push(subject);
        first
    });
    let once = Rounds { warm: 0, count: 1 };
    bench.rounds("load, to stay", &members, once, |column, _, _| {
        column.load(archive)?;
        Ok(Vec::new())
    });
}

/// Lines through the default driver into the log, and out again.
pub fn logs(bench: &mut Bench, rounds: Rounds) {
    let all = bench.which(|_| true);
    let written = (LINES * LINE * PRINTED) as u64;
    let program = format!("i=0; while [ $i -lt {PRINTED} ]; do cat /lines; i=$((i+1)); done");
    bench.rounds("logs", &all, rounds, |column, number, round| {
        let name = format!("bench-log-{number}-{round}");
        column.create_for(&name, FILES_IMAGE, &["sh", "-c", &program], Network::None)?;
        column.start(&name)?;
        let intake = column.wait(&name)?;
        let back = column.logs(&name, written)?;
        column.remove(&name)?;
        Ok(vec![
            Figure::throughput("log intake: start's end to wait's end", written, intake),
            Figure::throughput("logs: read-back", written, back),
        ])
    });
}

/// Dirty pages of one engine's writes are not to be written in another's time.
fn written_back() -> Result<()> {
    let status = Command::new("sync").status().context("starting sync")?;
    if !status.success() {
        bail!("sync ended with {status}");
    }
    Ok(())
}

/// Makes the image and saves it, as `docker load` takes it; the image does not stay.
pub fn archive(engine: &Engine) -> Result<PathBuf> {
    let scratch = engine.scratch();
    let root = scratch.join("files");
    write_files(&root)?;
    let rootfs = scratch.join("files-rootfs.tar");
    fs::copy(busybox_rootfs_tar(), &rootfs).context("copying busybox")?;
    let status = Command::new("tar")
        .args(["--append", "--owner=0", "--group=0", "--file"])
        .arg(&rootfs)
        .arg("--directory")
        .arg(&root)
        // Not `.`: the archive has one, and dockerd refuses a second.
        .args(["files", "lines"])
        .status()
        .context("starting tar")?;
    if !status.success() {
        bail!("tar ended with {status}");
    }
    let archive = scratch.join("files-image.tar");
    for command in [
        &["import", &rootfs.to_string_lossy(), FILES_IMAGE][..],
        &["save", "-o", &archive.to_string_lossy(), FILES_IMAGE],
        &["rmi", FILES_IMAGE],
    ] {
        let output = engine.berth(command);
        if output.status != 0 {
            bail!("{output}");
        }
    }
    for gone in [&root, &rootfs] {
        let removed = if gone.is_dir() {
            fs::remove_dir_all(gone)
        } else {
            fs::remove_file(gone)
        };
        removed.with_context(|| format!("removing {}", gone.display()))?;
    }
    Ok(archive)
}

/// Half of each file's bytes do not compress.
fn write_files(root: &Path) -> Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for number in 0..FILES {
        let directory = root.join(format!("files/d{}", number / 100));
        fs::create_dir_all(&directory)
            .with_context(|| format!("making {}", directory.display()))?;
        let path = directory.join(format!("f{number}"));
        let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
        let mut file = BufWriter::new(file);
        let words = next() % (FILE_MAX / 16);
        let written = (0..words).try_for_each(|_| {
            file.write_all(&next().to_le_bytes())?;
            file.write_all(b"the rest")
        });
        written
            .and_then(|()| file.flush())
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let line = [&b"x".repeat(LINE - 1)[..], b"\n"].concat();
    fs::write(root.join("lines"), line.repeat(LINES)).context("writing the lines")
}
