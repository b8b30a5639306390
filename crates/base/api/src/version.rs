//! Versions of the API, and which of them this engine speaks.

use std::fmt;
use std::str::FromStr;

use berth_types::ErrorKind;

/// A version of the Docker Engine API: `1.41` comes before `1.5x` and after `1.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    major: u16,
    minor: u16,
}

/// The oldest version that is answered.
pub const MIN: ApiVersion = ApiVersion::new(1, 24);

/// The newest version, which the types of this crate describe, and which a path without a version
/// means.
pub const NEWEST: ApiVersion = ApiVersion::new(1, 56);

/// A version that cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The text is no version.
    #[error("invalid API version {0:?}: expected two numbers with a point, like {NEWEST}")]
    Malformed(String),
    /// The client has to be upgraded. The sentence is Docker's; clients search for it.
    #[error(
        "client version {0} is too old. Minimum supported API version is {1}, please upgrade \
         your client to a newer version"
    )]
    TooOld(ApiVersion, ApiVersion),
    /// The engine has to be upgraded. The sentence is Docker's; clients search for it.
    #[error("client version {0} is too new. Maximum supported API version is {1}")]
    TooNew(ApiVersion, ApiVersion),
}

impl VersionError {
    /// Always [`ErrorKind::Invalid`].
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl ApiVersion {
    /// The version `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// One number for each version, for tables.
    pub const fn number(self) -> u32 {
        (self.major as u32) << 16 | self.minor as u32
    }

    /// Reads the version of a request's path, with or without its `v`, and refuses one outside
    /// [`MIN`] to [`NEWEST`].
    pub fn of_request(text: &str) -> Result<Self, VersionError> {
        let version: Self = text.strip_prefix('v').unwrap_or(text).parse()?;
        if version < MIN {
            Err(VersionError::TooOld(version, MIN))
        } else if version > NEWEST {
            Err(VersionError::TooNew(version, NEWEST))
        } else {
            Ok(version)
        }
    }
}

impl FromStr for ApiVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if plain { digits.parse().ok() } else { None }
        };
        text.split_once('.')
            .and_then(|(major, minor)| Some(Self::new(number(major)?, number(minor)?)))
            .ok_or_else(|| VersionError::Malformed(text.chars().take(32).collect()))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiVersion, MIN, NEWEST, VersionError};

    #[test]
    fn versions_are_numbers_not_decimals() {
        let read = |text: &str| text.parse::<ApiVersion>().unwrap();
        assert!(read("1.5") < read("1.24"));
        assert!(read("2.0") > read("1.99"));
        assert_eq!(read("1.41").to_string(), "1.41");
        for bad in [
            "",
            "1",
            "1.",
            ".1",
            "1.2.3",
            "+1.2",
            "1.-2",
            "1.99999999",
            "one.two",
            "1 .2",
        ] {
            assert!(
                matches!(bad.parse::<ApiVersion>(), Err(VersionError::Malformed(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn the_range_is_answered_and_the_sentences_are_dockers() {
        assert_eq!(ApiVersion::of_request("v1.24"), Ok(MIN));
        assert_eq!(ApiVersion::of_request(&NEWEST.to_string()), Ok(NEWEST));
        assert_eq!(
            ApiVersion::of_request("v1.23").unwrap_err().to_string(),
            "client version 1.23 is too old. Minimum supported API version is 1.24, please \
             upgrade your client to a newer version"
        );
        assert_eq!(
            ApiVersion::of_request("1.57").unwrap_err().to_string(),
            "client version 1.57 is too new. Maximum supported API version is 1.56"
        );
    }
}
