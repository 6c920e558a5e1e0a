//! What goes wrong in a run, and when: crashes, stalls, partitions, churn.
//!
//! `on`, `from`, `to` name hosts: a group (`"t4"`), one of its hosts counted from 0 (`"t4[2]"`), or a site.
use crate::raw::{Raw, options};
use crate::schema::delay;
use crate::units::Time;
use actors::time::Span;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "Event")]
pub enum Happening {
    /// The process of each host is killed, without a word to anybody.
    Crash {
        on: String,
        at: When,
        /// How much later it is started again; nothing: by a `Restart`, or never.
        #[serde(default)]
        back: Option<Time>,
    },
    /// Hosts that have crashed or left start again, with nothing in their caches.
    Restart { on: String, at: When },
    /// Peers say goodbye and end; what they had begun is lost as in a crash, but nobody has to notice it.
    Leave { on: String, at: When },
    /// Hosts that are not there from the start join.
    Join { on: String, at: When },
    /// Hosts stop, with all that they hold, and go on later.
    Stall {
        on: String,
        at: When,
        #[serde(rename = "for")]
        lasts: Time,
    },
    /// Devices or links need `by` times as long.
    Degrade {
        what: Part,
        by: f64,
        at: When,
        #[serde(rename = "for")]
        lasts: Time,
    },
    /// Hosts of different groups do not hear each other; a host that no group names hears all. What is sent meanwhile
    /// arrives when it is over, as TCP would have it.
    Partition {
        groups: Vec<Vec<String>>,
        at: When,
        #[serde(rename = "for")]
        lasts: Time,
    },
    /// Each host goes and comes back, again and again, until this time after the release.
    Churn {
        on: String,
        lives: Lives,
        until: Time,
        #[serde(default)]
        by: Going,
    },
    /// Each step that reaches a peer after the release crashes its host with this probability; the host starts again
    /// `back` later.
    StepFailures {
        on: String,
        rate: f64,
        back: Time,
        /// Of each host, at most.
        #[serde(default = "thousand")]
        most: u32,
    },
}

/// What a `Degrade` is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Part {
    /// Jobs take longer.
    Device(String),
    /// Delays are longer and bandwidths smaller on the way from one to the other, NICs included.
    Link {
        from: String,
        to: String,
        /// The way back as well.
        #[serde(default)]
        both: bool,
    },
}

/// How long hosts stay and how long they are away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Lives {
    Exponential {
        mean_up: Time,
        mean_down: Time,
    },
    /// `shape` below 1: many short times and a few long ones.
    Weibull {
        mean_up: Time,
        mean_down: Time,
        shape: f64,
    },
    /// The times away, as they were seen somewhere; a host must be one of `on`.
    Trace(Vec<Away>),
    /// The same from a CSV file with the columns `host`, `from` and `till`, as in `peer[2],10 s,12.5 s`.
    File(String),
}

/// A host is away from one time after the release till another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Away {
    pub host: String,
    pub from: Time,
    pub till: Time,
}

/// How a churning host goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Going {
    #[default]
    Crash,
    Leave,
}

/// When something happens: `"5 s"` after the barrier's release, `Start("5 s")` after the start of the run,
/// `Steps(12)` as the host's twelfth step since the release, or since its own restart, reaches it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct When(Raw);

#[derive(Deserialize)]
#[serde(rename = "When")]
enum Written {
    Start(Time),
    Steps(u64),
}

/// A `When` that has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Start(Span),
    Release(Span),
    Steps(u64),
}

impl When {
    pub fn text(&self) -> &str {
        self.0.text()
    }

    pub(crate) fn resolve(&self) -> Result<Due, delay::Fault> {
        let text = self.text();
        if !text.starts_with(|c: char| c.is_alphabetic()) {
            let after: Time = options().from_str(text).map_err(delay::Fault::Written)?;
            return Ok(Due::Release(after.span()));
        }
        match options().from_str(text).map_err(delay::Fault::Written)? {
            Written::Start(after) => Ok(Due::Start(after.span())),
            Written::Steps(0) => Err(delay::Fault::Meaning("steps are counted from 1".to_owned())),
            Written::Steps(count) => Ok(Due::Steps(count)),
        }
    }
}

fn thousand() -> u32 {
    1000
}
