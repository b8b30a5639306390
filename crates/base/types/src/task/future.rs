//! The futures around other futures. Written out because an `async fn` keeps the future that it is
//! given twice: as its argument, and where it awaits it. Around each other they would double what
//! every request and every container takes, each time.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::{Task, Wait, Waits, waits};

pin_project! {
    /// A future that is a part of a task, and keeps it listed until it is over.
    pub(super) struct Within<F> {
        task: Option<Task>,
        #[pin]
        future: F,
    }
}

impl<F> Within<F> {
    pub(super) fn new(task: Option<Task>, future: F) -> Self {
        Self { task, future }
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let here = this.task.as_ref().map(Task::enter);
        let output = ready!(this.future.poll(context));
        drop(here);
        *this.task = None;
        Poll::Ready(output)
    }
}

pin_project! {
    /// A future during which the current task waits for something that has a name.
    pub(super) struct Waiting<F> {
        asked: Option<(Wait, Option<Duration>)>,
        waits: Option<Waits>,
        #[pin]
        future: F,
    }
}

impl<F> Waiting<F> {
    pub(super) fn new(wait: Wait, limit: Option<Duration>, future: F) -> Self {
        Self {
            asked: Some((wait, limit)),
            waits: None,
            future,
        }
    }
}

impl<F: Future> Future for Waiting<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Some((wait, limit)) = this.asked.take() {
            *this.waits = Some(waits(wait, limit));
        }
        let output = ready!(this.future.poll(context));
        *this.waits = None;
        Poll::Ready(output)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Subject, begin, here, waiting};
    use super::*;

    /// What is wrapped is there once, however often.
    #[test]
    fn what_is_wrapped_is_not_doubled() {
        let large = || async {
            let kept = [1_u8; 4096];
            std::future::pending::<()>().await;
            std::hint::black_box(kept);
        };
        let task = begin("test", Subject::Engine);
        let wrapped = task.run(here(waiting(Wait::Turn, None, large())));
        assert!(size_of_val(&wrapped) < size_of_val(&large()) + 256);
    }
}
