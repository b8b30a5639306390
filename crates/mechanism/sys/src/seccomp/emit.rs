//! A BPF assembler that writes programs from their end to their start.
//!
//! BPF jumps only go forward and conditional ones skip at most 255 instructions. Written
//! backwards, every target exists before the jump to it, so distances are known at once; where
//! one is too far, a copy of the returned value or an unconditional jump is put in between.

use std::collections::HashMap;

use super::Instruction;

/// The farthest target a conditional jump is given directly: 255, less the two instructions that
/// bringing both of its targets near may add.
const REACH: usize = 253;

/// Beyond this distance a returned value is written again instead of jumped to; below
/// [`REACH`] so that the new one serves for a while.
const RETURN_REUSE: usize = 200;

const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// The tests of a conditional jump, all unsigned.
#[derive(Debug, Clone, Copy)]
pub(super) enum Test {
    Equal,
    Greater,
    GreaterEqual,
    AnyBitSet,
}

/// An instruction that is already written, counted from the end of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

#[derive(Debug, Default)]
pub(super) struct Emitter {
    /// The program, last instruction first.
    reversed: Vec<Instruction>,
    /// Where each returned value was written last.
    returns: HashMap<u32, Label>,
}

impl Emitter {
    fn push(&mut self, code: u32, operand: u32, jump_true: usize, jump_false: usize) -> Label {
        let label = Label(self.reversed.len());
        self.reversed.push(Instruction {
            // Operation codes have 8 bits, and `branch` keeps distances within 8.
            code: code as u16,
            jump_true: jump_true as u8,
            jump_false: jump_false as u8,
            operand,
        });
        label
    }

    /// Instructions between one written now and `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label.0 - 1
    }

    /// The value returned at `label`, if that is what is there.
    fn returned_at(&self, label: Label) -> Option<u32> {
        let instruction = self.reversed.get(label.0)?;
        (u32::from(instruction.code) == RETURN).then_some(instruction.operand)
    }

    /// Ends the program with this value.
    pub(super) fn ret(&mut self, value: u32) -> Label {
        if let Some(label) = self.returns.get(&value).copied()
            && self.distance(label) <= RETURN_REUSE
        {
            return label;
        }
        let label = self.push(RETURN, value, 0, 0);
        self.returns.insert(value, label);
        label
    }

    /// A label that does what `label` does and is near enough for a conditional jump.
    fn near(&mut self, label: Label) -> Label {
        if self.distance(label) <= REACH {
            return label;
        }
        match self.returned_at(label) {
            Some(value) => self.ret(value),
            None => self.push(JUMP, self.distance(label) as u32, 0, 0),
        }
    }

    /// Makes `label` what comes right after the instruction written next.
    fn follow(&mut self, label: Label) {
        if self.distance(label) == 0 {
            return;
        }
        match self.returned_at(label) {
            Some(value) => self.push(RETURN, value, 0, 0),
            None => self.push(JUMP, self.distance(label) as u32, 0, 0),
        };
    }

    /// Goes on at one of two labels by comparing the accumulator with a constant.
    pub(super) fn branch(&mut self, test: Test, value: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let yes = self.near(yes);
        let no = self.near(no);
        let operation = match test {
            Test::Equal => libc::BPF_JEQ,
            Test::Greater => libc::BPF_JGT,
            Test::GreaterEqual => libc::BPF_JGE,
            Test::AnyBitSet => libc::BPF_JSET,
        };
        let code = libc::BPF_JMP | operation | libc::BPF_K;
        self.push(code, value, self.distance(yes), self.distance(no))
    }

    /// Loads the 32-bit word at a byte offset of `struct seccomp_data`, then goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.follow(next);
        self.push(LOAD_WORD, offset, 0, 0)
    }

    /// Keeps the bits of the accumulator under `mask`, then goes on at `next`.
    pub(super) fn and(&mut self, mask: u32, next: Label) -> Label {
        self.follow(next);
        self.push(AND, mask, 0, 0)
    }

    /// The program; it starts with what was written last.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Filter};
    use super::*;
    use crate::arch::Arch;

    /// A chain so long that both ends of every jump need help: number n returns errno n.
    #[test]
    fn far_targets_are_bridged() {
        const COUNT: u32 = 600;
        let mut emitter = Emitter::default();
        let allow = emitter.ret(Action::Allow.return_value());
        let errnos: Vec<Label> = (0..COUNT)
            .map(|n| {
                let errno = emitter.ret(Action::Errno(n as u16).return_value());
                // Something that is no return, so that it is jumped to and not copied.
                emitter.load(0, errno)
            })
            .collect();
        let mut next = allow;
        for (number, errno) in (0..COUNT).zip(errnos) {
            next = emitter.branch(Test::Equal, number, errno, next);
        }
        emitter.load(0, next);
        let filter = Filter::from_instructions(emitter.finish()).unwrap();
        let answer = |number| filter.simulate(Arch::NATIVE, number, [0; 6]).unwrap();
        for number in 0..COUNT {
            assert_eq!(answer(number), Action::Errno(number as u16));
        }
        assert_eq!(answer(COUNT), Action::Allow);
    }
}
