//! The control protocol between the orchestrator's process and a host's process, for joining the run, reports and the
//! end of the run.
//!
//! This protocol is separate from the swarm's own protocol (the messages of the crate `actors`). It only connects the
//! processes of one run.
use super::wire::{self, FrameReader, Incoming, Kind, Limits, WireError};
use actors::id::{HostId, NodeId};
use actors::invariants::Invariant;
use actors::invariants::message_account::Account;
use actors::record::Event;
use actors::time::Timestamp;
use scenarios::plan::Plan;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;

/// A run's secret, which only the processes of the run know.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token([u8; 16]);

impl Token {
    /// Creates a token of random bytes from the operating system.
    ///
    /// # Errors
    /// If the operating system provides no random bytes.
    pub fn draw() -> std::io::Result<Token> {
        let mut token = [0; 16];
        getrandom::fill(&mut token).map_err(std::io::Error::other)?;
        Ok(Token(token))
    }

    /// Compares two tokens in constant time, so that the duration reveals nothing about the token.
    pub fn is(&self, other: &Token) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The first line of a child process's stdin, as JSON: how to join the run.
#[derive(Serialize, Deserialize)]
pub struct Invitation {
    pub orchestrator: SocketAddr,
    pub token: Token,
    pub host: HostId,
    /// The incarnation of the host that the child process is to be. It is 0 for a process that starts with the run, and
    /// rises by 1 with each later process of the host.
    pub incarnation: u32,
    /// The directory of the lock files of the machine's core leases.
    pub leases: PathBuf,
}

/// The content of the first frame that a dialling process sends on every connection.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Greeting {
    pub token: Token,
    pub host: HostId,
    /// The number of the host's incarnation that the dialling process is. Greetings of replaced incarnations are
    /// rejected.
    pub incarnation: u32,
    pub purpose: Purpose,
}

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// A host joins the run, and accepts connections of other hosts on this port.
    Join { port: u16 },
    /// The connection carries messages between the nodes of two hosts.
    Messages,
}

/// A control frame from the orchestrator's process to a host's process.
#[derive(Serialize, Deserialize)]
pub enum Order {
    /// Spawn the actors that the plan puts on this host. `book` has the hosts' listening addresses by host id;
    /// `started` is the start of the run.
    Spawn { plan: Box<Plan>, book: Vec<Option<Place>>, started: Timestamp },
    /// The process of `host` with this incarnation has ended.
    Gone { host: HostId, incarnation: u32 },
    /// A host that joined late or was restarted listens at `place`.
    Here { host: HostId, place: Place },
    /// The barrier was released at `at`, by the clock that all processes of the machine share.
    Released { at: Timestamp },
    /// Leave the swarm gracefully, finish the open sessions, send all recorded events, and exit.
    Leave,
    /// The run is over: send all recorded events. `drained` is true if every client has finished; then no session may
    /// remain open.
    Stop { drained: bool },
    /// Let no node send any more messages, and report the counts of messages sent and delivered. The order is repeated
    /// until all messages in flight have arrived.
    Count,
}

/// The address where a host listens, and the incarnation of the host that listens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub address: SocketAddr,
    pub incarnation: u32,
}

/// A control frame from a host's process to the orchestrator's process: the reply to an order, or a report.
#[derive(Serialize, Deserialize)]
pub enum Answer {
    Report(Report),
    /// A part of the events that the process has recorded, in the order of recording.
    Events(Vec<Event>),
    /// The host's process has sent all of its recorded events.
    Over,
    /// The counts of messages that the process has sent and received.
    Counted(Account),
    /// The process still runs. It sends this answer every [`ALIVE_EVERY`], whatever else it sends.
    Alive,
}

/// The interval at which a host's process reports to the orchestrator's process that it still runs.
pub const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// A report that concerns the run as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Report {
    Panicked {
        node: NodeId,
        what: String,
    },
    LoadFailed {
        node: NodeId,
        what: String,
    },
    Broken {
        invariant: Invariant,
        event: Box<Event>,
    },
    /// The connection from the reporting host to `host` is lost.
    LinkLost {
        host: HostId,
        why: String,
        /// True if the connection was closed because `host` violated the protocol; false if the connection ended by
        /// itself.
        lied: bool,
    },
    /// The orchestrator has released the barrier.
    Released {
        at: Timestamp,
    },
    /// The orchestrator has recorded the end of the run: it has the latencies of all clients, or has aborted the run.
    Ended(Box<Event>),
}

/// The largest number of events in one control frame, so that a long run's events are sent in bounded pieces.
pub const EVENTS_PER_FRAME: usize = 4096;

/// The time limit for the greeting on a new connection.
const GREETING_WITHIN: Duration = Duration::from_secs(5);

/// Writes one control frame.
///
/// # Errors
/// If the frame is over its size limit or cannot be written.
pub async fn say(to: &mut (impl AsyncWrite + Unpin), what: &impl Serialize) -> Result<(), WireError> {
    to.write_all(&wire::plain(Kind::Control, what)?).await?;
    Ok(())
}

/// Reads the next control frame; returns `None` if the connection closes after a whole frame.
///
/// # Errors
/// If the connection breaks, or the frame is not a control frame or cannot be decoded.
pub async fn hear<T: for<'a> Deserialize<'a>>(from: &mut FrameReader<OwnedReadHalf>) -> Result<Option<T>, WireError> {
    match from.next().await? {
        Some(Incoming::Control(body)) => wire::read(&body).map(Some),
        Some(_) => Err(WireError::NotAFrame),
        None => Ok(None),
    }
}

/// Reads the greeting of a new connection and checks the token in it. The error is the reason as text.
///
/// # Errors
/// If the greeting is late, invalid or has a wrong token.
pub async fn greeted(reader: &mut FrameReader<OwnedReadHalf>, token: &Token) -> Result<Greeting, String> {
    reader.limits = Limits::GREETING;
    let heard = tokio::time::timeout(GREETING_WITHIN, reader.next()).await;
    let greeting: Greeting = match heard {
        Ok(Ok(Some(Incoming::Greeting(body)))) => wire::read(&body).map_err(|why| why.to_string())?,
        Ok(Ok(Some(_))) => return Err("the connection sent another frame before its greeting".to_owned()),
        Ok(Ok(None)) => return Err("the connection was closed before its greeting".to_owned()),
        Ok(Err(why)) => return Err(why.to_string()),
        Err(_) => return Err(format!("the connection sent no greeting within {GREETING_WITHIN:?}")),
    };
    if greeting.token.is(token) {
        Ok(greeting)
    } else {
        Err("the greeting does not have the token of this run".to_owned())
    }
}
