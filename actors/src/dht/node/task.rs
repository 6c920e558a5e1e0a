//! A task of a DHT node: lookups that began together for one purpose, such as an announcement. The task is a pure state
//! machine: the node sends the queries and handles their timeouts.
use crate::dht::Search;
use crate::dht::key::{Distance, Key};
use crate::dht::lookup::Lookup;
use crate::dht::record::{Held, LatestRecords, Record, RecordList};
use crate::dht::rpc::Body;
use crate::dht::table::Contact;
use crate::id::NodeId;
use crate::limits;
use crate::record::{Looked, Purpose};
use crate::time::{Duration, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// If a query serves more lookups than this, the task remembers which contacts each lookup has taken in.
const FEW: usize = 4;

/// Lookups that began together for one purpose, such as an announcement.
pub(super) struct Task {
    pub purpose: Purpose,
    began: Timestamp,
    lookups: Vec<Lookup>,
    /// The key of each lookup, kept outside of the lookups because each query is compared with all keys.
    targets: Vec<Key>,
    /// The [`Lookup::reach`] of each lookup, 0 once the lookup needs no more responses. The reaches are kept outside of
    /// the lookups because each query is offered to all lookups, and nearly all reject it by their reach.
    reaches: Vec<Distance>,
    /// Whether each lookup needs more responses.
    is_open: Vec<bool>,
    /// The indices of the lookups that may have queries to send, each index once.
    ready: VecDeque<u16>,
    is_ready: Vec<bool>,
    /// A bit mask for each node id: bit i is set once lookup i has taken in the node from a response.
    taught: Vec<u64>,
    /// The number of lookups that need more responses.
    open: usize,
    /// The number of queries in flight.
    under_way: u32,
    /// The maximum number of queries in flight.
    parallel: u32,
    /// The records found so far.
    found: LatestRecords,
    /// For each lookup, the list of records that was last added for it, to recognise a list that arrives again.
    last: Vec<Option<RecordList>>,
    /// The record to store at the nodes that the lookups find, and the record's lifetime; `None` if the task announces
    /// nothing.
    pub announce: Option<(Arc<Record>, Duration)>,
    /// The number of STORE requests in flight.
    pub storing: u32,
    /// The number of STORE requests that were answered with success, plus one if this node has stored the record
    /// itself.
    pub kept: usize,
    asked: u32,
    pub silent: u32,
}

/// A query that a task sends: its receiver, the lookups that it serves, and its body.
pub(super) struct Question {
    pub to: Contact,
    pub lookups: Vec<u16>,
    pub body: Body,
}

impl Task {
    /// Begins a task with at most `parallel` queries in flight.
    pub fn new(
        purpose: Purpose,
        began: Timestamp,
        lookups: Vec<Lookup>,
        announce: Option<(Arc<Record>, Duration)>,
        parallel: u16,
    ) -> Task {
        let count = lookups.len() as u16;
        let mut task = Task {
            purpose,
            began,
            targets: lookups.iter().map(Lookup::target).collect(),
            reaches: lookups.iter().map(Lookup::reach).collect(),
            is_open: vec![true; lookups.len()],
            open: lookups.len(),
            lookups,
            ready: (0..count).collect(),
            is_ready: vec![true; usize::from(count)],
            taught: Vec::new(),
            under_way: 0,
            parallel: u32::from(parallel.max(1)),
            found: LatestRecords::default(),
            last: vec![None; usize::from(count)],
            announce,
            storing: 0,
            kept: 0,
            asked: 0,
            silent: 0,
        };
        (0..count).for_each(|index| task.close_if_over(index));
        task
    }

    /// Adds the records that were found for a lookup. The later of two records of a peer is kept.
    pub fn find(&mut self, index: u16, records: &RecordList) {
        // The nodes that store the records of one key nearly always hold the same records, so equal records are not
        // merged again.
        let last = &mut self.last[usize::from(index)];
        if !last.as_ref().is_some_and(|last| last.is(records)) {
            self.found.add(records);
            *last = Some(records.clone());
        }
    }

    /// Returns the records that were found, in the order of their peers.
    pub fn into_found(self) -> Vec<Arc<Record>> {
        let mut found = Vec::with_capacity(self.found.len());
        found.extend(self.found);
        found
    }

    /// Returns the next query that may be sent now, and counts it as sent. Returns `None` while the maximum number of
    /// queries is in flight, or if no lookup has a query to send.
    pub fn next_question(&mut self) -> Option<Question> {
        while self.under_way < self.parallel {
            let index = *self.ready.front()?;
            let lookup = usize::from(index);
            let next = if self.is_open[lookup] { self.lookups[lookup].next_to_ask() } else { None };
            let Some(contact) = next else {
                self.ready.pop_front();
                self.is_ready[lookup] = false;
                continue;
            };
            self.under_way += 1;
            self.asked += 1;
            let lookups = self.joining(index, contact);
            let targets = lookups.iter().map(|index| self.targets[usize::from(*index)]).collect();
            let body = match self.purpose {
                Purpose::Find | Purpose::NextHopProbe => Body::FindValue { targets },
                Purpose::Join | Purpose::Fill | Purpose::Announce => Body::FindNode { targets },
            };
            return Some(Question { to: contact, lookups, body });
        }
        None
    }

    /// Returns the lookups that one query to `contact` serves: `first`, and every other lookup that would query
    /// `contact` too, up to the limit of keys in one query.
    fn joining(&mut self, first: u16, contact: Contact) -> Vec<u16> {
        let mut joining = vec![first];
        for (other, (target, reach)) in self.targets.iter().zip(&self.reaches).enumerate() {
            if contact.key.distance(*target) <= *reach
                && other != usize::from(first)
                && self.is_open[other]
                && joining.len() < limits::DHT_KEYS_PER_CALL
                && self.lookups[other].join(contact)
            {
                joining.push(other as u16);
            }
        }
        joining
    }

    /// Handles the response of the node `from` to the query for these lookups.
    pub fn on_answer(&mut self, from: Key, lookups: &[u16], near: &[Contact], held: &Held, search: Search) {
        self.under_way -= 1;
        let mut keys = held.keys.iter().filter_map(|place| lookups.get(place));
        if let Some(first) = keys.next() {
            self.find(*first, &held.records);
        }
        if search == Search::First {
            held.keys.iter().filter_map(|place| lookups.get(place)).for_each(|index| self.close(*index));
        }
        self.teach(from, lookups, near);
        // `lookups` is not sorted: its first lookup is the one that chose the query.
        let mut changed = lookups.to_vec();
        changed.sort_unstable();
        changed.into_iter().for_each(|index| self.changed(index));
    }

    /// Passes the contacts of a response to the lookups that the query served. Many responses contain the same
    /// contacts. If the query served many lookups, each of them gets each contact only once. For few lookups it is
    /// cheaper to offer every contact again, which changes nothing.
    fn teach(&mut self, from: Key, lookups: &[u16], near: &[Contact]) {
        if lookups.len() <= FEW {
            for &index in lookups {
                let lookup = &mut self.lookups[usize::from(index)];
                if let Some(answer) = lookup.begin_answer(from) {
                    near.iter().for_each(|contact| lookup.take(answer, *contact));
                    lookup.end_answer(answer);
                }
            }
            return;
        }
        let words = self.lookups.len().div_ceil(64);
        let mut asking = vec![0_u64; words];
        let mut answers = vec![None; self.lookups.len()];
        for &index in lookups {
            let index = usize::from(index);
            answers[index] = self.lookups[index].begin_answer(from);
            asking[index / 64] |= u64::from(answers[index].is_some()) << (index % 64);
        }
        for contact in near {
            let first = contact.node.0 as usize * words;
            if contact.node.0 as usize >= limits::NODES {
                continue;
            }
            if self.taught.len() < first + words {
                self.taught.resize(first + words, 0);
            }
            for (word, asking) in asking.iter().enumerate() {
                let taught = &mut self.taught[first + word];
                let mut new = asking & !*taught;
                *taught |= asking;
                while new != 0 {
                    let index = 64 * word + new.trailing_zeros() as usize;
                    if let Some(answer) = answers[index] {
                        self.lookups[index].take(answer, *contact);
                    }
                    new &= new - 1;
                }
            }
        }
        for (lookup, answer) in self.lookups.iter_mut().zip(answers) {
            if let Some(answer) = answer {
                lookup.end_answer(answer);
            }
        }
    }

    /// Notes that the node `from` will not answer the query for these lookups.
    pub fn on_silence(&mut self, from: Key, lookups: &[u16]) {
        self.under_way -= 1;
        self.silent += 1;
        for &index in lookups {
            self.lookups[usize::from(index)].on_silence(from);
            self.changed(index);
        }
    }

    /// Notes that a lookup may have further queries, or may be over.
    fn changed(&mut self, index: u16) {
        let lookup = usize::from(index);
        if !self.is_open[lookup] {
            return;
        }
        self.reaches[lookup] = self.lookups[lookup].reach();
        self.close_if_over(index);
        if self.is_open[lookup] && !std::mem::replace(&mut self.is_ready[lookup], true) {
            self.ready.push_back(index);
        }
    }

    fn close_if_over(&mut self, index: u16) {
        if self.lookups[usize::from(index)].is_over() {
            self.close(index);
        }
    }

    /// Ends a lookup that needs no more responses.
    fn close(&mut self, index: u16) {
        let lookup = usize::from(index);
        if std::mem::replace(&mut self.is_open[lookup], false) {
            self.reaches[lookup] = Key(0);
            self.open -= 1;
        }
    }

    /// Whether all lookups are over: none needs more responses.
    pub fn has_looked(&self) -> bool {
        self.open == 0
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
