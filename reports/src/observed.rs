//! The rows of a live run directory, read back for the calibration.
use crate::error::{Error, Result};
use crate::manifest::World;
use crate::measures::Verdict;
use crate::read::{self, Run};
use crate::sheet::{self, Columns};
use actors::id::{BlockRange, NodeId, RequestId, SessionId};
use actors::record::Pinged;
use actors::time::{Duration, Timestamp};
use rows::ObservedRun;
use rows::{HopRow, NetworkParts, Parts, TokenRow};
use scenarios::plan::Plan;
use std::collections::BTreeMap;
use std::path::Path;

/// Reads the runs of a live run directory for the calibration: only runs that are done and whose figures can be
/// believed. Rows that were left out of a long run's files are missing. The first repetition gets the round number
/// `round`, and each later repetition the next number.
///
/// # Errors
/// The directory cannot be read or is damaged.
pub fn observed_runs(dir: &Path, round: u32) -> Result<Vec<ObservedRun>> {
    let run = Run::open(dir)?;
    let wrong = |what: &str| Error::NotLive { path: dir.to_owned(), why: what.to_owned() };
    if run.manifest.world != World::Live {
        return Err(wrong("the run was simulated, and a profile can be fitted only to live runs"));
    }
    let plans = read::plans(dir)?;
    let mut seen: BTreeMap<Key, ObservedRun> = BTreeMap::new();
    for row in run.rows.iter().filter(|row| row.status == "done" && row.judgement.verdict != Verdict::Invalid) {
        // `plan.ron` has one plan per cell, the plan of its first repetition. The plans of other repetitions differ
        // from it only in their random streams.
        let Some(plan) = plans.iter().find(|plan| plan.cell == row.cell) else { continue };
        let plan = Plan { repeat: row.repeat, ..plan.clone() };
        let (hops, tokens, pings) = (Vec::new(), Vec::new(), Vec::new());
        let round = round + row.repeat;
        seen.insert((row.cell, row.repeat), ObservedRun { plan, hops, tokens, pings, round });
    }
    sheet::scan(&dir.join("hops.parquet"), &HOP, |columns| {
        for at in 0..columns.ints("cell").len() {
            if let Some((key, row)) = hop(columns, at)
                && let Some(of) = seen.get_mut(&key)
            {
                of.hops.push(row);
            }
        }
        Ok(())
    })?;
    sheet::scan(&dir.join("tokens.parquet"), &TOKEN, |columns| {
        for at in 0..columns.ints("cell").len() {
            if let Some((key, row)) = token(columns, at)
                && let Some(of) = seen.get_mut(&key)
            {
                of.tokens.push(row);
            }
        }
        Ok(())
    })?;
    let path = dir.join("pings.parquet");
    // Old versions of swarmbench recorded no pings and wrote no file of pings. An incomplete sweep has its pings in
    // `parts/`.
    if path.exists() || sheet::has_parts(dir) {
        sheet::scan(&path, &PING, |columns| {
            for at in 0..columns.ints("cell").len() {
                if let Some((key, row)) = ping(columns, at)
                    && let Some(of) = seen.get_mut(&key)
                {
                    of.pings.push(row);
                }
            }
            Ok(())
        })?;
    }
    Ok(seen.into_values().collect())
}

/// The key of a run: cell and repetition.
type Key = (u32, u32);

const HOP: [&str; 17] = [
    "cell",
    "repeat",
    "client",
    "request",
    "session",
    "position",
    "hop",
    "peer",
    "block_start",
    "block_end",
    "tokens",
    "batch",
    "received_ns",
    "started_ns",
    "finished_ns",
    "sent_ns",
    "compute_ns",
];

const PING: [&str; 6] = ["cell", "repeat", "client", "peer", "ended_ns", "took_ns"];

const TOKEN: [&str; 22] = [
    "cell",
    "repeat",
    "client",
    "request",
    "session",
    "position",
    "tokens",
    "batch",
    "output",
    "began_ns",
    "seen_ns",
    "took_ns",
    "setup_ns",
    "client_queue_ns",
    "client_ns",
    "embedding_ns",
    "peer_queue_ns",
    "compute_ns",
    "network_ns",
    "send_queue_ns",
    "network_other_ns",
    "hops",
];

/// The figures of one row. A missing or negative figure makes the row invalid.
struct Figures<'a> {
    columns: &'a Columns,
    at: usize,
}

impl Figures<'_> {
    fn maybe(&self, name: &str) -> Option<u64> {
        u64::try_from(self.columns.int(name, self.at)?).ok()
    }

    fn small(&self, name: &str) -> Option<u32> {
        u32::try_from(self.maybe(name)?).ok()
    }

    fn key(&self) -> Option<Key> {
        Some((self.small("cell")?, self.small("repeat")?))
    }

    fn request(&self) -> Option<RequestId> {
        Some(RequestId { client: NodeId(self.small("client")?), index: self.small("request")? })
    }

    fn session(&self) -> Option<SessionId> {
        self.maybe("session").map(SessionId::from_raw)
    }
}

fn hop(columns: &Columns, at: usize) -> Option<(Key, HopRow)> {
    let row = Figures { columns, at };
    let [received, started, finished, sent] =
        [row.maybe("received_ns")?, row.maybe("started_ns")?, row.maybe("finished_ns")?, row.maybe("sent_ns")?];
    let hop = HopRow {
        request: row.request()?,
        session: row.session()?,
        position: row.small("position")?,
        tokens: row.small("tokens")?,
        batch: u16::try_from(row.small("batch")?).ok()?,
        hop: u16::try_from(row.small("hop")?).ok()?,
        peer: NodeId(row.small("peer")?),
        blocks: BlockRange { start: row.small("block_start")?, end: row.small("block_end")? },
        received,
        started,
        finished,
        sent,
        peer_queue: started.saturating_sub(received),
        compute: row.maybe("compute_ns")?,
        inward: None,
        outward: None,
    };
    Some((row.key()?, hop))
}

fn ping(columns: &Columns, at: usize) -> Option<(Key, Pinged)> {
    let row = Figures { columns, at };
    let (client, peer) = (NodeId(row.small("client")?), NodeId(row.small("peer")?));
    let (at, took) = (Timestamp(row.maybe("ended_ns")?), Duration(row.maybe("took_ns")?));
    Some((row.key()?, Pinged { client, peer, at, took }))
}

fn token(columns: &Columns, at: usize) -> Option<(Key, TokenRow)> {
    let row = Figures { columns, at };
    let parts = Parts {
        setup: row.maybe("setup_ns")?,
        client_queue: row.maybe("client_queue_ns")?,
        client: row.maybe("client_ns")?,
        peer_queue: row.maybe("peer_queue_ns")?,
        compute: row.maybe("compute_ns")?,
        network: row.maybe("network_ns")?,
    };
    let known =
        |other| NetworkParts { other, send_queue: row.maybe("send_queue_ns").unwrap_or(0), ..NetworkParts::default() };
    let step = TokenRow {
        request: row.request()?,
        session: row.session()?,
        position: row.small("position")?,
        tokens: row.small("tokens")?,
        batch: u16::try_from(row.small("batch")?).ok()?,
        output: row.small("output")?,
        began: row.maybe("began_ns")?,
        seen: row.maybe("seen_ns")?,
        took: row.maybe("took_ns")?,
        parts,
        embedding: row.maybe("embedding_ns")?,
        network: row.maybe("network_other_ns").map(known),
        hops: u16::try_from(row.small("hops")?).ok()?,
        bytes: None,
        suspect: false,
    };
    Some((row.key()?, step))
}
