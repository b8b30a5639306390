//! Who owns an object, and who asks.

use serde::{Deserialize, Serialize};

/// The owner of a stored object. A caller sees the objects of its own scope and nothing else;
/// the root scope sees everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope(String);

impl Scope {
    /// The scope of the unscoped socket: the engine's administrator.
    pub fn root() -> Self {
        Self("root".to_owned())
    }

    /// The scope of a lab: what `berth lab` makes belongs to it, and its own socket will see
    /// nothing else.
    pub fn lab(name: &str) -> Self {
        Self(format!("lab:{name}"))
    }

    /// The scope of this name: `root`, or `lab:` and the name of a lab.
    pub fn parse(name: &str) -> Option<Self> {
        let lab = name.strip_prefix("lab:");
        let known = name == "root"
            || lab.is_some_and(|lab| !lab.is_empty() && !lab.contains(['/', ':', '\0']));
        known.then(|| Self(name.to_owned()))
    }

    /// Whether this is the root scope.
    pub fn is_root(&self) -> bool {
        self.0 == "root"
    }

    /// The scope's name, as stored.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether a caller of this scope may know of an object owned by `owner`.
    pub fn sees(&self, owner: &Scope) -> bool {
        self.is_root() || self == owner
    }
}

/// The party behind one request, as the socket it came in by tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The scope that the caller acts in; what it creates belongs to this scope.
    pub scope: Scope,
    /// User id of the peer process (`SO_PEERCRED`), where the transport has one.
    pub uid: Option<u32>,
    /// Process id of the peer (`SO_PEERCRED`), for the log only: it may be reused.
    pub pid: Option<i32>,
}

impl Caller {
    /// The administrator: the root socket, and the engine itself.
    pub fn root() -> Self {
        Self {
            scope: Scope::root(),
            uid: None,
            pid: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_sees_a_foreign_scope() {
        let lab = Scope::lab("go");
        assert_eq!(Scope::parse("lab:go").as_ref(), Some(&lab));
        assert_eq!(Scope::parse("root"), Some(Scope::root()));
        for wrong in ["", "lab:", "lab:a/b", "lab:a:b", "admin"] {
            assert_eq!(Scope::parse(wrong), None, "{wrong}");
        }
        assert!(Scope::root().sees(&lab));
        assert!(lab.sees(&lab));
        assert!(!lab.sees(&Scope::root()));
        assert!(!lab.sees(&Scope::lab("rust")));
    }
}
