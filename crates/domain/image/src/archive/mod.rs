//! Images as one file: what `save` writes and `load` reads.
//!
//! ```text
//! blobs/sha256/<digest>   layers (uncompressed tar), configurations, OCI manifests
//! index.json, oci-layout  the OCI image layout (image-spec, `image-layout.md`)
//! manifest.json           Docker's own index: paths of configuration and layers, tags
//! repositories            the index before that
//! ```
//!
//! Archives of older engines have no blobs: there `manifest.json` names `<id>.json` and
//! `<id>/layer.tar`. The outer archive is unpacked by the same confined helper as a layer, into a
//! directory that nobody else sees; paths in its documents are resolved in that directory.

mod find;
mod load;
mod save;

pub(crate) use load::load;
pub use load::{LoadOptions, LoadStep, Loaded};
pub(crate) use save::save;

/// Directory of the blobs.
const BLOBS: &str = "blobs/sha256/";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Annotations of a manifest in the index: its whole name (containerd), and its tag (OCI).
const FULL_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
