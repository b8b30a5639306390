//! The identity of a layer upon the layers below it.

use berth_types::Digest;
use sha2::{Digest as _, Sha256};

/// Layers upon each other at most. The kernel takes 500 in one overlay; the limit is Docker's.
pub const DEPTH_MAX: u32 = 125;

/// The chain ID of a layer, by the image specification (`config.md`, "Layer ChainID"): of the
/// lowest layer its diff ID, of any other the digest of its parent's chain ID, a space and its
/// diff ID.
pub fn chain_id(parent: Option<&Digest>, diff_id: &Digest) -> Digest {
    match parent {
        None => *diff_id,
        Some(parent) => {
            Digest::from_sha256(Sha256::digest(format!("{parent} {diff_id}").as_bytes()).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_hashes_the_two_texts() {
        let digest = |byte| Digest::from_sha256([byte; 32]);
        assert_eq!(chain_id(None, &digest(1)), digest(1));
        // printf 'sha256:0101… sha256:0202…' | sha256sum
        let second = chain_id(Some(&digest(1)), &digest(2));
        let expected = "sha256:ad00036de6f26a309d173ace61d4a45573a1658ab0ff36e3858c3dbee3c5ded8";
        assert_eq!(second.to_string(), expected);
    }
}
