//! Files into and out of containers.

use hyper::Method;
use tokio::io::AsyncRead;

use super::containers::Containers;
use super::error::ClientError;
use super::streams::{BodyReader, Output};
use super::transport::Answer;
use super::url::{Query, segment};
use crate::archive::{FilesystemChange, PATH_STAT_HEADER, PathStat};
use crate::decode;

/// How [`Containers::put_archive`] unpacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// A directory may not replace what is none, nor the other way round.
    pub keep_kinds: bool,
    /// Files belong to whom the archive says, instead of to the container's user.
    pub keep_owners: bool,
}

impl Containers<'_> {
    /// `HEAD /containers/{id}/archive`: what lies at a path; the path's last link is not followed.
    pub async fn path_stat(self, id: &str, path: &str) -> Result<PathStat, ClientError> {
        let answer = self
            .client()
            .call(Method::HEAD, &archive(id, path, Query::default()))
            .send()
            .await?;
        stat(&answer)
    }

    /// `GET /containers/{id}/archive`: a file or directory as a tar archive, whose names begin
    /// with the last component of the path.
    pub async fn get_archive(
        self,
        id: &str,
        path: &str,
    ) -> Result<(PathStat, Output), ClientError> {
        let answer = self
            .client()
            .call(Method::GET, &archive(id, path, Query::default()))
            .send()
            .await?;
        let stat = stat(&answer)?;
        let body = answer.into_response().into_body();
        Ok((stat, Box::new(BodyReader::new(body))))
    }

    /// `PUT /containers/{id}/archive`: unpacks a tar archive into a directory that exists.
    pub async fn put_archive(
        self,
        id: &str,
        path: &str,
        contents: impl AsyncRead + Send + 'static,
        options: PutOptions,
    ) -> Result<(), ClientError> {
        let mut query = Query::default();
        query.put_some("noOverwriteDirNonDir", options.keep_kinds.then_some("true"));
        query.put_some("copyUIDGID", options.keep_owners.then_some("true"));
        self.client()
            .call(Method::PUT, &archive(id, path, query))
            .body_reader(contents)
            .send()
            .await
            .map(drop)
    }

    /// `GET /containers/{id}/export`: the whole file system as a tar archive.
    pub async fn export(self, id: &str) -> Result<Output, ClientError> {
        let path = format!("/containers/{}/export", segment(id));
        let answer = self.client().call(Method::GET, &path).send().await?;
        Ok(Box::new(BodyReader::new(
            answer.into_response().into_body(),
        )))
    }

    /// `GET /containers/{id}/changes`: what is different from the image, in the paths' order.
    pub async fn changes(self, id: &str) -> Result<Vec<FilesystemChange>, ClientError> {
        let path = format!("/containers/{}/changes", segment(id));
        let changes: Option<Vec<FilesystemChange>> =
            self.client().call(Method::GET, &path).json().await?;
        Ok(changes.unwrap_or_default())
    }
}

fn archive(id: &str, path: &str, mut query: Query) -> String {
    query.put("path", path);
    query.after(&format!("/containers/{}/archive", segment(id)))
}

/// The stat in an answer's header.
fn stat(answer: &Answer) -> Result<PathStat, ClientError> {
    let header = answer.headers().get(PATH_STAT_HEADER);
    let json = header.and_then(|value| base64(value.as_bytes()));
    decode::from_slice(&json.unwrap_or_default()).map_err(|cause| ClientError::Answer {
        request: answer.name().to_owned(),
        cause,
    })
}

/// Decodes base64 (RFC 4648, section 4), with padding or without.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits: u32 = 0;
        for &letter in group {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        let [_, a, b, c] = bits.to_be_bytes();
        match group.len() {
            4 => out.extend([a, b, c]),
            3 => out.extend([a, b]),
            2 => out.push(a),
            _ => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn the_rfcs_examples() {
        for (text, bytes) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYg", Some("foob")),
            ("Zm9vYmE=", Some("fooba")),
            ("Zm9vYmFy", Some("foobar")),
            ("Z", None),
            ("Zm9$", None),
        ] {
            let wanted = bytes.map(|b| b.as_bytes().to_vec());
            assert_eq!(base64(text.as_bytes()), wanted, "{text}");
        }
    }
}
