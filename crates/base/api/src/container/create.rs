//! `POST /containers/create`.

use serde::{Deserialize, Deserializer, Serialize};

use super::config::ContainerConfig;
use super::host::HostConfig;
use crate::decode::{Document, DocumentError};
use crate::network::NetworkingConfig;

/// The body of a create request: the fields of [`ContainerConfig`] with two more beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ContainerCreateRequest {
    /// The portable half; its fields stand at the top of the body.
    #[serde(flatten)]
    pub config: ContainerConfig,
    /// The half that depends on the host.
    #[serde(rename = "HostConfig")]
    pub host_config: HostConfig,
    /// Networks to join.
    #[serde(rename = "NetworkingConfig")]
    pub networking_config: NetworkingConfig,
}

/// The two fields beside the configuration.
#[derive(Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[derive(Default)]
struct Beside {
    host_config: HostConfig,
    networking_config: NetworkingConfig,
}

/// Read in two passes over one document: serde's `flatten` would hide the names of the fields
/// from the decoder, which needs them to match keys in any letter case.
impl<'de> Deserialize<'de> for ContainerCreateRequest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let document = Document::deserialize(from)?;
        let wrong = |e: DocumentError| serde::de::Error::custom(e);
        let beside: Beside = document.read().map_err(wrong)?;
        Ok(Self {
            config: document.read().map_err(wrong)?,
            host_config: beside.host_config,
            networking_config: beside.networking_config,
        })
    }
}

/// `ContainerCreateResponse`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerCreateResponse {
    /// Id of the new container, 64 hexadecimal digits.
    pub id: String,
    /// What the engine did not take as it was said.
    pub warnings: Vec<String>,
}
