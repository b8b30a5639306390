//! The few kinds that every error of Berth falls into.

/// What sort of failure an error is, for whoever has to choose a status code or a next step.
///
/// Each crate has its own error enums and maps them here with a `kind()` method; one function in
/// the daemon maps a kind to an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The named object does not exist, or the caller may not know that it does (404).
    NotFound,
    /// The request itself is wrong and would be wrong again (400).
    Invalid,
    /// The request is right but does not fit the present state: a name is taken, a container
    /// runs (409).
    Conflict,
    /// The object is held by others and cannot be removed (409).
    InUse,
    /// The caller is known and may not do this (403).
    Forbidden,
    /// The caller did not say who they are (401).
    Unauthorized,
    /// Something that is needed is away now and may come back (503).
    Unavailable,
    /// A valid request for something that is not built (501).
    Unsupported,
    /// The caller went away or took the request back (499 inside; never seen by a client).
    Cancelled,
    /// A failure of ours or of the machine (500).
    Internal,
}

/// An error and its causes in one line, for a log or a person.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
