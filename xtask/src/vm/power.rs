//! Power cuts: a virtual machine works on a disk, its power goes, and the next one starts from
//! what the disk has kept. The program inside is `tests/power_cut`; what was acknowledged is kept in
//! a journal out here.
//!
//! ```text
//! boot, check what the last cut left, work ── cut ──▶ boot, check, work ── cut ──▶ … boot, check
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::NO_MACHINE;
use crate::counts::Counts;

/// What `dev/run-in-vm` ends with when the power went as it was told.
const CUT: i32 = 137;
/// Seconds until a machine that is not cut counts as hanging.
const LIMIT: &str = "480";
/// Seconds in which it comes up; ten are the rule.
const BOOT_LIMIT: &str = "90";
/// Marks of the guest behind which the power goes: a mark every 25 ms, and one for each answer.
const TICKS_MAX: u64 = 160;
/// See [`TICKS_MAX`].
const ANSWERS_MAX: u64 = 16;
/// Size of the disk; the file is sparse.
const DISK: &str = "1G";
/// Of ten volatile cuts so many have to lose something.
const LOSING_MIN: u64 = 9;
/// The seed of `cargo xtask ci`.
const CI_SEED: u64 = 1;

/// A row of cuts.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How often the power goes.
    pub cuts: u64,
    /// How many of those happen inside of the disk, between a write and its flush, and take with
    /// them some of what was written and not flushed, so that writes are torn and reordered.
    pub volatile: u64,
    /// Where the instants, the sectors and the work come from.
    pub seed: u64,
    /// The guest's program, where it is built already.
    pub program: Option<PathBuf>,
}

/// The row of `cargo xtask ci`.
pub fn run(root: &Path) -> Result<Counts> {
    let plan = Plan {
        cuts: 10,
        volatile: 5,
        seed: CI_SEED,
        program: None,
    };
    plan.run(root)
}

/// A small generator (`xorshift64*`): the same seed gives the same row.
fn random(seed: u64, bound: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..4 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
}

/// One boot of the row.
struct Boot<'a> {
    root: &'a Path,
    program: &'a Path,
    place: &'a Path,
    plan: &'a Plan,
    round: u64,
}

impl Plan {
    /// Cuts, and counts the boots that found everything as it was acknowledged.
    pub fn run(&self, root: &Path) -> Result<Counts> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => super::build(root, "power_cut")?,
        };
        let place = std::env::temp_dir().join(format!("berth-power-{}", std::process::id()));
        fs::create_dir(&place).with_context(|| format!("making {}", place.display()))?;
        let counts = self.cut_in(root, &program, &place);
        let removed = fs::remove_dir_all(&place);
        let counts = counts?;
        removed.with_context(|| format!("removing {}", place.display()))?;
        Ok(counts)
    }

    fn cut_in(&self, root: &Path, program: &Path, place: &Path) -> Result<Counts> {
        File::create(place.join("journal")).context("making the journal")?;
        let mut counts = Counts::default();
        let (mut cut, mut losing) = (0, 0);
        for round in 0..=self.cuts {
            let boot = Boot {
                root,
                program,
                place,
                plan: self,
                round,
            };
            match boot.run()? {
                Some(Held { held: true, lost }) => {
                    counts.passed += 1;
                    cut += u64::from(boot.is_volatile());
                    losing += u64::from(lost > 0);
                }
                Some(Held { held: false, .. }) => {
                    println!(
                        "power: boot {round} does not hold; again: cargo xtask soak power --seed {} --cuts {} --volatile {}",
                        self.seed, self.cuts, self.volatile
                    );
                    counts.failed += 1;
                    break;
                }
                None => {
                    println!("NOT RUN: no virtual machine could be had here");
                    counts.skipped += 1;
                    break;
                }
            }
        }
        if cut > 0 {
            println!("power: {losing} of {cut} volatile cuts lost something");
            // A cut that loses nothing proves nothing of what it is for.
            counts = counts.plus(Counts::of_step(losing * 10 >= cut * LOSING_MIN));
        }
        Ok(counts)
    }
}

/// What became of a boot.
struct Held {
    /// Whether it found everything as it was acknowledged, and was cut as it was meant to be.
    held: bool,
    /// Sectors that its cut took with it.
    lost: u64,
}

/// The number behind `"name": ` in what the disk says of a cut; 0 where it says nothing.
fn number(said: &str, name: &str) -> u64 {
    let behind = said.split(&format!("\"{name}\": ")).nth(1).unwrap_or("");
    let end = behind.find(|c: char| !c.is_ascii_digit());
    let digits = &behind[..end.unwrap_or(behind.len())];
    digits.parse().unwrap_or(0)
}

impl Boot<'_> {
    /// How it went; nothing where there is no machine.
    fn run(&self) -> Result<Option<Held>> {
        let begun = Instant::now();
        let last = self.round == self.plan.cuts;
        let output = super::switched_on(|| self.command(last))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let complaints = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        let checked = said.lines().find(|line| line.starts_with("CHECKED "));
        let answers = said
            .lines()
            .filter(|line| line.starts_with("DONE "))
            .count();
        let loss = complaints.lines().find(|l| l.contains("power loss"));
        println!(
            "power: boot {} took {:.1} s, {answers} answers; {}; {}",
            self.round,
            begun.elapsed().as_secs_f64(),
            checked.unwrap_or("not checked"),
            loss.unwrap_or("no writes lost but those in memory"),
        );
        if code == Some(NO_MACHINE) && self.round == 0 && said.trim().is_empty() {
            println!("{complaints}");
            return Ok(None);
        }
        let held = checked.is_some() && code == Some(if last { 0 } else { CUT });
        if !held {
            let marks = |line: &&str| !line.starts_with("TICK ");
            let said: Vec<&str> = said.lines().filter(marks).collect();
            println!("{}\n{complaints}\n{}", said.join("\n"), output.status);
            let journal = fs::read_to_string(self.place.join("journal")).unwrap_or_default();
            println!("-- journal\n{journal}");
        }
        let lost = loss.map_or(0, |said| number(said, "lost"));
        Ok(Some(Held { held, lost }))
    }

    /// A number that belongs to this boot and to what it is for.
    fn chance(&self, purpose: u64, bound: u64) -> u64 {
        let seed = self.plan.seed.wrapping_mul(1000).wrapping_add(self.round);
        random(seed.wrapping_mul(8).wrapping_add(purpose), bound)
    }

    /// Whether the disk of this boot forgets what was not flushed; spread evenly.
    fn is_volatile(&self) -> bool {
        let (round, Plan { cuts, volatile, .. }) = (self.round, self.plan);
        round < *cuts && (round + 1) * volatile / cuts > round * volatile / cuts
    }

    fn command(&self, last: bool) -> Result<Command> {
        let programs = self.program.parent().and_then(Path::parent);
        let programs = programs.context("the program lies in no directory")?;
        let volatile = if self.is_volatile() { ",volatile" } else { "" };
        let disk = self.place.join("disk");
        let mut command = Command::new(self.root.join("dev/run-in-vm"));
        command
            .args(["--engine", "qemu", "--timeout", LIMIT])
            .args(["--boot-timeout", BOOT_LIMIT])
            .args(["--env", "PATH", "--env", "BERTH_TEST_ROOT=/tmp", "--disk"])
            .arg(format!(
                "{}:{DISK},mkfs=ext4,mount=/disk{volatile}",
                disk.display()
            ))
            .arg("--share")
            .arg(programs)
            .arg("--share")
            .arg(self.place);
        if !last {
            let mark = match self.chance(0, 2) {
                0 => format!("TICK {};", 1 + self.chance(1, TICKS_MAX)),
                _ => format!("DONE {};", 1 + self.chance(1, ANSWERS_MAX)),
            };
            command.args(["--kill-on", &mark]);
        }
        if !volatile.is_empty() {
            let mode = format!("torn:{}", self.chance(2, 1 << 30));
            let instant = self.chance(3, 1 << 30).to_string();
            command.args(["--crash-mode", &mode, "--cut-in-disk", &instant]);
        }
        command
            .arg("--")
            .arg(self.program)
            .arg("/disk")
            .arg(self.place.join("journal"))
            .args([self.plan.seed.to_string(), self.round.to_string()])
            .arg(if last { "end" } else { "load" })
            .current_dir(self.root)
            .stdin(Stdio::null());
        Ok(command)
    }
}

/// Reads `--cuts N`, `--volatile N`, `--seed N`, `--program FILE`.
pub fn plan(arguments: &[std::ffi::OsString]) -> Result<Plan> {
    let mut plan = Plan {
        cuts: 100,
        volatile: 20,
        seed: u64::from(std::process::id()),
        program: None,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words
            .next()
            .with_context(|| format!("{word:?} needs a value"))?;
        let number = || -> Result<u64> {
            let text = value.to_string_lossy();
            text.parse()
                .with_context(|| format!("{text:?} is no number"))
        };
        match word.to_str() {
            Some("--cuts") => plan.cuts = number()?.max(1),
            Some("--volatile") => plan.volatile = number()?,
            Some("--seed") => plan.seed = number()?,
            Some("--program") => plan.program = Some(PathBuf::from(value)),
            _ => bail!("{word:?} is no option: --cuts N, --volatile N, --seed N, --program FILE"),
        }
    }
    plan.volatile = plan.volatile.min(plan.cuts);
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cut_took_is_read_from_the_disks_words() {
        let said =
            r#"power loss (torn:1): disk {"writes": 211, "flushes": 43, "lost": 5, "kept": 3}"#;
        assert_eq!(number(said, "lost"), 5);
        assert_eq!(number(said, "kept"), 3);
        assert_eq!(number("guest killed", "lost"), 0);
    }

    #[test]
    fn the_volatile_cuts_are_as_many_as_asked_for() {
        for (cuts, volatile) in [(10, 3), (100, 20), (1, 1), (5, 0), (7, 7)] {
            let plan = Plan {
                cuts,
                volatile,
                seed: 1,
                program: None,
            };
            let boot = |round| Boot {
                root: Path::new("/"),
                program: Path::new("/"),
                place: Path::new("/"),
                plan: &plan,
                round,
            };
            let found = (0..=cuts)
                .filter(|round| boot(*round).is_volatile())
                .count();
            assert_eq!(found as u64, volatile, "{cuts} {volatile}");
        }
    }
}
