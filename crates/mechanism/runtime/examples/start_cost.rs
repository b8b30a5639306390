//! Prints what a start costs: the median of 50 containers with Docker's default settings that
//! execute a static `true`, from the call to the executed program, and where the time goes.
//!
//! Needs root and a static busybox. The network namespace is new and empty, as for
//! `--network none`; there is no system call filter unless a file with a compiled one is named.

#[path = "../tests/kernel/support.rs"]
#[allow(dead_code)]
mod support;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::Instant;

use berth_sys::pidfd;
use berth_sys::seccomp::Filter;
use berth_types::oci::NamespaceKind;

const RUNS: usize = 50;

fn main() {
    let mut case = support::Case::new("cost");
    case.args(&["/bin/true"]);
    if let Some(path) = std::env::args().nth(1) {
        let bytes = std::fs::read(path).expect("read the filter");
        case.filter = Some(Filter::from_bytes(&bytes).expect("a compiled filter"));
    }
    measure("new network namespace", &case);
    case.share(NamespaceKind::Network);
    measure("network of the host", &case);
}

fn measure(what: &str, case: &support::Case) {
    let mut totals: BTreeMap<&str, Vec<u128>> = BTreeMap::new();
    let mut phases: Vec<(String, Vec<u64>)> = Vec::new();
    for _ in 0..RUNS {
        let begin = Instant::now();
        let (running, _output) = case.start().expect("start");
        totals
            .entry("1 start to exec")
            .or_default()
            .push(begin.elapsed().as_micros());
        for phase in &running.started.phases {
            match phases.iter_mut().find(|(name, _)| *name == phase.name) {
                Some((_, list)) => list.push(phase.us),
                None => phases.push((phase.name.clone(), vec![phase.us])),
            }
        }
        pidfd::wait(running.init_pidfd.as_fd()).expect("reap");
        totals
            .entry("2 start to reaped")
            .or_default()
            .push(begin.elapsed().as_micros());
        let end = Instant::now();
        running.cgroup.remove().expect("remove");
        totals
            .entry("3 remove groups")
            .or_default()
            .push(end.elapsed().as_micros());
    }
    println!("{what}, median of {RUNS} in microseconds [min-max]");
    for (name, list) in &mut totals {
        println!("  {name:20} {}", summary(list));
    }
    for (name, list) in &mut phases {
        println!("    {name:18} {}", summary(list));
    }
}

fn summary<T: Ord + Copy + std::fmt::Display>(list: &mut [T]) -> String {
    list.sort_unstable();
    format!(
        "{:>6} [{}-{}]",
        list[list.len() / 2],
        list[0],
        list[list.len() - 1]
    )
}
