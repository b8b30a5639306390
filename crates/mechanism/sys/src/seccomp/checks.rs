//! The code that looks at a call's arguments.
//!
//! BPF compares 32 bits and arguments have 64, so each comparison is made of two halves. On a
//! 32-bit architecture the upper half is always zero and is not looked at; the upper half of the
//! value compared with is then ignored too, as in libseccomp, so that `-1` written as a 64-bit
//! number still means `-1`.

use super::emit::{Emitter, Label, Test};
use super::{Condition, Operator};

/// Byte offset of the first argument in `struct seccomp_data`.
const ARGUMENTS: u32 = 16;

/// What a filter returns when all these conditions hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Clause {
    pub(super) conditions: Vec<Condition>,
    pub(super) value: u32,
}

impl Clause {
    /// The argument and the upper half, when the clause is one test for equality: neighbours that
    /// agree in these can share the loads.
    fn single_equality(&self) -> Option<(u8, u32)> {
        match self.conditions.as_slice() {
            [
                Condition {
                    index,
                    operator: Operator::Equal,
                    value,
                },
            ] => Some((*index, high(*value))),
            _ => None,
        }
    }
}

/// Tries clauses in order; the first that holds decides, `otherwise` if none does.
pub(super) fn emit_clauses(
    emitter: &mut Emitter,
    narrow: bool,
    clauses: &[Clause],
    otherwise: u32,
) -> Label {
    let mut next = emitter.ret(otherwise);
    let same = |a: &Clause, b: &Clause| {
        a.single_equality().is_some() && a.single_equality() == b.single_equality()
    };
    let groups: Vec<&[Clause]> = clauses.chunk_by(same).collect();
    for group in groups.into_iter().rev() {
        next = match group {
            [clause] => emit_all(emitter, narrow, clause, next),
            _ => emit_any_equal(emitter, narrow, group, next),
        };
    }
    next
}

/// One clause: all of its conditions.
fn emit_all(emitter: &mut Emitter, narrow: bool, clause: &Clause, no: Label) -> Label {
    let mut yes = emitter.ret(clause.value);
    for condition in clause.conditions.iter().rev() {
        yes = emit_condition(emitter, narrow, condition, yes, no);
    }
    yes
}

/// Clauses that each test the same argument for equality, with the same upper half.
fn emit_any_equal(emitter: &mut Emitter, narrow: bool, group: &[Clause], no: Label) -> Label {
    let mut next = no;
    let mut place = (0, 0);
    for clause in group.iter().rev() {
        for condition in &clause.conditions {
            let yes = emitter.ret(clause.value);
            next = emitter.branch(Test::Equal, low(condition.value), yes, next);
            place = (condition.index, high(condition.value));
        }
    }
    let (index, upper) = place;
    next = emitter.load(low_word(index), next);
    if narrow {
        return next;
    }
    next = emitter.branch(Test::Equal, upper, next, no);
    emitter.load(high_word(index), next)
}

fn emit_condition(
    emitter: &mut Emitter,
    narrow: bool,
    condition: &Condition,
    yes: Label,
    no: Label,
) -> Label {
    let &Condition {
        index,
        operator,
        value,
    } = condition;
    let comparison = Comparison {
        narrow,
        index,
        value,
    };
    match operator {
        Operator::Equal => comparison.masked(emitter, u64::MAX, yes, no),
        Operator::NotEqual => comparison.masked(emitter, u64::MAX, no, yes),
        Operator::MaskedEqual { mask } => comparison.masked(emitter, mask, yes, no),
        Operator::GreaterEqual => comparison.ordered(emitter, Test::GreaterEqual, yes, no),
        Operator::GreaterThan => comparison.ordered(emitter, Test::Greater, yes, no),
        Operator::LessThan => comparison.ordered(emitter, Test::GreaterEqual, no, yes),
        Operator::LessEqual => comparison.ordered(emitter, Test::Greater, no, yes),
    }
}

/// One argument against one value.
struct Comparison {
    narrow: bool,
    index: u8,
    value: u64,
}

impl Comparison {
    fn masked(&self, emitter: &mut Emitter, mask: u64, yes: Label, no: Label) -> Label {
        let lower = (low_word(self.index), low(mask), low(self.value));
        let upper = (high_word(self.index), high(mask), high(self.value));
        let next = masked_half(emitter, lower, yes, no);
        if self.narrow {
            next
        } else {
            masked_half(emitter, upper, next, no)
        }
    }

    /// `lower` decides when the upper halves are equal.
    fn ordered(&self, emitter: &mut Emitter, lower: Test, yes: Label, no: Label) -> Label {
        let mut next = emitter.branch(lower, low(self.value), yes, no);
        next = emitter.load(low_word(self.index), next);
        if self.narrow {
            return next;
        }
        let upper = high(self.value);
        // What is not above zero is zero.
        if upper != 0 {
            next = emitter.branch(Test::Equal, upper, next, no);
        }
        next = emitter.branch(Test::Greater, upper, yes, next);
        emitter.load(high_word(self.index), next)
    }
}

/// Whether the word at `offset` is `value` under `mask`.
fn masked_half(
    emitter: &mut Emitter,
    (offset, mask, value): (u32, u32, u32),
    yes: Label,
    no: Label,
) -> Label {
    let next = match (mask, value) {
        // No bit can be set outside of the mask.
        _ if value & !mask != 0 => return no,
        (0, _) => return yes,
        (u32::MAX, _) => emitter.branch(Test::Equal, value, yes, no),
        (_, 0) => emitter.branch(Test::AnyBitSet, mask, no, yes),
        _ => {
            let next = emitter.branch(Test::Equal, value, yes, no);
            emitter.and(mask, next)
        }
    };
    emitter.load(offset, next)
}

fn low(value: u64) -> u32 {
    value as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

/// Offset of the lower half of an argument; all supported architectures are little-endian.
fn low_word(index: u8) -> u32 {
    ARGUMENTS + u32::from(index) * 8
}

fn high_word(index: u8) -> u32 {
    low_word(index) + 4
}
