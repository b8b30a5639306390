//! The smallest program there is: it prints a text and ends. Made here, byte by byte, so that
//! an engine has something to run before it has any image, and needs no compiler for it.

use super::Arch;

/// Bytes of an ELF64 file header (`elf(5)`).
const FILE_HEADER: usize = 64;
/// Bytes of one program header.
const PROGRAM_HEADER: usize = 56;
/// Where the one segment is mapped; the file from its beginning.
const ADDRESS: u64 = 0x40_0000;
/// Largest page that either processor may have.
const PAGE: u64 = 0x1_0000;
/// Longest text: what one ARM instruction can name as a number.
const TEXT_MAX: usize = u16::MAX as usize;

impl Arch {
    /// A static ELF program for this ABI that writes `text` to its standard output and ends with
    /// status 0. `None` for an ABI that no image is made for here, or a text of more than 64 KiB.
    pub fn program_that_prints(self, text: &str) -> Option<Vec<u8>> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let length = u32::try_from(text.len()).ok()?;
        let (write, exit) = (self.syscall_number("write")?, self.syscall_number("exit")?);
        // `e_machine` of `elf.h`, and the instructions; the text follows them.
        let (machine, code): (u16, Vec<u8>) = match self {
            Arch::X86_64 => (62, x86_64(write, exit, length)),
            Arch::Aarch64 => (183, aarch64(write, exit, length)),
            _ => return None,
        };
        let start = ADDRESS + (FILE_HEADER + PROGRAM_HEADER) as u64;
        let size = (FILE_HEADER + PROGRAM_HEADER + code.len() + text.len()) as u64;
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        let halves = |file: &mut Vec<u8>, values: &[u16]| {
            file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        };
        let words = |file: &mut Vec<u8>, values: &[u32]| {
            file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        };
        let longs = |file: &mut Vec<u8>, values: &[u64]| {
            file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        };
        // ET_EXEC; version; entry, program headers, no sections; flags.
        halves(&mut file, &[2, machine]);
        words(&mut file, &[1]);
        longs(&mut file, &[start, FILE_HEADER as u64, 0]);
        words(&mut file, &[0]);
        halves(
            &mut file,
            &[FILE_HEADER as u16, PROGRAM_HEADER as u16, 1, 0, 0, 0],
        );
        // PT_LOAD, readable and executable; offset, addresses, sizes, alignment.
        words(&mut file, &[1, 5]);
        longs(&mut file, &[0, ADDRESS, ADDRESS, size, size, PAGE]);
        file.extend_from_slice(&code);
        file.extend_from_slice(text.as_bytes());
        Some(file)
    }
}

/// `write(1, text, length)`, `exit(0)`.
fn x86_64(write: u32, exit: u32, length: u32) -> Vec<u8> {
    /// From behind `lea` to the text behind the code.
    const AHEAD: u32 = 16;
    let mut code = vec![0xb8]; // mov eax, write
    code.extend(write.to_le_bytes());
    code.extend([0xbf, 1, 0, 0, 0]); // mov edi, 1
    code.extend([0x48, 0x8d, 0x35]); // lea rsi, [rip + AHEAD]
    code.extend(AHEAD.to_le_bytes());
    code.push(0xba); // mov edx, length
    code.extend(length.to_le_bytes());
    code.extend([0x0f, 0x05]); // syscall
    code.push(0xb8); // mov eax, exit
    code.extend(exit.to_le_bytes());
    code.extend([0x31, 0xff]); // xor edi, edi
    code.extend([0x0f, 0x05]); // syscall
    code
}

/// The same; every instruction is one word.
fn aarch64(write: u32, exit: u32, length: u32) -> Vec<u8> {
    let movz = |register: u32, value: u32| 0xd280_0000 | (value & 0xffff) << 5 | register;
    /// From `adr` to the text: six instructions.
    const AHEAD: u32 = 24;
    let adr = 0x1000_0000 | (AHEAD & 3) << 29 | (AHEAD >> 2) << 5 | 1;
    const SVC: u32 = 0xd400_0001;
    [
        movz(8, write),
        movz(0, 1),
        adr,
        movz(2, length),
        SVC,
        movz(8, exit),
        movz(0, 0),
        SVC,
    ]
    .iter()
    .flat_map(|word| word.to_le_bytes())
    .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek as _, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::process::Command;

    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;
    use crate::memfd::sealed_copy;

    #[test]
    fn it_prints_its_text_and_ends_well() {
        let text = "one line\nand another, with ünïcödé\n";
        let program = Arch::NATIVE.program_that_prints(text).unwrap();
        assert!(program.len() < 256 + text.len());
        let mut file = File::from(memfd_create("program", MemfdFlags::CLOEXEC).unwrap());
        file.write_all(&program).unwrap();
        file.rewind().unwrap();
        let sealed = sealed_copy(&mut file, c"program").unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), sealed.as_raw_fd());
        let output = Command::new(path).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), text);
        assert_eq!(output.status.code(), Some(0));
    }

    #[test]
    fn the_text_begins_where_the_code_says() {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let program = arch.program_that_prints("TEXT").unwrap();
            let headers = FILE_HEADER + PROGRAM_HEADER;
            assert_eq!(
                program.len(),
                program.windows(4).position(|w| w == b"TEXT").unwrap() + 4
            );
            // `lea` ends 17 bytes into the code and `adr` begins 8 bytes into it.
            let base = if arch == Arch::X86_64 {
                17 + 16
            } else {
                8 + 24
            };
            assert_eq!(&program[headers + base..], b"TEXT");
        }
        assert_eq!(Arch::Arm.program_that_prints("x"), None);
        assert_eq!(Arch::NATIVE.program_that_prints(&"x".repeat(70_000)), None);
    }
}
