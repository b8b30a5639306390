//! What a profile says of every number of an ABI, as ranges of equal verdict.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::checks::Clause;
use super::{Action, Condition, Operator, Profile, Rule};
use crate::arch::Arch;

/// What happens to calls through an ABI the profile does not list: without this a filter could be
/// passed by making the same call through another door.
pub(super) const FOREIGN: Action = Action::KillProcess;

const ENOSYS: u16 = libc::ENOSYS as u16;

/// What the program does with one call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Verdict {
    Return(u32),
    Check(Vec<Clause>),
}

/// The first number of a range, which ends where the next one starts.
pub(super) type Ranges = Vec<(u32, Verdict)>;

/// The numbers of an ABI the profile does not list. A call numbered -1 is no call of any ABI: it
/// is how a tracer cancels one, and what programs probe with.
pub(super) fn foreign_ranges(profile: &Profile, arch: Arch) -> Ranges {
    let mut ranges = vec![(
        *arch.numbers().start(),
        Verdict::Return(FOREIGN.return_value()),
    )];
    if *arch.numbers().end() == u32::MAX {
        ranges.push((
            u32::MAX,
            Verdict::Return(profile.default_action.return_value()),
        ));
    }
    ranges
}

/// The numbers of an ABI, cut into ranges of equal verdict.
pub(super) fn call_ranges(profile: &Profile, arch: Arch) -> Ranges {
    let calls = calls(profile, arch);
    let background = Background::new(profile, arch, &calls);
    let mut ranges = Ranges::new();
    let mut push = |start: u32, verdict: Verdict| {
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((start, verdict));
        }
    };
    let mut gap = Some(*arch.numbers().start());
    for (number, verdict) in verdicts(profile, arch, &calls) {
        if let Some(start) = gap
            && start < number
        {
            background
                .cut(start..=number - 1)
                .for_each(|(start, verdict)| push(start, verdict));
        }
        push(number, verdict);
        gap = number.checked_add(1);
    }
    if let Some(start) = gap {
        let rest = start..=*arch.numbers().end();
        background
            .cut(rest)
            .for_each(|(start, verdict)| push(start, verdict));
    }
    ranges
}

/// What happens to the numbers no rule decides.
struct Background {
    arch: Arch,
    default: Action,
    /// The newest call named by the profile, when newer ones are answered with `ENOSYS`.
    newest: Option<u32>,
}

impl Background {
    fn new(profile: &Profile, arch: Arch, calls: &[(u32, &Rule)]) -> Background {
        let default = profile.default_action;
        let irregular = arch.irregular_numbers();
        let newest = match default {
            Action::Errno(_) => {
                let numbers = calls.iter().map(|(number, _)| *number);
                numbers.filter(|number| !irregular.contains(number)).max()
            }
            _ => None,
        };
        Background {
            arch,
            default,
            newest,
        }
    }

    fn verdict(&self, number: u32) -> Verdict {
        let newer = self.newest.is_some_and(|newest| number > newest);
        let irregular = self.arch.irregular_numbers().contains(&number);
        let action = if newer && !irregular {
            Action::Errno(ENOSYS)
        } else {
            self.default
        };
        Verdict::Return(action.return_value())
    }

    /// A range of undecided numbers, cut where the answer may change.
    fn cut(&self, range: RangeInclusive<u32>) -> impl Iterator<Item = (u32, Verdict)> {
        let irregular = self.arch.irregular_numbers();
        let mut starts = vec![*range.start()];
        let changes = [
            self.newest.and_then(|newest| newest.checked_add(1)),
            Some(*irregular.start()),
            irregular.end().checked_add(1),
        ];
        let inside = |start: &u32| range.contains(start) && start != range.start();
        starts.extend(changes.into_iter().flatten().filter(inside));
        starts.sort_unstable();
        starts.into_iter().map(|start| (start, self.verdict(start)))
    }
}

/// What the rules say of one call.
#[derive(Debug, Default)]
struct Said {
    always: Option<Action>,
    clauses: Vec<Clause>,
}

impl Said {
    fn add(&mut self, profile: &Profile, rule: &Rule) {
        let conditions = rule.conditions.as_slice();
        if rule.action == profile.default_action {
            return;
        }
        if conditions.is_empty() {
            self.always.get_or_insert(rule.action);
            return;
        }
        let value = rule.action.return_value();
        let repeats = |(position, condition): (usize, &Condition)| {
            conditions
                .iter()
                .take(position)
                .any(|earlier| earlier.index == condition.index)
        };
        if conditions.iter().enumerate().any(repeats) {
            let single = |condition: &Condition| Clause {
                conditions: vec![*condition],
                value,
            };
            self.clauses.extend(conditions.iter().map(single));
        } else {
            self.clauses.push(Clause {
                conditions: conditions.to_vec(),
                value,
            });
        }
    }

    fn verdict(self) -> Option<Verdict> {
        match self.always {
            Some(action) => Some(Verdict::Return(action.return_value())),
            None if self.clauses.is_empty() => None,
            None => Some(Verdict::Check(self.clauses)),
        }
    }

    /// What to return when the arguments cannot be seen.
    fn value_behind_pointer(&self) -> Option<u32> {
        let forbids = |clause: &&Clause| !Action::from_return_value(clause.value).permits();
        let forbidden = || self.clauses.iter().find(forbids).map(|clause| clause.value);
        self.always.map(Action::return_value).or_else(forbidden)
    }
}

/// Every call of an ABI that the profile names, with the rule, by number and then in the order of
/// the profile.
fn calls(profile: &Profile, arch: Arch) -> Vec<(u32, &Rule)> {
    let mut calls = Vec::new();
    for rule in &profile.rules {
        let numbers = rule
            .names
            .iter()
            .filter_map(|name| arch.syscall_number(name));
        calls.extend(numbers.map(|number| (number, rule)));
    }
    calls.sort_by_key(|(number, _)| *number);
    calls
}

/// What is decided about each call, by number.
fn verdicts(profile: &Profile, arch: Arch, calls: &[(u32, &Rule)]) -> Vec<(u32, Verdict)> {
    let mut multiplexers = multiplexers(profile, arch);
    let mut verdicts = Vec::with_capacity(calls.len());
    for group in calls.chunk_by(|a, b| a.0 == b.0) {
        let mut said = Said::default();
        let Some((number, _)) = group.first() else {
            continue;
        };
        group.iter().for_each(|(_, rule)| said.add(profile, rule));
        said.clauses
            .extend(multiplexers.remove(number).unwrap_or_default());
        verdicts.extend(said.verdict().map(|verdict| (*number, verdict)));
    }
    // What is left are multiplexers the profile does not name themselves.
    for (number, clauses) in multiplexers {
        verdicts.push((number, Verdict::Check(clauses)));
    }
    verdicts.sort_by_key(|(number, _)| *number);
    verdicts
}

/// What is said of calls that can also be made through a multiplexer, by the multiplexer's number.
///
/// The real arguments cannot be seen there, so conditions on them are taken as met where that
/// forbids the call, and as unmet where it permits it.
fn multiplexers(profile: &Profile, arch: Arch) -> BTreeMap<u32, Vec<Clause>> {
    let mut said: BTreeMap<(u32, u32, u32), Said> = BTreeMap::new();
    for rule in &profile.rules {
        for way in rule.names.iter().filter_map(|name| arch.multiplexed(name)) {
            if let Some(number) = arch.syscall_number(way.through) {
                said.entry((number, way.mask, way.code))
                    .or_default()
                    .add(profile, rule);
            }
        }
    }
    let mut result: BTreeMap<u32, Vec<Clause>> = BTreeMap::new();
    for ((number, mask, code), said) in said {
        if let Some(value) = said.value_behind_pointer() {
            let operator = Operator::MaskedEqual {
                mask: u64::from(mask),
            };
            let conditions = vec![Condition {
                index: 0,
                operator,
                value: u64::from(code),
            }];
            result
                .entry(number)
                .or_default()
                .push(Clause { conditions, value });
        }
    }
    result
}
