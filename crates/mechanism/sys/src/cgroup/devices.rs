//! The device controller: text rules on version 1, a generated BPF program on version 2.
//!
//! The meaning is the same on both: each of the accesses `r`, `w` and `m` is decided by the last
//! rule that covers it, and what no rule covers is allowed.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use berth_types::oci::DeviceRule;

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// Most rules of one program: some ten times what a container with many devices has.
const MAX_RULES: usize = 2048;

/// One eBPF instruction (`struct bpf_insn`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The rule as version 1's `devices.allow` and `devices.deny` want it: `c 1:3 rwm`.
pub(super) fn text(rule: &DeviceRule) -> String {
    let number = |n: Option<i64>| {
        n.filter(|n| *n >= 0)
            .map_or("*".to_owned(), |n| n.to_string())
    };
    match rule.kind.unwrap_or('a') {
        'a' => "a".to_owned(),
        kind => {
            let access = if rule.access.is_empty() {
                "rwm"
            } else {
                &rule.access
            };
            format!(
                "{kind} {}:{} {access}",
                number(rule.major),
                number(rule.minor)
            )
        }
    }
}

mod op {
    //! Codes of `linux/bpf_common.h` and `linux/bpf.h`.
    pub const LDX_W: u8 = 0x61;
    pub const MOV_K: u8 = 0xb7;
    pub const MOV_X: u8 = 0xbf;
    pub const AND_K: u8 = 0x57;
    pub const RSH_K: u8 = 0x77;
    pub const JEQ_K: u8 = 0x15;
    pub const JNE_K: u8 = 0x55;
    pub const EXIT: u8 = 0x95;
}

/// Register uses: the verdict, the context, accesses not decided yet, device type, major, minor,
/// and a scratch register.
const VERDICT: u8 = 0;
const CONTEXT: u8 = 1;
const OPEN: u8 = 2;
const TYPE: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

fn insn(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: source << 4 | destination,
        offset,
        immediate,
    }
}

fn access_bits(access: &str) -> i32 {
    let bit = |c| match c {
        'm' => 1,
        'r' => 2,
        'w' => 4,
        _ => 0,
    };
    if access.is_empty() {
        7
    } else {
        access.chars().map(bit).fold(0, |all, b| all | b)
    }
}

/// The program. It walks the rules from the last to the first with the set of accesses that are
/// still open: a denying rule that covers one of them ends with 0, an allowing one closes those
/// it covers, and when none is open the answer is 1.
pub(super) fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    // `struct bpf_cgroup_dev_ctx`: access_type (accesses << 16 | type), major, minor.
    let mut code = vec![
        insn(op::LDX_W, OPEN, CONTEXT, 0, 0),
        insn(op::MOV_X, TYPE, OPEN, 0, 0),
        insn(op::AND_K, TYPE, 0, 0, 0xffff),
        insn(op::RSH_K, OPEN, 0, 0, 16),
        insn(op::LDX_W, MAJOR, CONTEXT, 4, 0),
        insn(op::LDX_W, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        code.extend(rule_code(rule));
    }
    code.extend(answer(1));
    code
}

fn answer(verdict: i32) -> [Instruction; 2] {
    [
        insn(op::MOV_K, VERDICT, 0, 0, verdict),
        insn(op::EXIT, 0, 0, 0, 0),
    ]
}

fn rule_code(rule: &DeviceRule) -> Vec<Instruction> {
    let mut tests = Vec::new();
    let kind = rule.kind.unwrap_or('a');
    if kind != 'a' {
        tests.push((TYPE, if kind == 'b' { 1 } else { 2 }));
        for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
            if let Some(number) = number
                .and_then(|n| i32::try_from(n).ok())
                .filter(|n| *n >= 0)
            {
                tests.push((register, number));
            }
        }
    }
    // A rule for everything covers every access, as it does on version 1.
    let covered = if kind == 'a' {
        7
    } else {
        access_bits(&rule.access)
    };
    let body = if rule.allow {
        let mut body = vec![
            insn(op::AND_K, OPEN, 0, 0, 7 & !covered),
            insn(op::JNE_K, OPEN, 0, 2, 0),
        ];
        body.extend(answer(1));
        body
    } else {
        let mut body = vec![
            insn(op::MOV_X, SCRATCH, OPEN, 0, 0),
            insn(op::AND_K, SCRATCH, 0, 0, covered),
            insn(op::JEQ_K, SCRATCH, 0, 2, 0),
        ];
        body.extend(answer(0));
        body
    };
    let mut code: Vec<Instruction> = Vec::new();
    for (index, (register, value)) in tests.iter().enumerate() {
        let skip = tests.len() - index - 1 + body.len();
        code.push(insn(op::JNE_K, *register, 0, skip as i16, *value));
    }
    code.extend(body);
    code
}

/// `union bpf_attr` as `BPF_PROG_LOAD` reads it, up to the member that Linux 4.10 has.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// `union bpf_attr` as `BPF_PROG_ATTACH` reads it.
#[repr(C)]
struct AttachAttr {
    target_fd: RawFd,
    attach_bpf_fd: RawFd,
    attach_type: u32,
    attach_flags: u32,
}

fn bpf<T>(command: i32, attr: &T) -> io::Result<i64> {
    // SAFETY: `attr` is the part of `union bpf_attr` that `command` reads, of the given size;
    // the pointers inside stay valid during the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Loads the program for `rules` and attaches it to the version 2 group `group`. It lives as long
/// as the group.
///
/// # Errors
/// `EPERM` without `CAP_BPF` and `CAP_NET_ADMIN`, `E2BIG` for more rules than [`MAX_RULES`].
pub(super) fn attach(group: BorrowedFd<'_>, rules: &[DeviceRule]) -> io::Result<()> {
    if rules.len() > MAX_RULES {
        return Err(rustix::io::Errno::TOOBIG.into());
    }
    let code = program(rules);
    let load = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: code.len() as u32,
        insns: code.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    let program = bpf(BPF_PROG_LOAD, &load)?;
    // SAFETY: the kernel just made this descriptor, close-on-exec, and nobody else owns it.
    let program = unsafe { OwnedFd::from_raw_fd(program as RawFd) };
    let attach = AttachAttr {
        target_fd: group.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    bpf(BPF_PROG_ATTACH, &attach).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allow: bool, text: &str) -> DeviceRule {
        let mut parts = text.split([' ', ':']);
        let number = |s: Option<&str>| s.and_then(|s| s.parse().ok());
        DeviceRule {
            allow,
            kind: parts.next().and_then(|s| s.chars().next()),
            major: number(parts.next()),
            minor: number(parts.next()),
            access: parts.next().unwrap_or("rwm").to_owned(),
        }
    }

    /// Enough of an eBPF machine for [`program`].
    fn run(code: &[Instruction], kind: char, major: i64, minor: i64, access: &str) -> bool {
        let first = i64::from(access_bits(access)) << 16 | if kind == 'b' { 1 } else { 2 };
        let context = [first, major, minor];
        let mut r = [0_i64; 16];
        let mut at = 0;
        loop {
            let i = code[at];
            let (d, s) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            at += 1;
            match i.code {
                op::LDX_W => r[d] = context[i.offset as usize / 4],
                op::MOV_K => r[d] = i64::from(i.immediate),
                op::MOV_X => r[d] = r[s],
                op::AND_K => r[d] &= i64::from(i.immediate),
                op::RSH_K => r[d] >>= i.immediate,
                op::JEQ_K if r[d] == i64::from(i.immediate) => at += i.offset as usize,
                op::JNE_K if r[d] != i64::from(i.immediate) => at += i.offset as usize,
                op::JEQ_K | op::JNE_K => {}
                op::EXIT => return r[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_last_covering_rule_decides_each_access() {
        let rules = [
            rule(false, "a *:* rwm"),
            rule(true, "c *:* m"),
            rule(true, "c 1:3 rw"),
            rule(true, "b 8:* rwm"),
            rule(false, "b 8:1 w"),
        ];
        let code = program(&rules);
        let check = |kind, major, minor, access, expected| {
            let answer = run(&code, kind, major, minor, access);
            assert_eq!(answer, expected, "{kind} {major}:{minor} {access}");
        };
        check('c', 1, 3, "rw", true);
        check('c', 1, 3, "rwm", true); // decided by two rules together
        check('b', 1, 3, "r", false);
        check('c', 1, 5, "r", false);
        check('c', 1, 5, "m", true);
        check('c', 1, 5, "rm", false);
        check('b', 8, 0, "rw", true);
        check('b', 8, 1, "r", true);
        check('b', 8, 1, "rw", false);
        assert!(run(&program(&[]), 'c', 1, 1, "rwm"));
    }

    #[test]
    fn version_1_text() {
        let check = |r: DeviceRule, expected: &str| assert_eq!(text(&r), expected);
        check(rule(false, "a *:* rwm"), "a");
        check(rule(true, "c 1:3 rw"), "c 1:3 rw");
        check(rule(true, "b 8:* r"), "b 8:* r");
        check(
            DeviceRule {
                allow: true,
                ..DeviceRule::default()
            },
            "a",
        );
    }

    /// The real kernel takes the program on its version 2 tree, wherever that is mounted.
    #[test]
    fn the_kernel_accepts_the_program() {
        let trees = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let Some(tree) = trees
            .iter()
            .find(|t| std::fs::exists(format!("{t}/cgroup.procs")).unwrap())
        else {
            panic!("no version 2 tree is mounted: this test needs one");
        };
        let group = format!("{tree}/berth-test-devices-{}", std::process::id());
        std::fs::create_dir(&group).unwrap();
        let fd: OwnedFd = std::fs::File::open(&group).unwrap().into();
        let rules = [
            rule(false, "a *:* rwm"),
            rule(true, "c 1:3 rwm"),
            rule(true, "b *:* m"),
        ];
        let attached = attach(std::os::fd::AsFd::as_fd(&fd), &rules);
        std::fs::remove_dir(&group).unwrap();
        attached.unwrap();
    }
}
