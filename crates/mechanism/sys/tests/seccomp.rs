//! Filters against the running kernel.
//!
//! A filter binds the thread that loads it, so most cases run in a thread of their own; those
//! that may kill the process run in this program started once more.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::thread;

use berth_sys::arch::Arch;
use berth_sys::caps::{self, ThreadCaps};
use berth_sys::rustix::io::Errno;
use berth_sys::rustix::net::{AddressFamily, SocketType, socket};
use berth_sys::rustix::{self, process};
use berth_sys::seccomp::{Action, Condition, Filter, Operator, Profile, Rule, compile};

/// Names the case that the program was started once more for.
const CASE: &str = "BERTH_SYS_SECCOMP_CASE";

/// The signal of a forbidden call.
const SIGSYS: i32 = 31;

fn rule(name: &str, action: Action, conditions: &[Condition]) -> Rule {
    Rule {
        names: vec![name.to_owned()],
        action,
        conditions: conditions.to_vec(),
    }
}

fn filter(default_action: Action, architectures: &[Arch], rules: Vec<Rule>) -> Filter {
    let architectures = architectures.to_vec();
    let filter = compile(&Profile {
        default_action,
        architectures,
        rules,
    })
    .unwrap();
    // As it travels to the process it is for.
    Filter::from_bytes(filter.as_bytes()).unwrap()
}

/// Runs a case in a thread that has loaded a filter.
fn confined<T: Send>(filter: &Filter, case: impl FnOnce() -> T + Send) -> T {
    let body = || {
        rustix::thread::set_no_new_privs(true).unwrap();
        filter.load().unwrap();
        case()
    };
    thread::scope(|scope| scope.spawn(body).join().unwrap())
}

/// Runs one test of this program in a new process, which takes the branch for `case`.
fn again(test: &str, case: &str) -> Output {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", test, "--nocapture", "--test-threads=1"];
    Command::new(program)
        .args(arguments)
        .env(CASE, case)
        .output()
        .unwrap()
}

fn case() -> Option<String> {
    std::env::var(CASE).ok()
}

#[test]
fn verdicts_hold_in_the_kernel() {
    let vsock = Condition {
        index: 0,
        operator: Operator::Equal,
        value: 40,
    };
    let rules = vec![
        rule("chroot", Action::Errno(13), &[]),
        rule("socket", Action::Errno(97), &[vsock]),
        rule("mount", Action::Trace(0), &[]),
        rule("getrandom", Action::Log, &[]),
    ];
    confined(&filter(Action::Allow, &[Arch::NATIVE], rules), || {
        assert_eq!(process::chroot("/"), Err(Errno::ACCESS));
        let vsock = socket(AddressFamily::VSOCK, SocketType::STREAM, None);
        assert_eq!(vsock.unwrap_err(), Errno::AFNOSUPPORT);
        assert!(socket(AddressFamily::INET, SocketType::STREAM, None).is_ok());
        // Without a tracer there is nobody to ask.
        let none = rustix::mount::MountFlags::empty();
        let mounted = rustix::mount::mount("none", "/", "tmpfs", none, None);
        assert_eq!(mounted, Err(Errno::NOSYS));
    });
    // The filter was the thread's alone.
    assert_eq!(process::chroot("/"), Ok(()));
}

#[test]
fn loading_takes_no_new_privs_or_a_capability() {
    let filter = filter(Action::Allow, &[], vec![]);
    let load = || {
        caps::set(&ThreadCaps::default()).unwrap();
        let refused = filter.load().map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::PermissionDenied));
        rustix::thread::set_no_new_privs(true).unwrap();
        filter.load().unwrap();
    };
    thread::scope(|scope| scope.spawn(load).join().unwrap());
}

#[test]
fn killing_kills() {
    if case().is_some() {
        let rules = vec![rule("chroot", Action::KillProcess, &[])];
        filter(Action::Allow, &[], rules).load().unwrap();
        let _ = process::chroot("/");
        println!("survived");
        return;
    }
    let output = again("killing_kills", "chroot");
    assert_eq!(output.status.signal(), Some(SIGSYS), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("survived"));
}

/// The same process can make 32-bit calls, with other numbers.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_32_bit_door_is_guarded() {
    let getppid = || vec![rule("getppid", Action::Errno(13), &[])];
    match case().as_deref() {
        None => {}
        Some("listed") => {
            filter(Action::Allow, &[Arch::X86_64, Arch::X86], getppid())
                .load()
                .unwrap();
            println!("answer {}", getppid_32_bit());
            return;
        }
        Some(_) => {
            filter(Action::Allow, &[Arch::X86_64], getppid())
                .load()
                .unwrap();
            println!("answer {}", getppid_32_bit());
            return;
        }
    }
    let listed = again("the_32_bit_door_is_guarded", "listed");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.contains("answer -13"), "{listed:?}");
    let unlisted = again("the_32_bit_door_is_guarded", "unlisted");
    assert_eq!(unlisted.status.signal(), Some(SIGSYS), "{unlisted:?}");
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn getppid_32_bit() -> i32 {
    let mut register = 64_i32;
    // SAFETY: getppid takes no arguments and touches no memory; the compat entry may clobber the
    // registers that are listed.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inout("eax") register,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    register
}
