//! A node of the DHT, as a part of a core: its routing table, the records it keeps, and its lookups under way.
//!
//! A full node answers questions and stands in the tables of others; a client-mode node only looks up. It is pure like the
//! core around it: what comes of a lookup is given back as [`Done`] by the call that ended it. Its one timer is for
//! questions that were not answered, and runs only while there are some; announcing again and again is the owner's.
use super::key::Key;
use super::lookup::Lookup;
use super::record::{Held, Record, Store};
use super::rpc::{Body, Rpc};
use super::table::{Contact, Table};
use super::{Kademlia, Search};
use crate::id::NodeId;
use crate::limits;
use crate::message::{Message, Ping, Timer};
use crate::record::{Event, Looked, Purpose};
use crate::seed::{Seed, SmallStream};
use crate::time::{Moment, Span};
use crate::world::Effect;
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the plan says of a node of the DHT.
#[derive(Clone, Debug)]
pub struct Config {
    pub me: NodeId,
    /// Whom it asks first; nobody, for that one itself.
    pub bootstrap: Option<NodeId>,
    /// Ids of nodes follow from it, and the keys that a newcomer looks up.
    pub seed: Seed,
    pub rules: Kademlia,
    /// Only looks up: others neither ask it nor remember it.
    pub client: bool,
}

/// The end of a lookup.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// Others know this node, and it knows some of them.
    Joined,
    /// The latest record of each peer that stands under the keys, in the order of node ids.
    Found(Vec<Arc<Record>>),
    /// The record is kept by so many nodes.
    Announced { record: Arc<Record>, kept: usize },
}

pub struct Node {
    me: Contact,
    bootstrap: Option<Contact>,
    rules: Kademlia,
    client: bool,
    table: Table,
    store: Store,
    tasks: BTreeMap<u32, Task>,
    next_task: u32,
    /// Questions without an answer, in the order in which they were asked, which is that of their deadlines.
    calls: BTreeMap<u32, Call>,
    next_call: u32,
    /// The one timer is running.
    armed: bool,
    stream: SmallStream,
}

/// Lookups that began together, and what is to be done with their result.
struct Task {
    purpose: Purpose,
    began: Moment,
    lookups: Vec<Lookup>,
    /// Those that need no more answers.
    satisfied: BTreeSet<u16>,
    found: BTreeMap<NodeId, Arc<Record>>,
    /// What is to be stored where the lookups end, and what came of it.
    announce: Option<(Arc<Record>, Span)>,
    storing: u32,
    kept: usize,
    asked: u32,
    silent: u32,
}

struct Call {
    to: Contact,
    deadline: Moment,
    what: Asked,
}

enum Asked {
    /// For these lookups of a task.
    Find {
        task: u32,
        lookups: Vec<u16>,
    },
    Store {
        task: u32,
    },
    Ping,
}

/// Pings of the DHT have this bit in their nonce, so that a core with pings of its own can tell them apart.
const NONCE: u64 = 1 << 63;

impl Node {
    pub fn new(config: Config) -> Node {
        let Config { me, bootstrap, seed, rules, client } = config;
        let contact = |node| Contact { key: Key::of_node(seed, node), node };
        let me = contact(me);
        Node {
            me,
            bootstrap: bootstrap.filter(|node| *node != me.node).map(contact),
            rules,
            client,
            table: Table::new(me.key, usize::from(rules.k)),
            store: Store::default(),
            tasks: BTreeMap::new(),
            next_task: 0,
            calls: BTreeMap::new(),
            next_call: 0,
            armed: false,
            stream: seed.small_stream("dht", u64::from(me.node.0), 0),
        }
    }

    pub fn rules(&self) -> Kademlia {
        self.rules
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    // -- what its owner asks for --

    /// Looks up its own id, which makes it known to those nearest to it, then fills the buckets that have room.
    pub fn join(&mut self, now: Moment, out: &mut Vec<Effect>) -> Vec<Done> {
        self.begin(now, Purpose::Join, &[self.me.key], None, out)
    }

    /// Looks up what stands under `keys`, all at once.
    pub fn find(&mut self, now: Moment, keys: &[Key], out: &mut Vec<Effect>) -> Vec<Done> {
        self.begin(now, Purpose::Find, keys, None, out)
    }

    /// Stores `record` under each of `keys` at the nodes nearest to it, to be kept for `lives`.
    pub fn announce(
        &mut self,
        now: Moment,
        keys: &[Key],
        record: Arc<Record>,
        lives: Span,
        out: &mut Vec<Effect>,
    ) -> Vec<Done> {
        self.begin(now, Purpose::Announce, keys, Some((record, lives)), out)
    }

    fn begin(
        &mut self,
        now: Moment,
        purpose: Purpose,
        keys: &[Key],
        announce: Option<(Arc<Record>, Span)>,
        out: &mut Vec<Effect>,
    ) -> Vec<Done> {
        let (k, alpha) = (usize::from(self.rules.k), usize::from(self.rules.alpha));
        let mut lookups = Vec::with_capacity(keys.len());
        for key in keys {
            let mut known = self.table.closest(*key, k);
            // Whoever has lost everybody begins anew.
            known.extend(self.bootstrap.filter(|_| self.table.is_empty()));
            lookups.push(Lookup::new(*key, k, alpha, &known));
        }
        let mut task = Task {
            purpose,
            began: now,
            lookups,
            satisfied: BTreeSet::new(),
            found: BTreeMap::new(),
            announce,
            storing: 0,
            kept: 0,
            asked: 0,
            silent: 0,
        };
        if purpose == Purpose::Find {
            for key in keys {
                self.store.under(now, *key).for_each(|(record, _)| merge(&mut task.found, record));
            }
        }
        let id = self.next_task;
        self.next_task = self.next_task.wrapping_add(1);
        self.tasks.insert(id, task);
        let mut done = Vec::new();
        self.advance(now, id, out, &mut done);
        self.arm(now, out);
        done
    }

    // -- what others say --

    pub fn on_rpc(&mut self, now: Moment, from: NodeId, rpc: Rpc, out: &mut Vec<Effect>) -> Vec<Done> {
        if let Some(key) = rpc.key {
            self.hear(now, Contact { key, node: from }, out);
        }
        let mut done = Vec::new();
        match rpc.body {
            Body::FindNode { targets } => {
                let answer = Body::Nodes { contacts: self.nearest(from, bounded(&targets)) };
                self.say(from, rpc.id, answer, out);
            }
            Body::FindValue { targets } => {
                let targets = bounded(&targets);
                let answer = Body::Values { contacts: self.nearest(from, targets), held: self.held(now, targets) };
                self.say(from, rpc.id, answer, out);
            }
            Body::Store { record, lives, keys } => {
                let mut kept = 0;
                // Nobody speaks for another.
                if record.peer() == from && !self.client {
                    for key in bounded(&keys) {
                        kept += u16::from(self.store.keep(now, *key, &record, lives.min(limits::DHT_LIFE)));
                    }
                }
                self.say(from, rpc.id, Body::Stored { kept }, out);
            }
            Body::Nodes { contacts } => self.on_found(now, from, rpc.id, &contacts, &[], out, &mut done),
            Body::Values { contacts, held } => self.on_found(now, from, rpc.id, &contacts, &held, out, &mut done),
            Body::Stored { kept } => {
                if let Some(Asked::Store { task }) = self.answered(from, rpc.id) {
                    self.stored(now, task, kept > 0, out, &mut done);
                }
            }
        }
        self.arm(now, out);
        done
    }

    /// A pong of a contact whose bucket is full. Says whether it was the DHT's.
    pub fn on_pong(&mut self, now: Moment, from: NodeId, nonce: u64, out: &mut Vec<Effect>) -> bool {
        if nonce & NONCE == 0 {
            return false;
        }
        let id = (nonce & !NONCE) as u32;
        if self.calls.get(&id).is_some_and(|call| matches!(call.what, Asked::Ping) && call.to.node == from) {
            let contact = self.calls.remove(&id).expect("it was just there").to;
            self.hear(now, contact, out);
        }
        true
    }

    /// A node cannot be reached any more: it will answer nothing.
    pub fn on_gone(&mut self, now: Moment, from: NodeId, out: &mut Vec<Effect>) -> Vec<Done> {
        if let Some(contact) = self.table.contact(from) {
            self.table.silent(contact);
        }
        let lost: Vec<u32> = self.calls.iter().filter(|(_, call)| call.to.node == from).map(|(id, _)| *id).collect();
        self.lose(now, &lost, out)
    }

    /// Its timer has run out: whoever has not answered in time does not count any more.
    pub fn on_woken(&mut self, now: Moment, out: &mut Vec<Effect>) -> Vec<Done> {
        self.armed = false;
        let late = self.calls.iter().take_while(|(_, call)| call.deadline <= now);
        let late: Vec<u32> = late.map(|(id, _)| *id).collect();
        self.store.sweep(now);
        self.lose(now, &late, out)
    }

    fn lose(&mut self, now: Moment, calls: &[u32], out: &mut Vec<Effect>) -> Vec<Done> {
        let mut done = Vec::new();
        for id in calls {
            let Some(call) = self.calls.remove(id) else { continue };
            self.table.silent(call.to);
            match call.what {
                Asked::Ping => {}
                Asked::Store { task } => {
                    self.note_silence(task);
                    self.stored(now, task, false, out, &mut done);
                }
                Asked::Find { task, lookups } => {
                    self.note_silence(task);
                    if let Some(task) = self.tasks.get_mut(&task) {
                        for lookup in lookups {
                            task.lookups[usize::from(lookup)].on_silence(call.to.key);
                        }
                    }
                    self.advance(now, task, out, &mut done);
                }
            }
        }
        self.arm(now, out);
        done
    }

    fn note_silence(&mut self, task: u32) {
        if let Some(task) = self.tasks.get_mut(&task) {
            task.silent += 1;
        }
    }

    // -- answering --

    /// Those nearest to any of the targets, each once; not the asker, who knows itself.
    fn nearest(&self, asker: NodeId, targets: &[Key]) -> Vec<Contact> {
        let k = usize::from(self.rules.k);
        let mut near: Vec<Contact> = match targets {
            _ if self.table.len() <= k => self.table.iter().collect(),
            [target] => self.table.closest(*target, k),
            targets => {
                let mut all: Vec<_> = targets.iter().flat_map(|target| self.table.closest(*target, k)).collect();
                all.sort_unstable_by_key(|contact| contact.key);
                all.dedup_by_key(|contact| contact.key);
                all
            }
        };
        near.retain(|contact| contact.node != asker);
        near.truncate(limits::DHT_CONTACTS_PER_ANSWER);
        near
    }

    fn held(&self, now: Moment, targets: &[Key]) -> Vec<Held> {
        let mut held: BTreeMap<NodeId, Held> = BTreeMap::new();
        for (index, target) in (0..).zip(targets) {
            for (record, lives) in self.store.under(now, *target) {
                let entry = held.entry(record.peer()).or_insert_with(|| Held {
                    record: record.clone(),
                    lives,
                    keys: Vec::new(),
                });
                // A peer that has moved left an older record under the keys of its old blocks.
                if record.version > entry.record.version {
                    (entry.record, entry.lives) = (record.clone(), lives);
                }
                entry.keys.push(index);
            }
        }
        held.into_values().take(limits::DHT_RECORDS_PER_ANSWER).collect()
    }

    // -- asking --

    /// Sends every question of a task that may be under way now; ends the task if there is none left.
    fn advance(&mut self, now: Moment, id: u32, out: &mut Vec<Effect>, done: &mut Vec<Done>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let mut asked: Vec<(Contact, Vec<u16>)> = Vec::new();
        for index in 0..task.lookups.len() {
            while !task.satisfied.contains(&(index as u16)) {
                let Some(contact) = task.lookups[index].next_to_ask() else { break };
                // Whoever is asked is asked for every key that it is wanted for.
                let mut wanted = vec![index as u16];
                for other in 0..task.lookups.len() as u16 {
                    let open = wanted.len() < limits::DHT_KEYS_PER_CALL && !task.satisfied.contains(&other);
                    if open && usize::from(other) != index && task.lookups[usize::from(other)].join(contact) {
                        wanted.push(other);
                    }
                }
                asked.push((contact, wanted));
            }
        }
        task.asked += asked.len() as u32;
        let values = task.purpose == Purpose::Find;
        for (contact, lookups) in asked {
            let lookup = &self.tasks[&id].lookups;
            let targets = lookups.iter().map(|index| lookup[usize::from(*index)].target()).collect();
            let body = if values { Body::FindValue { targets } } else { Body::FindNode { targets } };
            self.ask(now, contact, Asked::Find { task: id, lookups }, body, out);
        }
        let over = |task: &mut Task| {
            let Task { lookups, satisfied, .. } = task;
            (0..).zip(lookups).all(|(index, lookup)| satisfied.contains(&index) || lookup.is_over())
        };
        if self.tasks.get_mut(&id).is_some_and(over) {
            self.looked(now, id, out, done);
        }
    }

    fn ask(&mut self, now: Moment, to: Contact, what: Asked, body: Body, out: &mut Vec<Effect>) {
        let id = self.next_call;
        // An answer to an older question of this number would have come long ago.
        self.next_call = self.next_call.wrapping_add(1);
        self.calls.insert(id, Call { to, deadline: now + self.rules.timeout, what });
        self.say(to.node, id, body, out);
    }

    fn say(&self, to: NodeId, id: u32, body: Body, out: &mut Vec<Effect>) {
        let key = (!self.client).then_some(self.me.key);
        out.push(Effect::Send { to, message: Message::Rpc(Box::new(Rpc { id, key, body })) });
    }

    fn answered(&mut self, from: NodeId, id: u32) -> Option<Asked> {
        if self.calls.get(&id)?.to.node != from {
            return None;
        }
        self.calls.remove(&id).map(|call| call.what)
    }

    #[expect(clippy::too_many_arguments, reason = "an answer, and where to put what comes of it")]
    fn on_found(
        &mut self,
        now: Moment,
        from: NodeId,
        id: u32,
        contacts: &[Contact],
        held: &[Held],
        out: &mut Vec<Effect>,
        done: &mut Vec<Done>,
    ) {
        let Some(call) = self.calls.get(&id).filter(|call| call.to.node == from) else { return };
        let (key, me) = (call.to.key, self.me.key);
        let Some(Asked::Find { task: id, lookups }) = self.answered(from, id) else { return };
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let near = &contacts[..contacts.len().min(limits::DHT_CONTACTS_PER_ANSWER)];
        let near: Vec<Contact> = near.iter().copied().filter(|contact| contact.key != me).collect();
        for index in &lookups {
            task.lookups[usize::from(*index)].on_answer(key, &near);
        }
        for held in held.iter().take(limits::DHT_RECORDS_PER_ANSWER) {
            merge(&mut task.found, &held.record);
            if self.rules.search == Search::First {
                task.satisfied.extend(held.keys.iter().filter_map(|at| lookups.get(usize::from(*at))));
            }
        }
        self.advance(now, id, out, done);
    }

    // -- what comes of it --

    /// The lookups of a task are over.
    fn looked(&mut self, now: Moment, id: u32, out: &mut Vec<Effect>, done: &mut Vec<Done>) {
        let task = self.tasks.get_mut(&id).expect("its lookups were under way");
        let hops = task.lookups.iter().map(Lookup::hops).max().unwrap_or(0);
        out.push(Effect::Record(Event::Looked(Box::new(Looked {
            node: self.me.node,
            purpose: task.purpose,
            at: now,
            took: now.since(task.began),
            keys: task.lookups.len() as u32,
            hops,
            asked: task.asked,
            silent: task.silent,
            found: task.found.len() as u32,
        }))));
        match task.purpose {
            Purpose::Join => {
                self.tasks.remove(&id);
                done.push(Done::Joined);
                let (me, stream) = (self.me.key, &mut self.stream);
                let far: Vec<Key> = self.table.lacking().map(|bits| me.neighbour(bits, stream.random())).collect();
                if !far.is_empty() && !self.client {
                    done.extend(self.begin(now, Purpose::Fill, &far, None, out));
                }
            }
            Purpose::Fill => drop(self.tasks.remove(&id)),
            Purpose::Find => {
                let task = self.tasks.remove(&id).expect("it was just there");
                done.push(Done::Found(task.found.into_values().collect()));
            }
            Purpose::Announce => self.store_at_nearest(now, id, out, done),
        }
    }

    /// Stores the task's record under each of its keys at the nodes nearest to the key, one question for each node.
    fn store_at_nearest(&mut self, now: Moment, id: u32, out: &mut Vec<Effect>, done: &mut Vec<Done>) {
        let task = self.tasks.get_mut(&id).expect("its lookups were under way");
        let (record, lives) = task.announce.clone().expect("an announcement says what");
        let replicas = usize::from(self.rules.replicas);
        let mut holders: BTreeMap<NodeId, (Contact, Vec<Key>)> = BTreeMap::new();
        let mut here = 0;
        for lookup in &task.lookups {
            let key = lookup.target();
            let mut nearest: Vec<Contact> = lookup.closest(replicas).collect();
            nearest.push(self.me);
            nearest.sort_unstable_by_key(|contact| contact.key.distance(key));
            for holder in nearest.into_iter().take(replicas) {
                if holder == self.me {
                    here += usize::from(self.store.keep(now, key, &record, lives));
                } else {
                    holders.entry(holder.node).or_insert_with(|| (holder, Vec::new())).1.push(key);
                }
            }
        }
        task.kept = usize::from(here > 0);
        let mut stores = Vec::new();
        for (contact, keys) in holders.into_values() {
            stores.extend(keys.chunks(limits::DHT_KEYS_PER_CALL).map(|keys| (contact, keys.to_vec())));
        }
        task.storing = stores.len() as u32;
        if stores.is_empty() {
            self.announced(id, done);
        }
        for (contact, keys) in stores {
            let body = Body::Store { record: record.clone(), lives, keys };
            self.ask(now, contact, Asked::Store { task: id }, body, out);
        }
    }

    fn stored(&mut self, _now: Moment, id: u32, kept: bool, _out: &mut Vec<Effect>, done: &mut Vec<Done>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.kept += usize::from(kept);
        task.storing -= 1;
        if task.storing == 0 {
            self.announced(id, done);
        }
    }

    fn announced(&mut self, id: u32, done: &mut Vec<Done>) {
        let task = self.tasks.remove(&id).expect("its stores were under way");
        let (record, _) = task.announce.expect("an announcement says what");
        done.push(Done::Announced { record, kept: task.kept });
    }

    // -- the table and the timer --

    fn hear(&mut self, now: Moment, contact: Contact, out: &mut Vec<Effect>) {
        if contact.node == self.me.node {
            return;
        }
        if let Some(oldest) = self.table.heard(contact) {
            let id = self.next_call;
            self.next_call = self.next_call.wrapping_add(1);
            self.calls.insert(id, Call { to: oldest, deadline: now + self.rules.timeout, what: Asked::Ping });
            let ping = Ping { nonce: NONCE | u64::from(id) };
            out.push(Effect::Send { to: oldest.node, message: Message::Ping(ping) });
        }
    }

    /// One timer, set anew when it has run out and questions are still open.
    fn arm(&mut self, now: Moment, out: &mut Vec<Effect>) {
        if self.armed {
            return;
        }
        if let Some(call) = self.calls.values().next() {
            self.armed = true;
            out.push(Effect::Wake { after: call.deadline.since(now), timer: Timer::Dht });
        }
    }
}

/// Of two records of a peer the later one counts.
fn merge(found: &mut BTreeMap<NodeId, Arc<Record>>, record: &Arc<Record>) {
    let known = found.entry(record.peer()).or_insert_with(|| record.clone());
    if known.version < record.version {
        *known = record.clone();
    }
}

/// What is asked for beyond the bound is not answered.
fn bounded(keys: &[Key]) -> &[Key] {
    &keys[..keys.len().min(limits::DHT_KEYS_PER_CALL)]
}
