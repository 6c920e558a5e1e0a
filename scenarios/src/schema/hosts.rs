//! Where nodes live: machines, hosts, their devices and their NICs.
use crate::schema::limit::Limit;
use crate::schema::network::Link;
use crate::units::{Rate, Time, Work};
use serde::{Deserialize, Serialize};

/// A computer that several hosts share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub name: String,
    /// How many jobs may compute at once, first come first served. `Off`: its hosts contend as they please.
    #[serde(default = "leaving_one_core")]
    pub leases: Limit,
}

/// A group of like hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    pub name: String,
    /// How many there are; where nothing is said, one, or one for each client if the group is the clients'.
    #[serde(default)]
    pub count: Option<u32>,
    #[serde(default = "lan")]
    pub site: String,
    /// The machine that all of the group share; where nothing is said, each has one of its own.
    #[serde(default)]
    pub machine: Option<String>,
    pub device: Device,
    /// Further devices of the host, each of which computes beside the others; its peers take them in turn.
    #[serde(default)]
    pub also: Vec<Device>,
    /// How many times slower than their kind the simulation takes the devices to be: a straggler has more than 1.
    #[serde(default = "as_its_kind")]
    pub slow: f64,
    /// What the host adds to each job while its device waits, in the simulation: copies to and from a GPU, the loop around
    /// it.
    #[serde(default)]
    pub per_job: Time,
    /// What leaves by the NIC.
    #[serde(default)]
    pub egress: Link,
    /// What enters by it.
    #[serde(default)]
    pub ingress: Link,
}

/// What computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Device {
    /// A device by name; the simulation alone knows it.
    Preset(String),
    /// A device that somebody has measured, by the file of its profile (see [`crate::profile`]): a path, from the
    /// scenario's folder on, or the name of one that comes with the program. The simulation alone knows it.
    Profile(String),
    /// A GPU of this machine, executed by the live world in a build with CUDA; the simulation takes it to be the preset
    /// that it is `like`.
    Cuda {
        #[serde(default)]
        ordinal: u32,
        #[serde(default = "h100")]
        like: String,
    },
    /// Threads of this kind of CPU, executed by the live world; what is said of their speed is for the simulation and
    /// takes the place of the preset's.
    Cpu {
        threads: u32,
        #[serde(default)]
        flops: Option<Work>,
        /// Of streamed weights.
        #[serde(default)]
        bandwidth: Option<Rate>,
        #[serde(default)]
        per_block: Option<Time>,
        #[serde(default)]
        per_job: Option<Time>,
        #[serde(default)]
        first_job: Option<Time>,
        #[serde(default)]
        table: Option<Table>,
        /// The file of a profile, which takes the place of the preset; what is said beside it wins over it.
        #[serde(default)]
        profile: Option<String>,
    },
    /// A device that one describes; the simulation alone knows it.
    Custom {
        flops: Work,
        bandwidth: Rate,
        #[serde(default)]
        per_block: Time,
        #[serde(default)]
        per_job: Time,
        #[serde(default)]
        first_job: Time,
        #[serde(default)]
        table: Option<Table>,
    },
}

/// Measured times of one block, in place of the roofline's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// (batch x tokens, time), for steps of more than one token.
    #[serde(default)]
    pub prefill: Vec<(u32, Time)>,
    /// (batch, time), for one-token steps.
    #[serde(default)]
    pub decode: Vec<(u32, Time)>,
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

fn lan() -> String {
    "lan".to_owned()
}
