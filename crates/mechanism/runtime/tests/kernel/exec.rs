//! Finding and executing the program, as the user that was asked for.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use berth_types::launch::StartFailureKind;

use super::Case as Entry;
use super::support::Case;

pub const CASES: &[Entry] = &[
    (
        "a_program_is_found_in_the_containers_path",
        a_program_is_found_in_the_containers_path,
    ),
    (
        "a_missing_program_is_not_found",
        a_missing_program_is_not_found,
    ),
    (
        "what_cannot_be_executed_is_said",
        what_cannot_be_executed_is_said,
    ),
    ("an_unknown_user_is_named", an_unknown_user_is_named),
    ("odd_user_files_do_not_hang", odd_user_files_do_not_hang),
    (
        "the_exit_code_is_the_programs",
        the_exit_code_is_the_programs,
    ),
];

fn a_program_is_found_in_the_containers_path() {
    let mut case = Case::new("path");
    fs::create_dir(case.image.join("opt")).unwrap();
    fs::write(case.image.join("opt/tool"), "#!/bin/sh\necho $0 $1\n").unwrap();
    fs::set_permissions(
        case.image.join("opt/tool"),
        PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    case.process().env = vec!["PATH=/none:/opt:/bin".to_owned()];
    let outcome = case.args(&["tool", "x"]).run().unwrap();
    assert_eq!(outcome.output, "/opt/tool x\n");
    case.process().cwd = "/opt".to_owned();
    assert_eq!(
        case.args(&["./tool", "y"]).run().unwrap().output,
        "./tool y\n"
    );
}

fn a_missing_program_is_not_found() {
    let mut case = Case::new("missing");
    fs::write(case.image.join("bin/script"), "#!/no/such/sh\n").unwrap();
    fs::set_permissions(
        case.image.join("bin/script"),
        PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let mut check = |program: &str, expected: &str| {
        let failure = case.args(&[program]).failure();
        assert_eq!(failure.kind, StartFailureKind::CommandNotFound, "{program}");
        assert!(failure.message.starts_with(expected), "{}", failure.message);
    };
    check(
        "nothing",
        "exec: \"nothing\": executable file not found in $PATH",
    );
    check(
        "/no/thing",
        "exec: \"/no/thing\": stat /no/thing: no such file or directory",
    );
    check(
        "./thing",
        "exec: \"./thing\": stat ./thing: no such file or directory",
    );
    check("/bin/script", "exec /bin/script: no such file or directory");
}

fn what_cannot_be_executed_is_said() {
    let mut case = Case::new("denied");
    fs::write(case.image.join("etc/plain"), "x").unwrap();
    fs::write(case.image.join("bin/garbage"), [0_u8; 64]).unwrap();
    fs::set_permissions(
        case.image.join("bin/garbage"),
        PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let mut check = |program: &str, expected: &str| {
        let failure = case.args(&[program]).failure();
        assert_eq!(failure.kind, StartFailureKind::NotExecutable, "{program}");
        assert!(failure.message.contains(expected), "{}", failure.message);
    };
    check("/etc/plain", "exec: \"/etc/plain\": permission denied");
    check("/etc", "permission denied");
    check("/bin/garbage", "exec format error");
    check("garbage", "exec format error");
}

fn an_unknown_user_is_named() {
    let mut case = Case::new("nobody");
    for (user, expected) in [
        (
            "who",
            "unable to find user who: no matching entries in passwd file",
        ),
        (
            "app:which",
            "unable to find group which: no matching entries in group file",
        ),
    ] {
        case.bundle.user = user.to_owned();
        let failure = case.failure();
        assert_eq!(failure.kind, StartFailureKind::UnknownUser);
        assert_eq!(failure.message, expected);
    }
    case.bundle.user = "4711:4712".to_owned();
    assert_eq!(case.output("id -u; id -g; echo $HOME"), "4711\n4712\n/\n");
}

fn odd_user_files_do_not_hang() {
    let mut case = Case::new("odd-files");
    for name in ["passwd", "group"] {
        let path = case.image.join("etc").join(name);
        fs::remove_file(&path).unwrap();
        let kind = berth_sys::rustix::fs::FileType::Fifo;
        berth_sys::rustix::fs::mknodat(berth_sys::rustix::fs::CWD, path, kind, 0o644.into(), 0)
            .unwrap();
    }
    case.bundle.user = "7".to_owned();
    // Not by a shell, which would read them itself.
    let outcome = case
        .args(&["grep", "-E", "^(Uid|Gid)", "/proc/self/status"])
        .run()
        .unwrap();
    assert_eq!(outcome.output, "Uid:\t7\t7\t7\t7\nGid:\t0\t0\t0\t0\n");
}

fn the_exit_code_is_the_programs() {
    let mut case = Case::new("code");
    assert_eq!(case.script("exit 42").run().unwrap().exit.shell_code(), 42);
    assert_eq!(case.args(&["true"]).run().unwrap().exit.shell_code(), 0);
}
