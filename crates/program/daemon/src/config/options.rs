//! Every option of dockerd, as a flag and as a key of the configuration file: one table.

/// The shape of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `--flag`, `--flag=false`; a JSON boolean.
    Bool,
    /// One text or number.
    Text,
    /// Repeated; a JSON array of texts.
    List,
    /// Repeated `name=value`; a JSON object.
    Map,
}

/// What Berth does with an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It has an effect.
    Built,
    /// It is accepted and does nothing, because of this.
    Idle(&'static str),
    /// It is refused until it is built.
    Refused,
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Key in the configuration file; empty where there is none.
    pub key: &'static str,
    /// Long flag; empty where there is none.
    pub flag: &'static str,
    /// Short flag.
    pub short: Option<char>,
    /// Shape of its value.
    pub kind: Kind,
    /// What is done with it.
    pub used: Use,
}

const fn opt(key: &'static str, flag: &'static str, kind: Kind, used: Use) -> Opt {
    Opt {
        key,
        flag,
        short: None,
        kind,
        used,
    }
}

const fn short(mut option: Opt, letter: char) -> Opt {
    option.short = Some(letter);
    option
}

const NO_CONTAINERD: Use = Use::Idle("Berth has no containerd");
const NO_PROXY: Use = Use::Idle("Berth publishes ports in the kernel, without a proxy");
const ALWAYS: Use = Use::Idle("Berth always works that way");
const NO_SWARM: Use = Use::Idle("Berth has no swarm");
const BRIDGE: Use = Use::Idle("Berth's default network does not know it yet");
const NO_IPV6: Use = Use::Idle("Berth's networks have no IPv6 yet");
const REGISTRY: Use = Use::Idle("it will take effect with pull and push, which are not built yet");

/// The options of dockerd 29, in the order of its reference, and those that Berth alone has.
pub const OPTIONS: &[Opt] = &[
    opt("registry-mirrors", "registry-mirror", Kind::List, REGISTRY),
    opt(
        "insecure-registries",
        "insecure-registry",
        Kind::List,
        REGISTRY,
    ),
    opt("storage-opts", "storage-opt", Kind::List, Use::Refused),
    opt(
        "authorization-plugins",
        "authorization-plugin",
        Kind::List,
        Use::Refused,
    ),
    opt("exec-opts", "exec-opt", Kind::List, Use::Built),
    short(opt("pidfile", "pidfile", Kind::Text, Use::Built), 'p'),
    opt("data-root", "data-root", Kind::Text, Use::Built),
    opt("exec-root", "exec-root", Kind::Text, Use::Built),
    opt("containerd", "containerd", Kind::Text, NO_CONTAINERD),
    opt(
        "cri-containerd",
        "cri-containerd",
        Kind::Bool,
        NO_CONTAINERD,
    ),
    opt(
        "features",
        "feature",
        Kind::Map,
        Use::Idle("Berth has no feature switches"),
    ),
    opt(
        "default-network-opts",
        "default-network-opt",
        Kind::Map,
        BRIDGE,
    ),
    opt("mtu", "mtu", Kind::Text, Use::Built),
    opt(
        "network-control-plane-mtu",
        "network-control-plane-mtu",
        Kind::Text,
        NO_SWARM,
    ),
    opt(
        "network-diagnostic-port",
        "network-diagnostic-port",
        Kind::Text,
        NO_SWARM,
    ),
    opt("raw-logs", "raw-logs", Kind::Bool, ALWAYS),
    short(opt("log-level", "log-level", Kind::Text, Use::Built), 'l'),
    opt("log-format", "log-format", Kind::Text, Use::Refused),
    opt("dns", "dns", Kind::List, Use::Built),
    opt("dns-opts", "dns-opt", Kind::List, Use::Built),
    opt("dns-search", "dns-search", Kind::List, Use::Built),
    opt("host-gateway-ips", "host-gateway-ip", Kind::List, BRIDGE),
    opt("host-gateway-ip", "", Kind::Text, BRIDGE),
    opt("labels", "label", Kind::List, Use::Built),
    opt("log-driver", "log-driver", Kind::Text, Use::Built),
    opt("log-opts", "log-opt", Kind::Map, Use::Built),
    opt(
        "max-concurrent-downloads",
        "max-concurrent-downloads",
        Kind::Text,
        REGISTRY,
    ),
    opt(
        "max-concurrent-uploads",
        "max-concurrent-uploads",
        Kind::Text,
        REGISTRY,
    ),
    opt(
        "max-download-attempts",
        "max-download-attempts",
        Kind::Text,
        REGISTRY,
    ),
    opt(
        "shutdown-timeout",
        "shutdown-timeout",
        Kind::Text,
        Use::Idle("containers outlive the engine"),
    ),
    opt(
        "default-stop-timeout",
        "default-stop-timeout",
        Kind::Text,
        Use::Refused,
    ),
    opt(
        "swarm-default-advertise-addr",
        "swarm-default-advertise-addr",
        Kind::Text,
        NO_SWARM,
    ),
    opt("swarm-raft-heartbeat-tick", "", Kind::Text, NO_SWARM),
    opt("swarm-raft-election-tick", "", Kind::Text, NO_SWARM),
    opt(
        "experimental",
        "experimental",
        Kind::Bool,
        Use::Idle("Berth has no experimental mode"),
    ),
    opt("metrics-addr", "metrics-addr", Kind::Text, Use::Refused),
    opt(
        "node-generic-resources",
        "node-generic-resource",
        Kind::List,
        NO_SWARM,
    ),
    opt(
        "containerd-namespace",
        "containerd-namespace",
        Kind::Text,
        NO_CONTAINERD,
    ),
    opt(
        "containerd-plugin-namespace",
        "containerd-plugins-namespace",
        Kind::Text,
        NO_CONTAINERD,
    ),
    opt(
        "default-runtime",
        "default-runtime",
        Kind::Text,
        Use::Refused,
    ),
    opt("", "http-proxy", Kind::Text, REGISTRY),
    opt("", "https-proxy", Kind::Text, REGISTRY),
    opt("", "no-proxy", Kind::Text, REGISTRY),
    opt("proxies", "", Kind::Map, REGISTRY),
    opt("cdi-spec-dirs", "cdi-spec-dir", Kind::List, Use::Refused),
    opt("nri-opts", "nri-opts", Kind::Map, Use::Refused),
    short(opt("", "restart", Kind::Bool, ALWAYS), 'r'),
    opt("runtimes", "add-runtime", Kind::Map, Use::Refused),
    short(opt("group", "group", Kind::Text, Use::Built), 'G'),
    short(
        opt("storage-driver", "storage-driver", Kind::Text, Use::Built),
        's',
    ),
    opt(
        "selinux-enabled",
        "selinux-enabled",
        Kind::Bool,
        Use::Refused,
    ),
    opt("default-ulimits", "default-ulimit", Kind::Map, Use::Built),
    opt("iptables", "iptables", Kind::Bool, Use::Built),
    opt("ip6tables", "ip6tables", Kind::Bool, NO_IPV6),
    opt("ip-forward", "ip-forward", Kind::Bool, Use::Built),
    opt(
        "ip-forward-no-drop",
        "ip-forward-no-drop",
        Kind::Bool,
        BRIDGE,
    ),
    opt("ip-masq", "ip-masq", Kind::Bool, Use::Built),
    opt("ipv6", "ipv6", Kind::Bool, NO_IPV6),
    opt("bip", "bip", Kind::Text, Use::Built),
    opt("bip6", "bip6", Kind::Text, NO_IPV6),
    short(opt("bridge", "bridge", Kind::Text, Use::Built), 'b'),
    opt("fixed-cidr", "fixed-cidr", Kind::Text, Use::Built),
    opt("fixed-cidr-v6", "fixed-cidr-v6", Kind::Text, NO_IPV6),
    opt("default-gateway", "default-gateway", Kind::Text, BRIDGE),
    opt(
        "default-gateway-v6",
        "default-gateway-v6",
        Kind::Text,
        NO_IPV6,
    ),
    opt("icc", "icc", Kind::Bool, Use::Built),
    opt("ip", "ip", Kind::Text, Use::Built),
    opt("userland-proxy", "userland-proxy", Kind::Bool, NO_PROXY),
    opt(
        "userland-proxy-path",
        "userland-proxy-path",
        Kind::Text,
        NO_PROXY,
    ),
    opt(
        "allow-direct-routing",
        "allow-direct-routing",
        Kind::Bool,
        BRIDGE,
    ),
    opt(
        "bridge-accept-fwmark",
        "bridge-accept-fwmark",
        Kind::Text,
        BRIDGE,
    ),
    opt("cgroup-parent", "cgroup-parent", Kind::Text, Use::Built),
    opt("userns-remap", "userns-remap", Kind::Text, Use::Refused),
    opt("live-restore", "live-restore", Kind::Bool, ALWAYS),
    opt("init", "init", Kind::Bool, Use::Refused),
    opt(
        "init-path",
        "init-path",
        Kind::Text,
        Use::Idle("Berth has its init built in"),
    ),
    opt(
        "default-init",
        "",
        Kind::Text,
        Use::Idle("Berth has its init built in"),
    ),
    opt("cpu-rt-period", "cpu-rt-period", Kind::Text, Use::Refused),
    opt("cpu-rt-runtime", "cpu-rt-runtime", Kind::Text, Use::Refused),
    opt(
        "seccomp-profile",
        "seccomp-profile",
        Kind::Text,
        Use::Refused,
    ),
    opt(
        "default-shm-size",
        "default-shm-size",
        Kind::Text,
        Use::Built,
    ),
    opt(
        "no-new-privileges",
        "no-new-privileges",
        Kind::Bool,
        Use::Built,
    ),
    opt(
        "default-ipc-mode",
        "default-ipc-mode",
        Kind::Text,
        Use::Refused,
    ),
    opt(
        "default-address-pools",
        "default-address-pool",
        Kind::List,
        BRIDGE,
    ),
    opt("firewall-backend", "firewall-backend", Kind::Text, BRIDGE),
    opt("rootless", "rootless", Kind::Bool, Use::Refused),
    opt(
        "default-cgroupns-mode",
        "default-cgroupns-mode",
        Kind::Text,
        Use::Built,
    ),
    short(opt("debug", "debug", Kind::Bool, Use::Built), 'D'),
    opt("", "validate", Kind::Bool, Use::Built),
    opt("tls", "tls", Kind::Bool, Use::Refused),
    opt("tlsverify", "tlsverify", Kind::Bool, Use::Refused),
    opt("tlscacert", "tlscacert", Kind::Text, Use::Refused),
    opt("tlscert", "tlscert", Kind::Text, Use::Refused),
    opt("tlskey", "tlskey", Kind::Text, Use::Refused),
    short(opt("hosts", "host", Kind::List, Use::Built), 'H'),
    opt("", "config-file", Kind::Text, Use::Built),
    opt(
        "min-api-version",
        "",
        Kind::Text,
        Use::Idle("Berth serves every version from 1.24"),
    ),
    opt(
        "builder",
        "",
        Kind::Map,
        Use::Idle("it will take effect with builds, which are not built yet"),
    ),
    opt("resolv-conf", "", Kind::Text, Use::Refused),
    opt(
        "deprecated-key-path",
        "",
        Kind::Text,
        Use::Idle("Docker ignores it too"),
    ),
    opt(
        "allow-nondistributable-artifacts",
        "",
        Kind::List,
        Use::Idle("Docker ignores it too"),
    ),
    opt("spare-monitors", "spare-monitors", Kind::Text, Use::Built),
    opt("spare-networks", "spare-networks", Kind::Text, Use::Built),
];
