//! Finding what is tested, and what testing needs.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Names a directory with Berth's programs instead of the one the tests were built into.
const PROGRAMS_VARIABLE: &str = "BERTH_PROGRAMS";

/// The path of a program of Berth, built in the same profile as the running test.
///
/// # Panics
/// When it is not built: cargo builds the programs only of the package it tests.
pub fn program(name: &str) -> PathBuf {
    let path = build_directory().join(name);
    assert!(
        path.is_file(),
        "the program {} is missing; build the programs first: cargo build --release --workspace --bins",
        path.display()
    );
    path
}

/// Where cargo put the programs: the parent of the `deps` directory that this test runs from.
pub(crate) fn build_directory() -> PathBuf {
    if let Some(given) = std::env::var_os(PROGRAMS_VARIABLE) {
        return given.into();
    }
    let test = std::env::current_exe().expect("a running program has a path");
    let directory = test
        .ancestors()
        .skip(1)
        .find(|directory| !directory.ends_with("deps"));
    directory
        .expect("a program lies in a directory")
        .to_path_buf()
}

/// Insists on running as root.
///
/// # Panics
/// When the test runs as anybody else: leaving it out would look like success.
pub fn require_root() {
    let user = std::fs::metadata("/proc/self")
        .expect("/proc is mounted")
        .uid();
    assert_eq!(
        user, 0,
        "this test makes namespaces, mounts and cgroups: run it as root"
    );
}
