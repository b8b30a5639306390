//! A compiled filter, as instructions and as bytes, and its loading.

use std::io;

/// The longest program the kernel takes (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// One classic BPF instruction, laid out as the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a test holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

const INSTRUCTION_BYTES: usize = size_of::<Instruction>();

/// Why bytes are not a filter.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    /// The bytes end inside an instruction, or there are none.
    #[error("a seccomp filter of {0} bytes is not a whole number of 8-byte instructions")]
    Truncated(usize),
    /// More than [`MAX_INSTRUCTIONS`].
    #[error("a seccomp filter of {0} instructions is too long; the kernel takes 4096")]
    TooLong(usize),
}

impl FilterError {
    /// The kind for whoever chooses a status code.
    #[must_use]
    pub fn kind(&self) -> berth_types::ErrorKind {
        berth_types::ErrorKind::Invalid
    }
}

/// A BPF program for `seccomp(2)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    instructions: Vec<Instruction>,
}

impl Filter {
    /// Wraps a program.
    ///
    /// # Errors
    /// When it is empty or longer than [`MAX_INSTRUCTIONS`].
    pub fn from_instructions(instructions: Vec<Instruction>) -> Result<Filter, FilterError> {
        match instructions.len() {
            0 => Err(FilterError::Truncated(0)),
            1..=MAX_INSTRUCTIONS => Ok(Filter { instructions }),
            length => Err(FilterError::TooLong(length)),
        }
    }

    /// Reads what [`Filter::as_bytes`] gave. Whether the program makes sense is checked by the
    /// kernel when it is loaded.
    ///
    /// # Errors
    /// When the bytes are not 1 to [`MAX_INSTRUCTIONS`] whole instructions.
    pub fn from_bytes(bytes: &[u8]) -> Result<Filter, FilterError> {
        if !bytes.len().is_multiple_of(INSTRUCTION_BYTES) {
            return Err(FilterError::Truncated(bytes.len()));
        }
        let (chunks, _) = bytes.as_chunks::<INSTRUCTION_BYTES>();
        let instruction =
            |&[c0, c1, jump_true, jump_false, k0, k1, k2, k3]: &[u8; 8]| Instruction {
                code: u16::from_ne_bytes([c0, c1]),
                jump_true,
                jump_false,
                operand: u32::from_ne_bytes([k0, k1, k2, k3]),
            };
        Filter::from_instructions(chunks.iter().map(instruction).collect())
    }

    /// The program as the kernel's `struct sock_filter[]`, in this machine's byte order.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let length = self.instructions.len() * INSTRUCTION_BYTES;
        // SAFETY: `Instruction` is `repr(C)` with fields of 2, 1, 1 and 4 bytes and so has no
        // padding; the slice covers exactly the vector's elements and borrows it.
        unsafe { std::slice::from_raw_parts(self.instructions.as_ptr().cast(), length) }
    }

    /// The program.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Installs the filter in the calling thread, for good; its children inherit it. Allocates
    /// nothing, so that it can be the last step before an exec.
    ///
    /// # Errors
    /// `EACCES` when the thread has neither `no_new_privs` nor `CAP_SYS_ADMIN` in its user
    /// namespace, `EINVAL` when the kernel rejects the program, `ENOMEM` when all filters of the
    /// thread together are too long, or what an earlier filter answers to `seccomp(2)`.
    pub fn load(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            // `Filter::from_instructions` keeps the length below 4097.
            len: self.instructions.len() as u16,
            filter: self.instructions.as_ptr().cast_mut().cast(),
        };
        // SAFETY: `program` points at `len` instructions laid out as `sock_filter`, alive and
        // unchanged during the call; the kernel only reads and copies them.
        let result = unsafe {
            let operation = libc::SECCOMP_SET_MODE_FILTER;
            libc::syscall(libc::SYS_seccomp, operation, 0, &raw const program)
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETURN: Instruction = Instruction {
        code: 0x06,
        jump_true: 1,
        jump_false: 2,
        operand: 0x7fff_0000,
    };

    #[test]
    fn bytes_round_trip_and_match_the_kernel_layout() {
        let filter = Filter::from_instructions(vec![RETURN; 3]).unwrap();
        assert_eq!(filter.as_bytes().len(), 3 * size_of::<libc::sock_filter>());
        assert_eq!(filter.as_bytes()[2..4], [1, 2]);
        assert_eq!(Filter::from_bytes(filter.as_bytes()).unwrap(), filter);
    }

    #[test]
    fn bad_lengths_are_refused() {
        let check = |length: usize, error| {
            assert_eq!(Filter::from_bytes(&vec![0; length]).unwrap_err(), error);
        };
        check(0, FilterError::Truncated(0));
        check(12, FilterError::Truncated(12));
        check(8 * 4097, FilterError::TooLong(4097));
        assert!(Filter::from_bytes(&[0; 8 * 4096]).is_ok());
    }
}
