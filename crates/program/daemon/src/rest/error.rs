//! From a domain's error to a status and Docker's sentence: the one place.

use berth_api::ErrorResponse;
use berth_container::{ContainerError, FilesError};
use berth_image::ImageError;
use berth_types::{ErrorKind, chain};
use hyper::{Response, StatusCode};

use super::reply;
use crate::http::Body;

/// An answer that is an error.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    message: String,
    plain: bool,
}

/// What a handler returns.
pub type ApiResult = Result<Response<Body>, ApiError>;

impl ApiError {
    /// An error of a kind, with its sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            status: status(kind),
            message: message.into(),
            plain: false,
        }
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// The request asks for what is not built. Docker's client, when it looks for an object of
    /// any kind, passes over kinds that are "not supported", so those words have to be there.
    pub fn not_built(what: impl std::fmt::Display) -> Self {
        Self::new(
            ErrorKind::Unsupported,
            format!("{what} is not supported: not implemented by Berth yet"),
        )
    }

    /// Docker's answer to a path or method that does not exist.
    pub fn no_such_page() -> Self {
        Self::new(ErrorKind::NotFound, "page not found")
    }

    /// The same as plain text, which is what clients expect where a stream was asked for.
    pub fn into_plain(self) -> Self {
        Self {
            plain: true,
            ..self
        }
    }

    /// The answer.
    pub fn into_response(self) -> Response<Body> {
        if self.plain {
            return reply::text(self.status, format!("{}\n", self.message));
        }
        reply::json(self.status, &ErrorResponse::new(self.message))
    }

    /// A domain's error; what is our own failure is logged.
    pub fn of(kind: ErrorKind, error: &dyn std::error::Error) -> Self {
        if kind == ErrorKind::Internal {
            tracing::error!(error = %chain(error), "request failed");
        }
        Self::new(kind, sentence(error))
    }
}

/// What went wrong with its causes, and what to do where the answer is the same for all of them.
pub fn sentence(error: &dyn std::error::Error) -> String {
    let text = chain(error);
    let is_full =
        text.contains("no space left on device") || text.contains("No space left on device");
    if is_full && !text.contains("free some") {
        return format!("{text}: free some there, or remove containers and images, and try again");
    }
    text
}

/// The status of a kind.
fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Conflict | ErrorKind::InUse => StatusCode::CONFLICT,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Cancelled | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<ContainerError> for ApiError {
    fn from(error: ContainerError) -> Self {
        Self::of(error.kind(), &error)
    }
}

impl From<FilesError> for ApiError {
    fn from(error: FilesError) -> Self {
        Self::of(error.kind(), &error)
    }
}

impl From<ImageError> for ApiError {
    fn from(error: ImageError) -> Self {
        Self::of(error.kind(), &error)
    }
}

impl From<berth_api::decode::DecodeError> for ApiError {
    fn from(error: berth_api::decode::DecodeError) -> Self {
        Self::of(error.kind(), &error)
    }
}

impl From<berth_api::FiltersError> for ApiError {
    fn from(error: berth_api::FiltersError) -> Self {
        Self::of(error.kind(), &error)
    }
}
