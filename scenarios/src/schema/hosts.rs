//! Where nodes live: machines, hosts, their devices and their NICs.
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
    /// The name that hosts refer to.
    pub name: String,
    /// The number of core leases: how many jobs of the machine may compute at once, first come, first served. `Off`: no limit.
    #[serde(default = "leaving_one_core")]
    pub leases: Limit,
}

/// A group of equal hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The name of the group. Its hosts are called `name[0]`, `name[1]` and so on.
    pub name: String,
    /// The number of hosts. Without it: one host, or one for each client if the group is that of the clients.
    #[serde(default)]
    pub count: Option<u32>,
    /// The place of the hosts, by which the network tells paths apart. Without it and without `sites`: `lan`.
    #[serde(default)]
    pub site: Option<String>,
    /// The places that the hosts of the group take in turn, in place of `site`: a list of names, or `All`.
    #[serde(default)]
    pub sites: Option<Spread>,
    /// The machine that the hosts of the group share. Without it, each host has a machine of its own.
    #[serde(default)]
    pub machine: Option<String>,
    /// The device that executes blocks.
    pub device: Device,
    /// Further devices of each host. They compute in parallel; the peers of the host take the devices in turn.
    #[serde(default)]
    pub also: Vec<Device>,
    /// Simulation: the factor by which the devices of these hosts are slower than `device` says.
    #[serde(default = "as_its_kind")]
    pub slow: f64,
    /// Simulation: time that the host adds to each job while its device waits, such as copies to and from a GPU.
    #[serde(default)]
    pub per_job: Time,
    /// The link by which messages leave the host.
    #[serde(default)]
    pub egress: Link,
    /// The link by which messages enter the host.
    #[serde(default)]
    pub ingress: Link,
}

/// The sites over which the hosts of a group are spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spread {
    /// All sites that `network.rtt` names, in the order of its table.
    All,
    /// These sites, in this order. Written as a list of texts.
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
    /// Simulation: a device of the program's list, by its name.
    Preset(String),
    /// Simulation: a device with measured times, by the file of its profile or the name of a profile of the program.
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
    /// Threads of a CPU. The fields other than `threads` are for the simulation.
    Cpu {
        /// The number of threads.
        threads: u32,
        /// The arithmetic rate, in place of the preset's.
        #[serde(default)]
        flops: Option<Work>,
        /// The memory bandwidth at which weights are read, in place of the preset's.
        #[serde(default)]
        bandwidth: Option<Rate>,
        /// Time that each block takes besides its arithmetic and memory traffic.
        #[serde(default)]
        per_block: Option<Time>,
        /// Time that each job takes besides its blocks.
        #[serde(default)]
        per_job: Option<Time>,
        /// Time that the first job of the process takes in addition.
        #[serde(default)]
        first_job: Option<Time>,
        /// Measured times of one block, in place of the roofline model.
        #[serde(default)]
        table: Option<Table>,
        /// The file of a profile, in place of the preset. Fields beside it override the profile.
        #[serde(default)]
        profile: Option<String>,
    },
    /// Simulation: a device described by its roofline.
    Custom {
        /// The arithmetic rate.
        flops: Work,
        /// The memory bandwidth at which weights are read.
        bandwidth: Rate,
        /// Time that each block takes besides its arithmetic and memory traffic.
        #[serde(default)]
        per_block: Time,
        /// Time that each job takes besides its blocks.
        #[serde(default)]
        per_job: Time,
        /// Time that the first job of the process takes in addition.
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
    /// Pairs (batch x tokens, time), for steps of more than one token.
    #[serde(default)]
    pub prefill: Vec<(u32, Time)>,
    /// Pairs (batch, time), for one-token steps.
    #[serde(default)]
    pub decode: Vec<(u32, Time)>,
    /// Time that each job takes besides its blocks.
    #[serde(default)]
    pub per_job: Time,
}

/// Of two cores one computes, so that the transport has the other.
fn leaving_one_core() -> Limit {
    Limit::Of(1)
}

fn as_its_kind() -> f64 {
    1.0
}

fn h100() -> String {
    "h100".to_owned()
}
