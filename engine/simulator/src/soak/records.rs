//! Compares a DHT node's store with a plain list that follows the store's rules: for each peer, keep the latest record
//! that has not expired.
use super::draw::Chance;
use actors::announce::{Announce, Load};
use actors::dht::key::Key;
use actors::dht::record::{Record, State, Store};
use actors::id::{BlockRange, NodeId};
use actors::seed::Seed;
use actors::time::{Duration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

const KEYS: u32 = 3;
const PEERS: u32 = 4;

/// Stores records at random times, and returns the first difference between the DHT node's store and the list.
pub(super) fn records(seed: u64) -> Result<(), String> {
    let mut chance = Chance::new(Seed(seed).stream("records", 0, 0));
    let keys: Vec<Key> = (0..KEYS).map(|key| Key(u64::from(key) + 1)).collect();
    let (mut store, mut now) = (Store::default(), Timestamp::default());
    // For each key and peer, the version of the record and the time at which it expires.
    let mut list: BTreeMap<(usize, NodeId), (Timestamp, Timestamp)> = BTreeMap::new();
    for _ in 0..chance.of(10..=60) {
        now = now + Duration(u64::from(chance.of(0..=30)));
        let (at, peer) = (chance.of(0..=KEYS - 1) as usize, NodeId(chance.of(1..=PEERS)));
        let (version, lives) = (Timestamp(u64::from(chance.of(0..=200))), Duration(u64::from(chance.of(1..=100))));
        store.keep(now, keys[at], &record(peer, version), lives);
        let newer = list.get(&(at, peer)).is_some_and(|(known, expires)| *known > version && *expires > now);
        if !newer {
            list.insert((at, peer), (version, now + lives));
        }
        if chance.is(20) {
            store.sweep(now);
        }
        let mut wanted: BTreeMap<NodeId, Timestamp> = BTreeMap::new();
        for ((_, peer), (version, _)) in list.iter().filter(|(_, (_, expires))| *expires > now) {
            let latest = wanted.entry(*peer).or_insert(*version);
            *latest = (*latest).max(*version);
        }
        let held = store.held(now, &keys);
        let got: BTreeMap<NodeId, Timestamp> =
            held.records.iter().map(|record| (record.peer(), record.version)).collect();
        if got != wanted {
            return Err(format!("at {now:?} the DHT node serves the records {got:?}, but should serve {wanted:?}"));
        }
    }
    Ok(())
}

fn record(peer: NodeId, version: Timestamp) -> Arc<Record> {
    let blocks = BlockRange { start: 0, end: 1 };
    let announce = Announce { peer, blocks, inference_rps: 1.0, load: Load::default(), next: Vec::new() };
    Arc::new(Record { announce, state: State::Online, throughput: 1.0, version })
}
