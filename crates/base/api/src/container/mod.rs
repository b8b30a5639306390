//! Containers: what a create request says, and what list, inspect and wait answer.

mod config;
mod create;
mod device;
mod host;
mod inspect;
mod mount;
mod summary;
mod wait;

pub use config::{ContainerConfig, Empty, HealthConfig};
pub use create::{ContainerCreateRequest, ContainerCreateResponse};
pub use device::{DeviceMapping, DeviceRequest, ThrottleDevice, Ulimit, WeightDevice};
pub use host::{HostConfig, LogConfig, RestartPolicy};
pub use inspect::{ContainerInspect, ContainerState, Health, HealthcheckResult};
pub use mount::{
    BindOptions, ImageOptions, Mount, MountPoint, TmpfsOptions, VolumeDriverConfig, VolumeOptions,
};
pub use summary::{ContainerSummary, HealthSummary, HostConfigSummary};
pub use wait::{WaitCondition, WaitConditionError, WaitError, WaitResponse};
