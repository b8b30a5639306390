//! What fronts make of a snapshot, kept with it: ready pieces of an answer that thousands of
//! lists share.
//!
//! A container changes far more rarely than it is listed. What a front has made of a snapshot
//! once it keeps here and finds again; the next snapshot of the container begins with nothing
//! kept, and what was kept goes with the snapshot that it was made of. So nothing has to be
//! invalidated, and a container that nobody lists keeps nothing.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Forms of one snapshot that are kept: as many clients of different versions list in turns
/// without driving each other's out. Two command lines, a program and one more.
const KEPT: usize = 4;

/// A snapshot in a form that is sent as it is but for its gaps.
#[derive(Debug, PartialEq, Eq)]
pub struct Form {
    /// Which of the front's forms it is.
    pub kind: u32,
    /// The whole without what goes into the gaps.
    pub text: Box<[u8]>,
    /// Where in `text` something is put in, ascending.
    pub gaps: [u32; 2],
}

/// The forms that were made of a snapshot. They are no part of its value: a clone, which is about
/// to become another snapshot, has none.
#[derive(Default)]
pub struct Forms(Mutex<[Option<Arc<Form>>; KEPT]>);

impl Forms {
    /// The form of this kind, if it was made already.
    pub fn get(&self, kind: u32) -> Option<Arc<Form>> {
        let kept = self.kept();
        kept.iter()
            .flatten()
            .find(|form| form.kind == kind)
            .cloned()
    }

    /// Keeps a form. Where there are too many, the oldest goes.
    pub fn keep(&self, form: Form) -> Arc<Form> {
        let form = Arc::new(form);
        let mut kept = self.kept();
        kept.rotate_right(1);
        kept[0] = Some(Arc::clone(&form));
        form
    }

    /// Held for as long as it takes to copy a pointer.
    fn kept(&self) -> MutexGuard<'_, [Option<Arc<Form>>; KEPT]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Forms {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Forms {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Forms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.kept();
        let kinds = kinds.iter().flatten().map(|form| form.kind);
        f.debug_set().entries(kinds).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kinds_stay_and_a_clone_has_none() {
        let forms = Forms::default();
        for kind in 1..=5 {
            forms.keep(Form {
                kind,
                text: Box::default(),
                gaps: [0, 0],
            });
        }
        let has = |forms: &Forms| [1, 2, 3, 4, 5].map(|kind| forms.get(kind).is_some());
        assert_eq!(has(&forms), [false, true, true, true, true]);
        assert_eq!(has(&forms.clone()), [false; 5]);
    }
}
