use super::*;
use std::pin::pin;

/// The registry is the process's: a test looks for its own.
fn mine(kind: &str) -> Vec<InFlight> {
    let (all, _) = list(&Scope::root());
    all.into_iter().filter(|task| task.kind == kind).collect()
}

/// Polls a future that is ready at its first poll.
fn ready<F: Future>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("not ready"),
    }
}

#[test]
fn work_is_listed_as_long_as_anybody_has_hold_of_it() {
    let task = begin("t-hold", "web".to_owned());
    let work = {
        let _here = task.enter();
        blocking(|| mine("t-hold"))
    };
    assert_eq!(mine("t-hold")[0].wait, Wait::BlockingThread);
    // The request is gone, the thread has not begun.
    drop(task);
    let seen = std::thread::spawn(work).join().unwrap();
    assert_eq!(seen[0].wait, Wait::Nothing);
    assert_eq!(seen[0].subject.to_string(), "web");
    assert!(mine("t-hold").is_empty());
}

#[test]
fn waits_are_nested_and_end() {
    let request = begin_for(Scope::lab("a"), "t-wait", Subject::Engine);
    ready(request.clone().run(async {
        let part = begin("t-part", Subject::Engine);
        let outer = waits(Wait::Container, None);
        ready(part.run(waiting(
            Wait::Monitor,
            Some(Duration::from_secs(9)),
            async {
                let seen = &mine("t-part")[0];
                assert_eq!(seen.wait, Wait::Monitor);
                assert!(seen.left.is_some_and(|left| left > Duration::from_secs(5)));
                assert_eq!(seen.parent, Some(mine("t-wait")[0].number));
                assert_eq!(mine("t-wait")[0].wait, Wait::Container);
            },
        )));
        let inner = waits(Wait::Database, Some(Duration::from_secs(1)));
        drop(inner);
        let again = &mine("t-wait")[0];
        assert_eq!((again.wait, again.left), (Wait::Container, None));
        drop(outer);
        assert_eq!(mine("t-wait")[0].wait, Wait::Nothing);
    }));
    assert!(current().is_none());
}

#[test]
fn a_scope_sees_its_own() {
    let _request = begin_for(Scope::lab("one"), "t-scope", Subject::Engine);
    let of = |scope: Scope| {
        list(&scope)
            .0
            .iter()
            .filter(|t| t.kind == "t-scope")
            .count()
    };
    assert_eq!(of(Scope::lab("one")), 1);
    assert_eq!(of(Scope::lab("two")), 0);
    assert_eq!(of(Scope::root()), 1);
}
