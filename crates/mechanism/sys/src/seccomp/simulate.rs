//! What a filter would do: an interpreter for the BPF that filters consist of.
//!
//! It answers questions about a filter without loading it, and for architectures that this
//! machine is not.

use super::{Action, Filter, Instruction};
use crate::arch::Arch;

impl Filter {
    /// The action for one call. `number` is the call as the kernel sees it, so an x32 call has
    /// its bit set, as [`Arch::syscall_number`] returns it. `None` when the program uses an
    /// instruction outside of what [`super::compile()`] emits, or runs off its end.
    #[must_use]
    pub fn simulate(&self, arch: Arch, number: u32, arguments: [u64; 6]) -> Option<Action> {
        let mut words = [0; 16];
        let (head, tail) = words.split_at_mut(4);
        head.copy_from_slice(&[number, arch.audit(), 0, 0]);
        for (pair, argument) in tail.chunks_exact_mut(2).zip(arguments) {
            pair.copy_from_slice(&[argument as u32, (argument >> 32) as u32]);
        }
        run(self.instructions(), &words).map(Action::from_return_value)
    }
}

/// Runs a program over `struct seccomp_data`, given as its 32-bit words.
fn run(program: &[Instruction], data: &[u32; 16]) -> Option<u32> {
    let mut accumulator = 0;
    let mut position = 0;
    loop {
        let instruction = program.get(position)?;
        let operand = instruction.operand;
        let jump = |holds: bool| {
            usize::from(if holds {
                instruction.jump_true
            } else {
                instruction.jump_false
            })
        };
        let skip = match u32::from(instruction.code) {
            LOAD => {
                if !operand.is_multiple_of(4) {
                    return None;
                }
                accumulator = *data.get(operand as usize / 4)?;
                0
            }
            AND => {
                accumulator &= operand;
                0
            }
            JUMP => operand as usize,
            JUMP_EQUAL => jump(accumulator == operand),
            JUMP_GREATER => jump(accumulator > operand),
            JUMP_GREATER_EQUAL => jump(accumulator >= operand),
            JUMP_SET => jump(accumulator & operand != 0),
            RETURN => return Some(operand),
            _ => return None,
        };
        // Always forward, so the loop ends after at most one pass.
        position = position.checked_add(1)?.checked_add(skip)?;
    }
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const JUMP_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const JUMP_GREATER: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const JUMP_GREATER_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const JUMP_SET: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
