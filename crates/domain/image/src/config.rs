//! The configuration document of a new image. Pure.

use berth_types::oci::{History, ImageConfig, ImageDefaults, ImageRootfs};
use berth_types::{Digest, Timestamp};

use crate::error::ImageError;

/// Operating system and processor, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Platform {
    pub architecture: String,
    pub variant: String,
}

/// Processors that images are made for.
const ARCHITECTURES: [&str; 12] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "ppc64", "ppc64le",
    "riscv64", "s390x",
];

/// Go's word for a processor that has several.
fn go_name(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "x86" => "386",
        other => other,
    }
}

impl Platform {
    /// `os`, `architecture`, `os/architecture` or `os/architecture/variant`; nothing is this
    /// machine.
    pub fn parse(platform: Option<&str>) -> Result<Self, ImageError> {
        let host = Self {
            architecture: go_name(std::env::consts::ARCH).to_owned(),
            variant: String::new(),
        };
        let Some(text) = platform.filter(|text| !text.is_empty()) else {
            return Ok(host);
        };
        let wrong = |reason| ImageError::Platform {
            platform: text.to_owned(),
            reason,
        };
        let lower = text.to_ascii_lowercase();
        let mut parts = lower.split('/');
        let first = parts.next().unwrap_or_default();
        let (architecture, variant) = (parts.next(), parts.next());
        if parts.next().is_some() {
            return Err(wrong("write os/architecture/variant"));
        }
        if architecture.is_none() && ARCHITECTURES.contains(&go_name(first)) {
            return Ok(Self {
                architecture: go_name(first).to_owned(),
                variant: String::new(),
            });
        }
        if first != "linux" {
            return Err(wrong("operating system is not supported: Berth runs linux"));
        }
        let Some(architecture) = architecture.map(go_name) else {
            return Ok(host);
        };
        if !ARCHITECTURES.contains(&architecture) {
            return Err(wrong(
                "unknown architecture: write it as Go does, like amd64 or arm64",
            ));
        }
        // The only variant of arm64 that there is goes unmentioned.
        let variant = variant.filter(|v| !(architecture == "arm64" && matches!(*v, "8" | "v8")));
        Ok(Self {
            architecture: architecture.to_owned(),
            variant: variant.unwrap_or_default().to_owned(),
        })
    }
}

/// The document of an image of one layer, made from an archive.
pub(crate) fn document(
    platform: Platform,
    config: ImageDefaults,
    diff_id: Digest,
    comment: &str,
    created: Timestamp,
) -> Result<String, ImageError> {
    let created = Some(created.to_string());
    let history = History {
        created: created.clone(),
        comment: comment.to_owned(),
        ..History::default()
    };
    let image = ImageConfig {
        created,
        architecture: platform.architecture,
        variant: platform.variant,
        os: "linux".to_owned(),
        config,
        rootfs: ImageRootfs {
            kind: "layers".to_owned(),
            diff_ids: vec![diff_id.to_string()],
        },
        history: vec![history],
        comment: comment.to_owned(),
        ..ImageConfig::default()
    };
    serde_json::to_string(&image).map_err(ImageError::Encode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_as_docker_reads_them() {
        let parse = |text| Platform::parse(Some(text)).map(|p| (p.architecture, p.variant));
        let pair = |a: &str, v: &str| (a.to_owned(), v.to_owned());
        assert_eq!(parse("linux/amd64").unwrap(), pair("amd64", ""));
        assert_eq!(parse("Linux/x86_64").unwrap(), pair("amd64", ""));
        assert_eq!(parse("linux/arm64/v8").unwrap(), pair("arm64", ""));
        assert_eq!(parse("linux/arm/v7").unwrap(), pair("arm", "v7"));
        assert_eq!(parse("riscv64").unwrap(), pair("riscv64", ""));
        assert_eq!(
            Platform::parse(Some("linux")).unwrap(),
            Platform::parse(None).unwrap()
        );
        for wrong in [
            "windows/amd64",
            "linux/z80",
            "linux/arm/v7/x",
            "/",
            "toaster",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
