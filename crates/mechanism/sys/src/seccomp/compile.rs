//! From a profile to a program.
//!
//! ```text
//! load arch ─┬─ x86_64, x32 ─ load number ─ search tree ─┬─ allow
//!            ├─ x86 ───────── load number ─ search tree ─┼─ argument checks ─ ...
//!            └─ any other ─ kill                         └─ errno, ...
//! ```
//!
//! Each architecture's numbers are cut into ranges with the same verdict, and the tree is a binary
//! search for the range, so any call is decided in some ten comparisons.

use std::collections::HashMap;

use super::checks::{Clause, emit_clauses};
use super::emit::{Emitter, Label, Test};
use super::ranges::{FOREIGN, Ranges, Verdict, call_ranges, foreign_ranges};
use super::{Action, Filter, FilterError, Profile};
use crate::arch::Arch;

/// Byte offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// Why a profile has no program.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompileError {
    /// A condition on an argument that no call has.
    #[error("seccomp rule for {name}: there is no argument {index}; arguments are 0 to 5")]
    Argument {
        /// First name of the rule.
        name: String,
        /// The index it gave.
        index: u8,
    },
    /// An error number the kernel cannot return.
    #[error("seccomp profile: error number {0} is out of range; the largest is 4095")]
    Errno(u16),
    /// The program is longer than the kernel takes.
    #[error("the seccomp profile does not fit the kernel's limit; use fewer argument conditions")]
    Length(#[source] FilterError),
}

impl CompileError {
    /// The kind for whoever chooses a status code.
    #[must_use]
    pub fn kind(&self) -> berth_types::ErrorKind {
        berth_types::ErrorKind::Invalid
    }
}

/// Compiles a profile.
///
/// When several rules match a call, a rule without conditions wins over rules with conditions,
/// among equals the first in the profile wins, and rules that only repeat the default action are
/// ignored: the outcome libseccomp has. A default of `Errno` is answered as `ENOSYS` for calls
/// newer than every call the profile names, as runc does, because C libraries fall back from a
/// new call to an old one on `ENOSYS` only. What is said of a call that 32-bit x86 can also make
/// through `socketcall` or `ipc` holds there too, as far as it can be checked.
///
/// # Errors
/// For a condition on a seventh argument, an error number out of range, or a program longer than
/// [`super::MAX_INSTRUCTIONS`].
pub fn compile(profile: &Profile) -> Result<Filter, CompileError> {
    validate(profile)?;
    let native = [Arch::NATIVE];
    let listed = match profile.architectures.as_slice() {
        [] => &native,
        architectures => architectures,
    };
    let mut doors: Vec<u32> = Vec::new();
    for arch in listed {
        if !doors.contains(&arch.audit()) {
            doors.push(arch.audit());
        }
    }
    let mut compiler = Compiler {
        profile,
        emitter: Emitter::default(),
        checks: HashMap::new(),
    };
    // Written backwards: the first door listed ends up nearest to the start.
    let mut sections = Vec::with_capacity(doors.len());
    for audit in doors.into_iter().rev() {
        sections.push((audit, compiler.section(audit, listed)));
    }
    let mut emitter = compiler.emitter;
    let mut next = emitter.ret(FOREIGN.return_value());
    for (audit, section) in sections {
        next = emitter.branch(Test::Equal, audit, section, next);
    }
    emitter.load(ARCHITECTURE, next);
    Filter::from_instructions(emitter.finish()).map_err(CompileError::Length)
}

fn validate(profile: &Profile) -> Result<(), CompileError> {
    let actions = profile.rules.iter().map(|rule| rule.action);
    for action in actions.chain([profile.default_action]) {
        if let Action::Errno(errno) = action
            && errno > Action::MAX_ERRNO
        {
            return Err(CompileError::Errno(errno));
        }
    }
    for rule in &profile.rules {
        if let Some(condition) = rule.conditions.iter().find(|condition| condition.index > 5) {
            let name = rule.names.first().cloned().unwrap_or_default();
            return Err(CompileError::Argument {
                name,
                index: condition.index,
            });
        }
    }
    Ok(())
}

/// A range with a few numbers in it that are decided differently. A lone number costs one
/// comparison this way, and two as a range of its own.
struct Leaf<'a> {
    start: u32,
    verdict: &'a Verdict,
    exceptions: Vec<(u32, &'a Verdict)>,
}

/// The most exceptions of one leaf, since they are looked at one after the other.
const MAX_EXCEPTIONS: usize = 4;

/// Joins ranges that agree around a lone number.
fn leaves(ranges: &[(u32, Verdict)]) -> Vec<Leaf<'_>> {
    let mut leaves = Vec::new();
    let mut rest = ranges;
    while let [(start, verdict), after @ ..] = rest {
        let mut leaf = Leaf {
            start: *start,
            verdict,
            exceptions: Vec::new(),
        };
        rest = after;
        while let [(number, other), (end, same), ..] = rest
            && same == verdict
            && number.checked_add(1) == Some(*end)
        {
            if leaf.exceptions.len() == MAX_EXCEPTIONS {
                leaves.push(leaf);
                leaf = Leaf {
                    start: *number,
                    verdict,
                    exceptions: Vec::new(),
                };
            }
            leaf.exceptions.push((*number, other));
            rest = rest.get(2..).unwrap_or_default();
        }
        leaves.push(leaf);
    }
    leaves
}

struct Compiler<'a> {
    profile: &'a Profile,
    emitter: Emitter,
    /// Argument checks already written, by argument width.
    checks: HashMap<(bool, Vec<Clause>), Label>,
}

impl Compiler<'_> {
    /// The code for all ABIs behind one audit architecture.
    fn section(&mut self, audit: u32, listed: &[Arch]) -> Label {
        let mut ranges = Ranges::new();
        let mut narrow = false;
        let mut behind: Vec<Arch> = Arch::ALL
            .into_iter()
            .filter(|arch| arch.audit() == audit)
            .collect();
        behind.sort_by_key(|arch| *arch.numbers().start());
        for arch in behind {
            narrow = arch.has_narrow_arguments();
            if listed.contains(&arch) {
                ranges.extend(call_ranges(self.profile, arch));
            } else {
                ranges.extend(foreign_ranges(self.profile, arch));
            }
        }
        ranges.dedup_by(|next, previous| next.1 == previous.1);
        let tree = self.tree(narrow, &leaves(&ranges));
        self.emitter.load(NUMBER, tree)
    }

    /// A binary search for the leaf that holds the number in the accumulator.
    fn tree(&mut self, narrow: bool, leaves: &[Leaf<'_>]) -> Label {
        match leaves {
            // Every architecture has at least the range that starts at its first number.
            [] => self.emitter.ret(FOREIGN.return_value()),
            [leaf] => {
                let mut next = self.verdict(narrow, leaf.verdict);
                for (number, verdict) in leaf.exceptions.iter().rev() {
                    let yes = self.verdict(narrow, verdict);
                    next = self.emitter.branch(Test::Equal, *number, yes, next);
                }
                next
            }
            _ => {
                let (lower, upper) = leaves.split_at(leaves.len() / 2);
                let boundary = upper.first().map_or(0, |leaf| leaf.start);
                let yes = self.tree(narrow, upper);
                let no = self.tree(narrow, lower);
                self.emitter.branch(Test::GreaterEqual, boundary, yes, no)
            }
        }
    }

    fn verdict(&mut self, narrow: bool, verdict: &Verdict) -> Label {
        let clauses = match verdict {
            Verdict::Return(value) => return self.emitter.ret(*value),
            Verdict::Check(clauses) => clauses,
        };
        let key = (narrow, clauses.clone());
        if let Some(label) = self.checks.get(&key) {
            return *label;
        }
        let otherwise = self.profile.default_action.return_value();
        let label = emit_clauses(&mut self.emitter, narrow, clauses, otherwise);
        self.checks.insert(key, label);
        label
    }
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
