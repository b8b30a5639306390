//! Random numbers that can be had again, and images that are made of them.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// A small generator; the same seed gives the same numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins anew with `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    /// One of `things`; none where there are none.
    pub fn one_of<'a, T>(&mut self, things: &'a [T]) -> Option<&'a T> {
        if things.is_empty() {
            return None;
        }
        things.get(usize::try_from(self.below(things.len() as u64)).unwrap_or(0))
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn file(archive: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    archive
        .append_data(&mut header, path, content)
        .expect("memory takes everything");
}

/// A layer with some files, the same for the same seed.
fn layer(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut archive = tar::Builder::new(Vec::new());
    for number in 0..4 + random.below(12) {
        let length = match random.below(4) {
            0 => 0,
            1 => random.below(600),
            2 => random.below(9000),
            _ => random.below(120_000),
        };
        let byte = u8::try_from(random.below(256)).unwrap_or(0);
        let mut content = vec![byte; usize::try_from(length).unwrap_or(0)];
        for piece in content.chunks_mut(512) {
            piece[0] = u8::try_from(random.below(256)).unwrap_or(0);
        }
        file(
            &mut archive,
            &format!("d{}/f{number}", number % 3),
            &content,
        );
    }
    archive.into_inner().expect("memory takes everything")
}

/// An archive as `docker save` writes it, with one image under `name`, and the image's id.
pub fn image(name: &str, seed: u64) -> (Vec<u8>, String) {
    let layers = [layer(seed), layer(seed ^ 0xffff)];
    let ids: Vec<String> = layers
        .iter()
        .map(|l| format!("sha256:{}", sha256(l)))
        .collect();
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": ids},
    });
    let config = config.to_string();
    let id = sha256(config.as_bytes());
    let manifest = serde_json::json!([{
        "Config": format!("{id}.json"),
        "RepoTags": [name],
        "Layers": ["0/layer.tar", "1/layer.tar"],
    }]);
    let mut archive = tar::Builder::new(Vec::new());
    file(&mut archive, &format!("{id}.json"), config.as_bytes());
    for (number, layer) in layers.iter().enumerate() {
        file(&mut archive, &format!("{number}/layer.tar"), layer);
    }
    file(
        &mut archive,
        "manifest.json",
        manifest.to_string().as_bytes(),
    );
    let archive = archive.into_inner().expect("memory takes everything");
    (archive, format!("sha256:{id}"))
}
