//! What it costs to be listed: an entry with a request above it, and a change of its wait.

use std::hint::black_box;
use std::time::{Duration, Instant};

use berth_types::task::{Wait, begin, begin_for, waits};
use berth_types::{ContainerId, Scope};

const ROUNDS: u32 = 1_000_000;

fn main() {
    let id = ContainerId::from_bytes([7; 32]);
    let per = |began: Instant| began.elapsed() / ROUNDS;

    let began = Instant::now();
    for _ in 0..ROUNDS {
        let line = "POST /containers/web/start".to_owned();
        drop(black_box(begin_for(Scope::root(), "request", line)));
    }
    println!("a request:        {:?}", per(began));

    let request = begin_for(Scope::root(), "request", "GET /".to_owned());
    let _here = request.enter();
    let began = Instant::now();
    for _ in 0..ROUNDS {
        drop(black_box(begin("start", id)));
    }
    println!("work below it:    {:?}", per(began));

    let began = Instant::now();
    for _ in 0..ROUNDS {
        drop(black_box(waits(
            Wait::Monitor,
            Some(Duration::from_secs(10)),
        )));
    }
    println!("a wait:           {:?}", per(began));

    drop((_here, request));
    let began = Instant::now();
    for _ in 0..ROUNDS {
        drop(black_box(waits(
            Wait::Monitor,
            Some(Duration::from_secs(10)),
        )));
    }
    println!("without a task:   {:?}", per(began));
}
