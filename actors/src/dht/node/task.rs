//! A task: lookups that began together, and the use of their result. The task is pure: the node sends the queries and
//! handles their timeouts.
use crate::dht::Search;
use crate::dht::key::Key;
use crate::dht::lookup::Lookup;
use crate::dht::record::{Held, Record};
use crate::dht::rpc::Body;
use crate::dht::table::Contact;
use crate::id::NodeId;
use crate::limits;
use crate::record::{Looked, Purpose};
use crate::time::{Duration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Lookups that began together.
pub(super) struct Task {
    pub purpose: Purpose,
    began: Timestamp,
    lookups: Vec<Lookup>,
    /// The lookups that need no more responses.
    satisfied: BTreeSet<u16>,
    /// The latest record of each peer, in the order of node ids.
    found: Vec<(NodeId, Arc<Record>)>,
    /// The record to store at the nodes that the lookups find, and its lifetime.
    pub announce: Option<(Arc<Record>, Duration)>,
    /// The number of STORE requests in flight.
    pub storing: u32,
    /// The number of successful stores.
    pub kept: usize,
    asked: u32,
    pub silent: u32,
}

impl Task {
    pub fn new(
        purpose: Purpose,
        began: Timestamp,
        lookups: Vec<Lookup>,
        announce: Option<(Arc<Record>, Duration)>,
    ) -> Task {
        let (satisfied, found) = (BTreeSet::new(), Vec::new());
        Task { purpose, began, lookups, satisfied, found, announce, storing: 0, kept: 0, asked: 0, silent: 0 }
    }

    /// Takes in records. The later of two records of a peer is kept.
    pub fn find<'a>(&mut self, records: impl IntoIterator<Item = &'a Arc<Record>>) {
        let mut at = 0;
        for record in records {
            let peer = record.peer();
            // A response lists the peers in the order of their ids, so the next peer is often the one after the last.
            if self.found.get(at).is_none_or(|(known, _)| *known != peer) {
                at = self.found.partition_point(|(known, _)| *known < peer);
            }
            match self.found.get_mut(at) {
                Some((known, latest)) if *known == peer => {
                    if !Arc::ptr_eq(latest, record) && latest.version < record.version {
                        *latest = record.clone();
                    }
                }
                _ => self.found.insert(at, (peer, record.clone())),
            }
            at += 1;
        }
    }

    /// Returns the records that were found.
    pub fn into_found(self) -> Vec<Arc<Record>> {
        self.found.into_iter().map(|(_, record)| record).collect()
    }

    /// Returns the indices of all lookups.
    pub fn all(&self) -> Vec<u16> {
        (0..self.lookups.len() as u16).collect()
    }

    /// Returns every query that may be sent now: the contact, the lookups that the query serves, and its body. The
    /// contacts count as queried from now on.
    ///
    /// `changed` are the lookups that have begun or got a response since the last call, in ascending order. Other
    /// lookups have no more queries than they had then.
    pub fn questions(&mut self, changed: &[u16]) -> Vec<(Contact, Vec<u16>, Body)> {
        let mut questions = Vec::new();
        for &index in changed {
            while !self.satisfied.contains(&index) {
                let Some(contact) = self.lookups[usize::from(index)].next_to_ask() else { break };
                // One query to a contact contains every key for which a lookup wants to query it.
                let mut wanted = vec![index];
                for other in 0..self.lookups.len() as u16 {
                    let open = wanted.len() < limits::DHT_KEYS_PER_CALL && !self.satisfied.contains(&other);
                    if open && other != index && self.lookups[usize::from(other)].join(contact) {
                        wanted.push(other);
                    }
                }
                let targets = wanted.iter().map(|index| self.lookups[usize::from(*index)].target()).collect();
                let body = match self.purpose {
                    Purpose::Find | Purpose::NextHopProbe => Body::FindValue { targets },
                    Purpose::Join | Purpose::Fill | Purpose::Announce => Body::FindNode { targets },
                };
                questions.push((contact, wanted, body));
            }
        }
        self.asked += questions.len() as u32;
        questions
    }

    /// Takes in the response of the node `from` to the query for these lookups.
    pub fn on_answer(&mut self, from: Key, lookups: &[u16], near: &[Contact], held: &[Held], search: Search) {
        for index in lookups {
            self.lookups[usize::from(*index)].on_answer(from, near);
        }
        self.find(held.iter().map(|held| &held.record));
        if search == Search::First {
            let places = held.iter().flat_map(|held| held.keys.iter());
            self.satisfied.extend(places.filter_map(|place| lookups.get(place)));
        }
    }

    /// Notes that the node `from` will not answer the query for these lookups.
    pub fn on_silence(&mut self, from: Key, lookups: &[u16]) {
        self.silent += 1;
        for index in lookups {
            self.lookups[usize::from(*index)].on_silence(from);
        }
    }

    /// Whether all lookups are over: none has a query left to send or to wait for.
    pub fn has_looked(&self) -> bool {
        let mut lookups = (0..).zip(&self.lookups);
        lookups.all(|(index, lookup)| self.satisfied.contains(&index) || lookup.is_over())
    }

    /// Returns the event that reports the lookups of `node`.
    pub fn looked(&self, now: Timestamp, node: NodeId) -> Looked {
        Looked {
            node,
            purpose: self.purpose,
            at: now,
            took: now.since(self.began),
            keys: self.lookups.len() as u32,
            hops: self.lookups.iter().map(Lookup::hops).max().unwrap_or(0),
            asked: self.asked,
            silent: self.silent,
            found: self.found.len() as u32,
        }
    }

    /// Returns the keys that `me` has to store, and the STORE requests to the other holders: each contact with its
    /// keys. The holders of a key are the `replicas` nodes nearest to it, out of the nodes found and `me`. A contact
    /// gets one request, or several if its keys exceed the bound of one request.
    pub fn holders(&self, me: Contact, replicas: usize) -> (Vec<Key>, Vec<(Contact, Vec<Key>)>) {
        let mut here = Vec::new();
        let mut holders: BTreeMap<NodeId, (Contact, Vec<Key>)> = BTreeMap::new();
        for lookup in &self.lookups {
            let key = lookup.target();
            let mut nearest: Vec<Contact> = lookup.closest(replicas).collect();
            nearest.push(me);
            nearest.sort_unstable_by_key(|contact| contact.key.distance(key));
            for holder in nearest.into_iter().take(replicas) {
                if holder == me {
                    here.push(key);
                } else {
                    holders.entry(holder.node).or_insert_with(|| (holder, Vec::new())).1.push(key);
                }
            }
        }
        let mut stores = Vec::new();
        for (contact, keys) in holders.into_values() {
            stores.extend(keys.chunks(limits::DHT_KEYS_PER_CALL).map(|keys| (contact, keys.to_vec())));
        }
        (here, stores)
    }
}
