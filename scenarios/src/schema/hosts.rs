//! The hardware of a swarm: machines, hosts, devices and network interfaces.
use crate::input::excerpt;
use crate::raw::{Raw, options};
use crate::schema::limit::Limit;
use crate::schema::network::Link;
use crate::units::{Rate, Time, Work};
use schemars::JsonSchema;
use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// A computer that several hosts share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The name of the machine, by which hosts refer to it.
    pub name: String,
    /// The number of core leases: how many jobs of the machine may compute at once, first come, first served. `Off`: no
    /// limit.
    #[serde(default = "leaving_one_core")]
    pub leases: Limit,
}

/// A group of equal hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The name of the group. Its hosts are called `name[0]`, `name[1]` and so on.
    pub name: String,
    /// The number of hosts. Without it: one host, or one host for each client if the clients run on this group.
    #[serde(default)]
    pub count: Option<u32>,
    /// The site of the hosts. The links of the network may depend on the sites of two hosts. Without `site` and
    /// `sites`, the site is `lan`.
    #[serde(default)]
    pub site: Option<String>,
    /// The sites to which the hosts of the group are assigned in turn, in place of `site`: a list of names, or `All`.
    #[serde(default)]
    pub sites: Option<Spread>,
    /// The machine that the hosts of the group share. Without it, each host has a machine of its own.
    #[serde(default)]
    pub machine: Option<String>,
    /// The device that computes for the peers or the client of the host.
    pub device: Device,
    /// Further devices of each host. All devices of a host compute in parallel, and the peers of the host are assigned
    /// to the devices in turn.
    #[serde(default)]
    pub also: Vec<Device>,
    /// Simulation: the factor by which the devices of these hosts are slower than `device` says.
    #[serde(default = "as_its_kind")]
    pub slow: f64,
    /// Simulation: a fixed time that is added to each job, such as for copies to and from a GPU. The device is busy
    /// meanwhile.
    #[serde(default)]
    pub per_job: Time,
    /// The link through which messages leave the host.
    #[serde(default)]
    pub egress: Link,
    /// The link through which messages enter the host.
    #[serde(default)]
    pub ingress: Link,
}

/// The sites over which the hosts of a group are spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spread {
    /// All sites that `network.rtt` names, in the order of its table.
    All,
    /// The given sites, in this order. A scenario writes them as a list of strings.
    Over(Vec<String>),
}

impl Serialize for Spread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Spread::All => serializer.serialize_unit_variant("Spread", 0, "All"),
            Spread::Over(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Spread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Spread, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        match raw.text() {
            "All" => Ok(Spread::All),
            list if list.starts_with('[') => {
                options().from_str(list).map(Spread::Over).map_err(|error| de::Error::custom(error.code))
            }
            other => {
                let found = excerpt(other);
                Err(de::Error::custom(format!("sites are a list of names, as [\"eu\", \"us\"], or `All`, not {found}")))
            }
        }
    }
}

/// A device that executes blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Device {
    /// Simulation only: a built-in device, by its name.
    Preset(String),
    /// Simulation only: a device with measured times, by the file of a profile or the name of a built-in profile.
    Profile(String),
    /// A GPU. Live runs need a build with CUDA.
    Cuda {
        /// The number of the GPU on its machine, counted from 0.
        #[serde(default)]
        ordinal: u32,
        /// Simulation: the preset that gives the GPU's speed.
        #[serde(default = "h100")]
        like: String,
    },
    /// A CPU. The fields other than `threads` affect only the simulation.
    Cpu {
        /// The number of threads.
        threads: u32,
        /// The arithmetic rate. Without it: the rate of the profile or of the built-in CPU model.
        #[serde(default)]
        flops: Option<Work>,
        /// The memory bandwidth at which weights are read. Without it: the bandwidth of the profile or of the built-in
        /// CPU model.
        #[serde(default)]
        bandwidth: Option<Rate>,
        /// A fixed time of each block, in addition to its arithmetic and memory traffic.
        #[serde(default)]
        per_block: Option<Time>,
        /// A fixed time of each job, in addition to its blocks.
        #[serde(default)]
        per_job: Option<Time>,
        /// The extra time that the first job of the process takes.
        #[serde(default)]
        first_job: Option<Time>,
        /// Measured times of one block, in place of the roofline model.
        #[serde(default)]
        table: Option<Table>,
        /// The file of a profile, in place of the built-in CPU model. The other fields override values of the profile.
        #[serde(default)]
        profile: Option<String>,
    },
    /// Simulation only: a device that is described by its roofline.
    Custom {
        /// The arithmetic rate.
        flops: Work,
        /// The memory bandwidth at which weights are read.
        bandwidth: Rate,
        /// A fixed time of each block, in addition to its arithmetic and memory traffic.
        #[serde(default)]
        per_block: Time,
        /// A fixed time of each job, in addition to its blocks.
        #[serde(default)]
        per_job: Time,
        /// The extra time that the first job of the process takes.
        #[serde(default)]
        first_job: Time,
        /// Measured times of one block, in place of the roofline model.
        #[serde(default)]
        table: Option<Table>,
    },
}

/// Measured times of one block. Between the given sizes they are interpolated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Pairs (new tokens of all rows, time of one block), for steps of more than one token.
    #[serde(default)]
    pub prefill: Vec<(u32, Time)>,
    /// Pairs (number of rows, time of one block), for one-token steps.
    #[serde(default)]
    pub decode: Vec<(u32, Time)>,
    /// A fixed time of each job, in addition to its blocks.
    #[serde(default)]
    pub per_job: Time,
}

/// One lease: on a machine with two cores, one core computes and the other is left to the transport.
fn leaving_one_core() -> Limit {
    Limit::Of(1)
}

fn as_its_kind() -> f64 {
    1.0
}

fn h100() -> String {
    "h100".to_owned()
}
