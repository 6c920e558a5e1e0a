//! The records that peers announce in the DHT, and the bounded store in which a node keeps them.
//!
//! Each block has a key, and each peer that serves the block has a subkey under it. A record is kept until it expires.
//! A dead peer is therefore forgotten: it does not announce itself again. A peer may announce only itself.
use super::key::Key;
use crate::announce::Announce;
use crate::canary::{Canary, planted};
use crate::id::NodeId;
use crate::limits;
use crate::time::{Duration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The state of a peer with respect to its block range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// The peer has left, or is about to serve other blocks.
    Offline,
    /// The peer is loading its weights. Other peers count on this peer when they choose their blocks, but no route uses
    /// it yet.
    Joining,
    /// The peer serves its blocks.
    Online,
}

/// The announcement of a peer. The same record is stored under the key of each of the peer's blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub announce: Announce,
    pub state: State,
    /// The peer's throughput (as in Petals), in tokens per second: the lesser of its device's rate over its block range
    /// and its network's rate. Peers use it to choose their blocks.
    pub throughput: f64,
    /// The time of the announcement on the announcer's clock. The later of two records of a peer is the valid one.
    pub version: Timestamp,
}

impl Record {
    pub fn peer(&self) -> NodeId {
        self.announce.peer
    }

    /// Returns the size of the record on the wire, in bytes, without its keys. It is about the size of Petals'
    /// `ServerInfo` as msgpack with its signature.
    pub fn wire_bytes(&self) -> u64 {
        192 + 12 * self.announce.next.len() as u64
    }
}

/// Records of different peers, in the order of node ids, with their size on the wire. Copies share one list, because
/// hundreds of clients of one process query the same records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Arc<[Arc<Record>]>", into = "Arc<[Arc<Record>]>")]
pub struct RecordList {
    records: Arc<[Arc<Record>]>,
    wire_bytes: u64,
}

impl RecordList {
    /// Whether `other` is the same list, or contains the same copies of records.
    pub fn is(&self, other: &RecordList) -> bool {
        let same = |(a, b): (&Arc<Record>, &Arc<Record>)| Arc::ptr_eq(a, b);
        Arc::ptr_eq(&self.records, &other.records)
            || self.records.len() == other.records.len() && self.records.iter().zip(&*other.records).all(same)
    }

    /// Removes all but the first `most` records.
    pub fn truncate(&mut self, most: usize) {
        if self.records.len() > most {
            *self = self.records[..most].iter().cloned().collect();
        }
    }
}

impl From<Arc<[Arc<Record>]>> for RecordList {
    fn from(records: Arc<[Arc<Record>]>) -> RecordList {
        // Each record carries its expiry time.
        let wire_bytes = records.iter().map(|record| record.wire_bytes() + 8).sum();
        RecordList { records, wire_bytes }
    }
}

impl From<RecordList> for Arc<[Arc<Record>]> {
    fn from(list: RecordList) -> Arc<[Arc<Record>]> {
        list.records
    }
}

impl FromIterator<Arc<Record>> for RecordList {
    fn from_iter<I: IntoIterator<Item = Arc<Record>>>(records: I) -> RecordList {
        RecordList::from(records.into_iter().collect::<Arc<[_]>>())
    }
}

impl std::ops::Deref for RecordList {
    type Target = [Arc<Record>];

    fn deref(&self) -> &[Arc<Record>] {
        &self.records
    }
}

/// The records in a DHT response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The latest record of each peer.
    pub records: RecordList,
    /// The queried keys under which at least one of the records is stored.
    pub keys: Places,
    /// The number of (record, key) pairs: each record counts once for each queried key under which it is stored.
    pub pairs: u32,
}

impl Held {
    /// Returns the size of the records on the wire, in bytes. Each record carries its expiry time and the indices of
    /// its keys.
    pub fn wire_bytes(&self) -> u64 {
        let most = self.records.len() as u64 * self.keys.len() as u64;
        self.records.wire_bytes + 2 * u64::from(self.pairs).min(most)
    }
}

/// A subset of the keys of a query: one bit for each key, by the key's index in the query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places([u64; 4]);

const _: () = assert!(limits::DHT_KEYS_PER_CALL <= 256, "`Places` has one bit for each of 256 keys");

impl Places {
    /// Adds the index of a key. An index of 256 or more is ignored.
    #[inline]
    pub fn add(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the indices in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        (0..256).filter(|place| self.0[place / 64] & 1 << (place % 64) != 0)
    }
}

impl FromIterator<u16> for Places {
    fn from_iter<I: IntoIterator<Item = u16>>(all: I) -> Places {
        let mut places = Places::default();
        all.into_iter().for_each(|place| places.add(usize::from(place)));
        places
    }
}

/// The DHT records that a node stores.
#[derive(Default)]
pub struct Store {
    keys: BTreeMap<Key, Subkeys>,
    len: usize,
    /// A lower bound of the earliest expiry: no stored record expires before this time.
    sweep_at: Timestamp,
}

/// The records under one key.
#[derive(Default)]
struct Subkeys {
    entries: BTreeMap<NodeId, Entry>,
    list: Option<List>,
}

/// The unexpired records under a key, kept as a list because they are queried far more often than they change.
struct List {
    records: RecordList,
    /// The earliest expiry among the records of the list.
    until: Timestamp,
}

struct Entry {
    record: Arc<Record>,
    expires: Timestamp,
}

impl Subkeys {
    fn unexpired(&self, now: Timestamp) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(move |entry| entry.expires > now || planted(Canary::ExpiredRecordServed))
    }

    fn list(&mut self, now: Timestamp) -> &RecordList {
        if self.list.as_ref().is_none_or(|list| list.until <= now) {
            let records = self.unexpired(now).map(|entry| entry.record.clone()).collect();
            let until = self.unexpired(now).map(|entry| entry.expires).min().unwrap_or(Timestamp(u64::MAX));
            self.list = Some(List { records, until });
        }
        &self.list.as_ref().expect("the list was made above").records
    }
}

impl Store {
    /// Returns the number of records, including expired records that were not swept yet.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Stores `record` under `key` until it expires. The record replaces an older one of the same peer; a newer one
    /// that has not expired stays. Returns false only if the store has no room.
    pub fn keep(&mut self, now: Timestamp, key: Key, record: &Arc<Record>, lives: Duration) -> bool {
        if self.len >= limits::DHT_RECORDS {
            self.sweep(now);
            let held = self.keys.get(&key).is_some_and(|under| under.entries.contains_key(&record.peer()));
            if !held && self.len >= limits::DHT_RECORDS {
                return false;
            }
        }
        let under = self.keys.entry(key).or_default();
        let expires = now + lives;
        self.sweep_at = if self.len == 0 { expires } else { self.sweep_at.min(expires) };
        match under.entries.get_mut(&record.peer()) {
            Some(entry)
                if entry.record.version > record.version
                    && entry.expires > now
                    && !planted(Canary::OlderRecordWins) =>
            {
                return true;
            }
            Some(entry) => *entry = Entry { record: record.clone(), expires },
            None => {
                under.entries.insert(record.peer(), Entry { record: record.clone(), expires });
                self.len += 1;
            }
        }
        under.list = None;
        true
    }

    /// Returns the unexpired records under `key` in the order of their peers, each with its remaining lifetime.
    pub fn under(&self, now: Timestamp, key: Key) -> impl Iterator<Item = (&Arc<Record>, Duration)> {
        let entries = self.keys.get(&key).into_iter().flat_map(move |under| under.unexpired(now));
        entries.map(move |entry| (&entry.record, entry.expires.since(now)))
    }

    /// Returns the latest record of each peer under `keys`, at most [`limits::DHT_RECORDS_PER_ANSWER`] records.
    pub fn held(&mut self, now: Timestamp, keys: &[Key]) -> Held {
        let (mut places, mut pairs) = (Places::default(), 0);
        let mut lists: Vec<RecordList> = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let Some(under) = self.keys.get_mut(key) else { continue };
            let list = under.list(now);
            if !list.is_empty() {
                places.add(index);
                pairs += list.len() as u32;
                lists.push(list.clone());
            }
        }
        let most = limits::DHT_RECORDS_PER_ANSWER;
        let records = match lists.as_slice() {
            [] => RecordList::default(),
            [list] if list.len() <= most => list.clone(),
            lists => {
                let mut latest = LatestRecords::default();
                lists.iter().for_each(|list| latest.add(list));
                latest.into_iter().take(most).collect()
            }
        };
        Held { records, keys: places, pairs }
    }

    /// Removes the expired records.
    pub fn sweep(&mut self, now: Timestamp) {
        if now < self.sweep_at {
            return;
        }
        let (mut len, mut next) = (0, Timestamp(u64::MAX));
        self.keys.retain(|_, under| {
            under.entries.retain(|_, entry| entry.expires > now);
            under.list = None;
            len += under.entries.len();
            next = under.entries.values().fold(next, |next, entry| next.min(entry.expires));
            !under.entries.is_empty()
        });
        (self.len, self.sweep_at) = (len, next);
    }
}

/// The latest record of each peer, collected from many lists of records.
#[derive(Default)]
pub struct LatestRecords {
    /// The record of each peer, by node id.
    by_peer: Vec<Option<Arc<Record>>>,
    len: usize,
}

impl LatestRecords {
    /// Returns the number of peers.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds records. If two records belong to the same peer, the later record is kept, or the one added first if both
    /// are equally late. Records of nodes beyond [`limits::NODES`] are ignored.
    pub fn add(&mut self, records: &[Arc<Record>]) {
        for record in records {
            let peer = record.peer().0 as usize;
            if peer >= self.by_peer.len() {
                if peer >= limits::NODES {
                    continue;
                }
                self.by_peer.resize(peer + 1, None);
            }
            match &mut self.by_peer[peer] {
                Some(latest) if Arc::ptr_eq(latest, record) || latest.version >= record.version => {}
                known => {
                    // A peer that has moved has left an older record under the keys of its old blocks.
                    self.len += usize::from(known.is_none());
                    *known = Some(record.clone());
                }
            }
        }
    }
}

impl IntoIterator for LatestRecords {
    type Item = Arc<Record>;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Option<Arc<Record>>>>;

    /// Returns the records in the order of their peers' node ids.
    fn into_iter(self) -> Self::IntoIter {
        self.by_peer.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::{Places, Record, State, Store};
    use crate::announce::{Announce, Load};
    use crate::dht::key::Key;
    use crate::id::{BlockRange, NodeId};
    use crate::limits;
    use crate::time::{Duration, Timestamp};
    use std::sync::Arc;

    fn record(peer: u32, version: u64) -> Arc<Record> {
        let announce = Announce {
            peer: NodeId(peer),
            blocks: BlockRange { start: 0, end: 1 },
            inference_rps: 1.0,
            load: Load::default(),
            next: Vec::new(),
        };
        Arc::new(Record { announce, state: State::Online, throughput: 1.0, version: Timestamp(version) })
    }

    const LIVES: Duration = Duration(100);

    #[test]
    fn what_stands_under_several_keys_is_told_once_with_its_latest_record() {
        let mut store = Store::default();
        let keys = [1, 2, 3].map(Key);
        for (key, peer, version) in [(0, 5, 1), (0, 2, 1), (1, 5, 3), (2, 9, 1), (2, 2, 1)] {
            assert!(store.keep(Timestamp(version), keys[key], &record(peer, version), LIVES));
        }
        let held = store.held(Timestamp(10), &keys);
        let told: Vec<_> = held.records.iter().map(|record| (record.peer().0, record.version.0)).collect();
        assert_eq!(told, [(2, 1), (5, 3), (9, 1)]);
        assert_eq!((held.keys.iter().collect::<Vec<_>>(), held.pairs), (vec![0, 1, 2], 5));
        let places: Places = [255, 0, 64, 256, 9999].into_iter().collect();
        assert_eq!(places.iter().collect::<Vec<_>>(), [0, 64, 255], "there is none beyond the last");
    }

    #[test]
    fn a_record_lives_until_it_expires_and_a_later_one_takes_its_place() {
        let (mut store, key) = (Store::default(), Key(1));
        assert!(store.keep(Timestamp(0), key, &record(1, 1), LIVES));
        assert!(store.keep(Timestamp(0), key, &record(2, 1), LIVES));
        assert!(store.keep(Timestamp(50), key, &record(1, 2), LIVES));
        // A late copy of the first record of peer 1 changes nothing.
        assert!(store.keep(Timestamp(60), key, &record(1, 1), LIVES));
        let under =
            |at| store.under(Timestamp(at), key).map(|(record, lives)| (record.version.0, lives.0)).collect::<Vec<_>>();
        assert_eq!(under(60), [(2, 90), (1, 40)]);
        assert_eq!(under(100), [(2, 50)]);
        assert!(under(150).is_empty());
        assert_eq!(store.under(Timestamp(0), Key(2)).count(), 0);
        store.sweep(Timestamp(120));
        assert_eq!(store.len(), 1);
        store.sweep(Timestamp(150));
        assert!(store.is_empty());
    }

    #[test]
    fn a_full_store_refuses_until_something_expires() {
        let mut store = Store::default();
        let (one, another) = (record(1, 1), record(2, 1));
        for key in 0..limits::DHT_RECORDS as u64 {
            assert!(store.keep(Timestamp(key), Key(key), &one, Duration(limits::DHT_RECORDS as u64)));
        }
        let now = Timestamp(limits::DHT_RECORDS as u64 - 1);
        assert!(!store.keep(now, Key(0), &another, LIVES));
        assert!(!store.keep(now, Key(u64::MAX), &another, LIVES));
        assert!(!store.keys.contains_key(&Key(u64::MAX)), "what is refused leaves nothing");
        assert!(store.keep(now, Key(0), &one, LIVES), "what is there may be renewed");
        assert!(store.keep(now + Duration(10), Key(u64::MAX), &another, LIVES));
        assert!(store.len() <= limits::DHT_RECORDS);
    }
}
