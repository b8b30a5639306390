use std::sync::mpsc;

use super::*;

fn work(pool: Pool, container: u8, patience: Option<Duration>) -> Work {
    Work {
        pool,
        container: ContainerId::from_bytes([container; 32]),
        what: "look",
        patience,
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

/// Threads that hang until this is dropped.
struct Hung {
    _release: mpsc::Sender<()>,
    gate: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Hung {
    fn new() -> Self {
        let (release, gate) = mpsc::channel();
        Self {
            _release: release,
            gate: Arc::new(Mutex::new(gate)),
        }
    }

    fn job(&self) -> impl FnOnce() + Send + 'static {
        let gate = Arc::clone(&self.gate);
        // An error is the release.
        move || drop(gate.lock().map(|gate| gate.recv()))
    }
}

/// Time passes by hand here: by itself it stands still while any thread works.
#[tokio::test(start_paused = true)]
async fn a_container_that_hangs_is_answered_for_and_holds_nobody_up() {
    let threads = Threads::default();
    let hung = Hung::new();
    let extent = Pool::Look.extent();
    let mut asked = tokio::task::JoinSet::new();
    // One more than its share, which is in vain.
    for _ in 0..=extent.share {
        let (threads, job) = (threads.clone(), hung.job());
        asked.spawn(async move { threads.run(work(Pool::Look, 1, Some(PATIENCE)), job).await });
    }
    tokio::task::yield_now().await;
    // Another one's look passes while those hang, and so does something else of the same one.
    let other = threads.run(work(Pool::Look, 2, Some(PATIENCE)), || 7).await;
    assert_eq!(other.unwrap(), 7);
    threads.run(work(Pool::Life, 1, None), || ()).await.unwrap();
    for _ in 0..5 {
        tokio::time::advance(PATIENCE / 4).await;
    }
    let answers = asked.join_all().await;
    let count = |test: fn(&ContainerError) -> bool| {
        let errors = answers.iter().filter_map(|answer| answer.as_ref().err());
        errors.filter(|error| test(error)).count()
    };
    let hangs = |e: &ContainerError| matches!(e, ContainerError::Hung { seconds: 10, .. });
    assert_eq!(count(hangs), extent.share);
    assert_eq!(count(|e| matches!(e, ContainerError::Crowded { .. })), 1);
    assert_eq!(
        threads.inner.shares().len(),
        1,
        "only those that hang have one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lane_full_of_what_hangs_is_free_again_after_a_while() {
    let threads = Threads::default();
    let hung = Hung::new();
    let extent = Pool::Files.extent();
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..extent.width {
        let (threads, job) = (threads.clone(), hung.job());
        let container = u8::try_from(number / extent.share).unwrap();
        asked.spawn(async move { threads.run(work(Pool::Files, container, None), job).await });
    }
    tokio::task::yield_now().await;
    let own = threads.clone();
    let other =
        tokio::spawn(async move { own.run(work(Pool::Files, 99, Some(PATIENCE)), || 7).await });
    tokio::task::yield_now().await;
    assert!(!other.is_finished(), "the pool is full");
    tokio::time::advance(YOUNG + Duration::from_millis(1)).await;
    assert_eq!(other.await.unwrap().unwrap(), 7);
    drop(hung);
    for answer in asked.join_all().await {
        answer.unwrap();
    }
    assert!(threads.inner.shares().is_empty(), "nobody works any more");
}
