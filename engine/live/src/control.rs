//! What the orchestrator's process and a host's process say to each other: joining, reports, the end.
//!
//! Not the swarm's own protocol, which is actors' messages: this is how its processes come to be one run.
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

/// What a run's processes know and no stranger does.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token([u8; 16]);

impl Token {
    /// From the system's own source of randomness.
    pub fn draw() -> std::io::Result<Token> {
        let mut token = [0; 16];
        getrandom::fill(&mut token).map_err(std::io::Error::other)?;
        Ok(Token(token))
    }

    /// In constant time: how long it takes says nothing about the token.
    pub fn is(&self, other: &Token) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The first line of a child's stdin: how to join the run.
#[derive(Serialize, Deserialize)]
pub struct Invitation {
    pub orchestrator: SocketAddr,
    pub token: Token,
    pub host: HostId,
    /// Which of the host's processes this is: 0 is there from the start.
    pub incarnation: u32,
    /// Where the machine's core leases lie.
    pub leases: PathBuf,
}

/// The first frame on every connection.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Greeting {
    pub token: Token,
    pub host: HostId,
    /// Which of the host's processes is calling: what an earlier one said counts for nothing.
    pub incarnation: u32,
    pub purpose: Purpose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// A host joins the run, and listens for the others' letters on this port.
    Join { port: u16 },
    /// Letters between two hosts.
    Letters,
}

/// From the orchestrator's process to a host's.
#[derive(Serialize, Deserialize)]
pub enum Order {
    /// Raise your part of the plan; this is where the others listen, by host id, and when the run started.
    Raise { plan: Box<Plan>, book: Vec<Option<Place>>, started: Timestamp },
    /// A host's process is no more.
    Gone { host: HostId, incarnation: u32 },
    /// A host that was not there, or is again, listens here.
    Here { host: HostId, place: Place },
    /// The barrier was released at this moment of the clock that all share.
    Released { at: Timestamp },
    /// Say goodbye, finish what you hold, send what you have recorded, and end.
    Leave,
    /// The run is over: send what you have recorded. `drained`: every client was through, so that no session may be left.
    Stop { drained: bool },
    /// From now on no node sends: say what was sent and delivered. Asked again until all that was under way has arrived.
    Count,
}

/// Where a host listens, and which of its processes it is that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub address: SocketAddr,
    pub incarnation: u32,
}

/// From a host's process to the orchestrator's.
#[derive(Serialize, Deserialize)]
pub enum Answer {
    Report(Report),
    /// Some of what it has recorded, in order.
    Events(Vec<Event>),
    /// There is no more.
    Over,
    /// The messages it has sent and was sent.
    Counted(Account),
}

/// Something the run as a whole must know.
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
    /// The connection to a host is lost, seen from here.
    LinkLost {
        host: HostId,
        why: String,
        /// It said what no honest host does, so that it was cut off; else the connection has just ended.
        lied: bool,
    },
    /// The orchestrator has released the barrier.
    Released {
        at: Timestamp,
    },
    /// The orchestrator has drained the latencies, or given up.
    Ended(Box<Event>),
}

/// Events that go back in one frame: a bounded piece of a long run's record.
pub const EVENTS_PER_FRAME: usize = 4096;

/// How long a connection may take to introduce itself.
const GREETING_WITHIN: Duration = Duration::from_secs(5);

/// Writes a control frame.
pub async fn say(to: &mut (impl AsyncWrite + Unpin), what: &impl Serialize) -> Result<(), WireError> {
    to.write_all(&wire::plain(Kind::Control, what)?).await?;
    Ok(())
}

/// The next control frame; nothing at the end.
pub async fn hear<T: for<'a> Deserialize<'a>>(from: &mut FrameReader<OwnedReadHalf>) -> Result<Option<T>, WireError> {
    match from.next().await? {
        Some(Incoming::Control(body)) => wire::read(&body).map(Some),
        Some(_) => Err(WireError::NotAFrame),
        None => Ok(None),
    }
}

/// Reads who is calling, or why nobody who belongs here is.
pub async fn greeted(reader: &mut FrameReader<OwnedReadHalf>, token: &Token) -> Result<Greeting, String> {
    reader.limits = Limits::GREETING;
    let heard = tokio::time::timeout(GREETING_WITHIN, reader.next()).await;
    let greeting: Greeting = match heard {
        Ok(Ok(Some(Incoming::Greeting(body)))) => wire::read(&body).map_err(|why| why.to_string())?,
        Ok(Ok(Some(_))) => return Err("it sent something else before it greeted".to_owned()),
        Ok(Ok(None)) => return Err("it closed without a word".to_owned()),
        Ok(Err(why)) => return Err(why.to_string()),
        Err(_) => return Err(format!("it did not greet within {GREETING_WITHIN:?}")),
    };
    if greeting.token.is(token) { Ok(greeting) } else { Err("it does not know the token of this run".to_owned()) }
}
