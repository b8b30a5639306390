//! Requests to the engine, without a client in between.

use std::io;
use std::path::{Path, PathBuf};

use berth_testkit::{Response, exchange};
use serde_json::{Value, json};

use crate::journal::{Verb, World};
use crate::parts;

/// The engine as its clients see it.
#[derive(Debug, Clone)]
pub struct Api {
    socket: PathBuf,
}

/// What came of a request.
pub enum Answer {
    /// It was done; an image's id, or nothing.
    Done(String),
    /// It was refused.
    Refused(String),
}

impl Api {
    /// Talks over this socket.
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// A question, whose answer is JSON.
    pub fn get(&self, path: &str) -> Value {
        let response = self.send("GET", path, None);
        let response = response.unwrap_or_else(|e| panic!("GET {path}: {e}"));
        assert_eq!(response.status, 200, "GET {path}: {}", text(&response));
        response.json()
    }

    /// The bytes of images, as one archive.
    pub fn save(&self, names: &[&str]) -> Vec<u8> {
        let query = names.iter().map(|name| format!("names={name}"));
        let path = format!("/images/get?{}", query.collect::<Vec<_>>().join("&"));
        let response = self.send("GET", &path, None);
        let response = response.unwrap_or_else(|e| panic!("GET {path}: {e}"));
        assert_eq!(response.status, 200, "GET {path}: {}", text(&response));
        response.body
    }

    /// Makes an image of one layer.
    pub fn import(&self, name: &str, archive: &[u8]) {
        let path = format!("/images/create?fromSrc=-&repo={name}");
        let answer = self.send("POST", &path, Some(("application/x-tar", archive)));
        let answer = answer.expect("the engine answers");
        assert!(!text(&answer).contains("error"), "{}", text(&answer));
    }

    fn send(&self, method: &str, path: &str, body: Option<(&str, &[u8])>) -> io::Result<Response> {
        exchange(&self.socket, method, path, body)
    }

    fn json(&self, method: &str, path: &str, body: &Value) -> io::Result<Response> {
        let body = body.to_string();
        self.send(method, path, Some(("application/json", body.as_bytes())))
    }

    /// Carries a request out.
    pub fn perform(&self, verb: &Verb, world: &World) -> io::Result<Answer> {
        let response = match verb {
            Verb::Create(name, image, status) => {
                let script = format!(
                    "mkdir -p /{name}; echo {name} > /{name}/word; cat /bin/busybox > /{name}/copy; exit {status}"
                );
                let body = json!({
                    "Image": image,
                    "Cmd": ["/bin/sh", "-c", script],
                    "HostConfig": {"NetworkMode": "none"},
                });
                self.json("POST", &format!("/containers/create?name={name}"), &body)?
            }
            Verb::Run(name) => return self.run(name, world),
            Verb::Rename(name, other) => {
                let path = format!("/containers/{name}/rename?name={other}");
                self.send("POST", &path, None)?
            }
            Verb::Commit(name, image) => {
                let (repository, tag) = image.split_once(':').unwrap_or((image, "latest"));
                let path = format!("/commit?container={name}&repo={repository}&tag={tag}");
                let response = self.send("POST", &path, None)?;
                if response.status == 201 {
                    let id = response.json()["Id"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned();
                    return Ok(Answer::Done(id));
                }
                response
            }
            Verb::Remove(name) => {
                self.send("DELETE", &format!("/containers/{name}?force=1"), None)?
            }
            Verb::Load(image, seed) => {
                let (archive, id) = parts::image(image, *seed);
                let body = ("application/x-tar", &archive[..]);
                let response = self.send("POST", "/images/load", Some(body))?;
                if response.status == 200 && !text(&response).contains("errorDetail") {
                    return Ok(Answer::Done(id));
                }
                return Ok(Answer::Refused(text(&response)));
            }
            Verb::Tag(image, other) => {
                let (repository, tag) = other.split_once(':').unwrap_or((other, "latest"));
                let path = format!("/images/{image}/tag?repo={repository}&tag={tag}");
                self.send("POST", &path, None)?
            }
            Verb::Untag(image) => self.send("DELETE", &format!("/images/{image}"), None)?,
        };
        Ok(if response.status < 300 {
            Answer::Done(String::new())
        } else {
            Answer::Refused(format!("{} {}", response.status, text(&response)))
        })
    }

    fn run(&self, name: &str, world: &World) -> io::Result<Answer> {
        let started = self.send("POST", &format!("/containers/{name}/start"), None)?;
        if started.status != 204 {
            return Ok(Answer::Refused(text(&started)));
        }
        let ended = self.send("POST", &format!("/containers/{name}/wait"), None)?;
        let status = ended.json()["StatusCode"].as_u64();
        let expected = world.boxes.get(name).map(|known| u64::from(known.status));
        assert_eq!(status, expected, "{name} ended with {}", text(&ended));
        Ok(Answer::Done(String::new()))
    }
}

fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}
