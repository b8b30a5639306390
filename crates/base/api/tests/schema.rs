//! The types have exactly the fields of the description, in its spelling.

use std::collections::BTreeSet;
use std::fmt;

use berth_api::archive::FilesystemChange;
use berth_api::container::{
    BindOptions, ContainerConfig, ContainerCreateResponse, ContainerInspect, ContainerState,
    ContainerSummary, DeviceMapping, DeviceRequest, Health, HealthConfig, HealthSummary,
    HealthcheckResult, HostConfig, HostConfigSummary, ImageOptions, LogConfig, Mount, MountPoint,
    RestartPolicy, ThrottleDevice, TmpfsOptions, Ulimit, VolumeDriverConfig, VolumeOptions,
    WaitError, WaitResponse, WeightDevice,
};
use berth_api::exec::{ExecCreateResponse, ExecInspect, ProcessConfig};
use berth_api::image::{
    DriverData, ImageConfig, ImageInspect, ImageMetadata, ImageSummary, OciDescriptor, OciPlatform,
    RootFs, RootFsSnapshot, RootFsStorage, Storage,
};
use berth_api::network::{
    ConfigReference, EndpointIpamConfig, EndpointResource, EndpointSettings, Ipam, IpamConfig,
    IpamStatus, NetworkInspect, NetworkSettings, NetworkSettingsSummary, NetworkStatus,
    NetworkSummary, NetworkingConfig, PeerInfo, PortBinding, PortSummary, SubnetStatus,
};
use berth_api::system::{
    AddressPool, Commit, ContainerdInfo, ContainerdNamespaces, DeviceInfo, FirewallInfo, IndexInfo,
    Info, NriInfo, PeerNode, PluginsInfo, RegistryServiceConfig, Runtime, SwarmInfo, Version,
    VersionComponent, VersionPlatform,
};
use berth_api::{ErrorDetail, ErrorResponse, ProgressDetail};
use serde::de::{Deserialize, Deserializer, Visitor};

const FIELDS: &str = include_str!("../../../../dev/api-fields.tsv");

/// What a type adds: read from old clients, never written in the newest version.
const EXTRA: &[(&str, &[&str])] = &[
    ("ContainerConfig", &["MacAddress"]),
    ("HostConfig", &["KernelMemory", "KernelMemoryTCP"]),
];

/// A deserializer that only takes note of the names it is asked for; it carries them out as an
/// error.
struct Names;

#[derive(Debug)]
struct Asked(&'static [&'static str]);

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Asked {}

impl serde::de::Error for Asked {
    fn custom<T: fmt::Display>(message: T) -> Self {
        panic!("{message}")
    }
}

impl<'de> Deserializer<'de> for Names {
    type Error = Asked;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Asked> {
        panic!("no struct: its keys would not be matched in any letter case")
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Asked> {
        Err(Asked(fields))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn same<T: Deserialize<'static>>(definition: &str) {
    let Err(Asked(fields)) = T::deserialize(Names) else {
        panic!("{definition}: no struct")
    };
    let extra = EXTRA
        .iter()
        .find(|(name, _)| *name == definition)
        .map_or(&[][..], |(_, e)| e);
    let ours: BTreeSet<&str> = fields
        .iter()
        .copied()
        .filter(|field| !extra.contains(field))
        .collect();
    let described: BTreeSet<&str> = FIELDS
        .lines()
        .filter_map(|line| {
            line.strip_prefix(definition)?
                .strip_prefix('\t')?
                .split('\t')
                .next()
        })
        .collect();
    assert!(!described.is_empty(), "{definition} is not described");
    assert_eq!(ours, described, "{definition}");
}

#[test]
fn containers() {
    same::<ContainerConfig>("ContainerConfig");
    same::<HealthConfig>("HealthConfig");
    same::<HostConfig>("HostConfig");
    same::<LogConfig>("HostConfig.LogConfig");
    same::<RestartPolicy>("RestartPolicy");
    same::<DeviceMapping>("DeviceMapping");
    same::<DeviceRequest>("DeviceRequest");
    same::<ThrottleDevice>("ThrottleDevice");
    same::<WeightDevice>("HostConfig.BlkioWeightDevice.item");
    same::<Ulimit>("HostConfig.Ulimits.item");
    same::<Mount>("Mount");
    same::<BindOptions>("Mount.BindOptions");
    same::<VolumeOptions>("Mount.VolumeOptions");
    same::<VolumeDriverConfig>("Mount.VolumeOptions.DriverConfig");
    same::<ImageOptions>("Mount.ImageOptions");
    same::<TmpfsOptions>("Mount.TmpfsOptions");
    same::<MountPoint>("MountPoint");
    same::<ContainerCreateResponse>("ContainerCreateResponse");
    same::<ContainerInspect>("ContainerInspectResponse");
    same::<ContainerState>("ContainerState");
    same::<Health>("Health");
    same::<HealthcheckResult>("HealthcheckResult");
    same::<ContainerSummary>("ContainerSummary");
    same::<HostConfigSummary>("ContainerSummary.HostConfig");
    same::<HealthSummary>("ContainerSummary.Health");
    same::<WaitResponse>("ContainerWaitResponse");
    same::<WaitError>("ContainerWaitExitError");
    same::<FilesystemChange>("FilesystemChange");
}

#[test]
fn execs() {
    same::<ExecCreateResponse>("IDResponse");
    same::<ExecInspect>("ExecInspectResponse");
    same::<ProcessConfig>("ProcessConfig");
}

#[test]
fn networks() {
    same::<NetworkingConfig>("NetworkingConfig");
    same::<EndpointSettings>("EndpointSettings");
    same::<EndpointIpamConfig>("EndpointIPAMConfig");
    same::<NetworkSettings>("NetworkSettings");
    same::<NetworkSettingsSummary>("ContainerSummary.NetworkSettings");
    same::<PortBinding>("PortBinding");
    same::<PortSummary>("PortSummary");
    same::<NetworkSummary>("NetworkSummary");
    same::<NetworkInspect>("NetworkInspect");
    same::<Ipam>("IPAM");
    same::<IpamConfig>("IPAMConfig");
    same::<ConfigReference>("ConfigReference");
    same::<PeerInfo>("PeerInfo");
    same::<EndpointResource>("EndpointResource");
    same::<NetworkStatus>("NetworkStatus");
    same::<IpamStatus>("IPAMStatus");
    same::<SubnetStatus>("SubnetStatus");
}

#[test]
fn images() {
    same::<ImageSummary>("ImageSummary");
    same::<ImageInspect>("ImageInspect");
    same::<ImageConfig>("ImageConfig");
    same::<RootFs>("ImageInspect.RootFS");
    same::<ImageMetadata>("ImageInspect.Metadata");
    same::<DriverData>("DriverData");
    same::<Storage>("Storage");
    same::<RootFsStorage>("RootFSStorage");
    same::<RootFsSnapshot>("RootFSStorageSnapshot");
    same::<OciDescriptor>("OCIDescriptor");
    same::<OciPlatform>("OCIPlatform");
}

#[test]
fn the_engine() {
    same::<Version>("SystemVersion");
    same::<VersionPlatform>("SystemVersion.Platform");
    same::<VersionComponent>("SystemVersion.Components.item");
    same::<Info>("SystemInfo");
    same::<PluginsInfo>("PluginsInfo");
    same::<RegistryServiceConfig>("RegistryServiceConfig");
    same::<IndexInfo>("IndexInfo");
    same::<Runtime>("Runtime");
    same::<Commit>("Commit");
    same::<SwarmInfo>("SwarmInfo");
    same::<PeerNode>("PeerNode");
    same::<AddressPool>("SystemInfo.DefaultAddressPools.item");
    same::<FirewallInfo>("FirewallInfo");
    same::<DeviceInfo>("DeviceInfo");
    same::<NriInfo>("NRIInfo");
    same::<ContainerdInfo>("ContainerdInfo");
    same::<ContainerdNamespaces>("ContainerdInfo.Namespaces");
    same::<ErrorResponse>("ErrorResponse");
    same::<ErrorDetail>("ErrorDetail");
    same::<ProgressDetail>("ProgressDetail");
}
