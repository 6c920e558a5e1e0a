//! A node of the DHT, with its routing table, the records that it stores, and its lookups in progress. The core of an
//! actor owns the node.
//!
//! A full node answers queries and is listed in the routing tables of other nodes; a client-mode node only looks up
//! records. The node is a pure state machine, like the core that owns it: the call that ends a lookup returns the
//! result as [`Done`]. The node has one timer, for queries that were not answered, and the timer runs only while
//! queries are open. The core that owns the node repeats the announcements.
mod task;

use super::Kademlia;
use super::calls::Calls;
use super::key::Key;
use super::lookup::Lookup;
use super::record::{Held, Record, Store};
use super::rpc::{Body, Rpc};
use super::table::{Contact, Table};
use crate::id::NodeId;
use crate::limits;
use crate::message::{Message, Ping, PingPurpose, Timer};
use crate::record::{Event, Purpose};
use crate::seed::{Seed, SmallStream};
use crate::time::{Duration, Timestamp};
use crate::world::Effect;
use rand::RngExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use task::{Question, Task};

/// The configuration of a DHT node.
#[derive(Clone, Debug)]
pub struct Config {
    pub me: NodeId,
    /// The bootstrap node, which a node that joins queries first; `None` for the bootstrap node itself.
    pub bootstrap: Option<NodeId>,
    /// The run's seed. The ids of nodes, and the keys that a node looks up when it joins, are derived from it.
    pub seed: Seed,
    pub rules: Kademlia,
    /// Whether the node only looks up records (client mode). Other nodes do not query it, and do not list it in their
    /// routing tables.
    pub client: bool,
}

/// The result of a lookup or of an announcement.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// The node has joined the DHT: other nodes know it, and it knows some of them.
    Joined,
    /// The result of [`Node::find`]: the latest record of each peer under the keys, in the order of node ids.
    Found(Vec<Arc<Record>>),
    /// The result of [`Node::probe_next_hops`]: the latest record of each peer under the keys, in the order of node
    /// ids.
    NextHopProbe(Vec<Arc<Record>>),
    /// The announcement is over. `kept` is the number of STORE requests that were answered with success, plus one if
    /// this node has stored the record itself. It is 0 if no node has stored the record.
    Announced { record: Arc<Record>, kept: usize },
}

/// A node of the DHT.
pub struct Node {
    me: Contact,
    bootstrap: Option<Contact>,
    rules: Kademlia,
    client: bool,
    table: Table,
    store: Store,
    tasks: BTreeMap<u32, Box<Task>>,
    next_task: u32,
    /// The requests to other nodes that are not answered yet, in the order in which they were sent, which is also the
    /// order of their deadlines.
    calls: Calls<Call>,
    /// Whether the timer for unanswered requests is running.
    armed: bool,
    stream: SmallStream,
}

struct Call {
    to: Contact,
    deadline: Timestamp,
    what: Asked,
}

enum Asked {
    /// A query that serves some of the lookups of a task.
    Find {
        task: u32,
        lookups: Vec<u16>,
    },
    Store {
        task: u32,
    },
    Ping,
}

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
            calls: Calls::default(),
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

    // -- calls by the core that owns the node --

    /// Looks up the node's own id, which makes the node known to its nearest nodes, and then fills the buckets that
    /// have room.
    pub fn join(&mut self, now: Timestamp, out: &mut Vec<Effect>) -> Vec<Done> {
        self.begin(now, Purpose::Join, &[self.me.key], None, out)
    }

    /// Looks up the records under `keys`, all keys at once.
    pub fn find(&mut self, now: Timestamp, keys: &[Key], out: &mut Vec<Effect>) -> Vec<Done> {
        self.begin(now, Purpose::Find, keys, None, out)
    }

    /// Looks up the records under `keys`, all keys at once, for the next-hop probe, which pings some of the peers
    /// found.
    pub fn probe_next_hops(&mut self, now: Timestamp, keys: &[Key], out: &mut Vec<Effect>) -> Vec<Done> {
        self.begin(now, Purpose::NextHopProbe, keys, None, out)
    }

    /// Stores `record` under each of `keys`, for the lifetime `lives`, at the nodes nearest to that key.
    pub fn announce(
        &mut self,
        now: Timestamp,
        keys: &[Key],
        record: Arc<Record>,
        lives: Duration,
        out: &mut Vec<Effect>,
    ) -> Vec<Done> {
        self.begin(now, Purpose::Announce, keys, Some((record, lives)), out)
    }

    fn begin(
        &mut self,
        now: Timestamp,
        purpose: Purpose,
        keys: &[Key],
        announce: Option<(Arc<Record>, Duration)>,
        out: &mut Vec<Effect>,
    ) -> Vec<Done> {
        let (k, alpha) = (usize::from(self.rules.k), usize::from(self.rules.alpha));
        let mut lookups = Vec::with_capacity(keys.len());
        for key in keys {
            let mut known = self.table.closest(*key, k);
            // A node that has lost all of its contacts starts again from the bootstrap node.
            known.extend(self.bootstrap.filter(|_| self.table.is_empty()));
            lookups.push(Lookup::new(*key, k, alpha, &known));
        }
        let mut task = Task::new(purpose, now, lookups, announce, self.rules.parallel);
        if matches!(purpose, Purpose::Find | Purpose::NextHopProbe) {
            for (index, key) in (0..).zip(keys) {
                task.find(index, &self.store.held(now, &[*key]).records);
            }
        }
        let id = self.next_task;
        self.next_task = self.next_task.wrapping_add(1);
        self.tasks.insert(id, Box::new(task));
        let mut done = Vec::new();
        self.advance(now, id, out, &mut done);
        self.arm(now, out);
        done
    }

    // -- messages from other nodes --

    pub fn on_rpc(&mut self, now: Timestamp, from: NodeId, rpc: Rpc, out: &mut Vec<Effect>) -> Vec<Done> {
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
                let answer =
                    Body::Values { contacts: self.nearest(from, targets), held: self.store.held(now, targets) };
                self.say(from, rpc.id, answer, out);
            }
            Body::Store { record, lives, keys } => {
                let mut kept = 0;
                // A peer may announce only itself, so other records are not stored.
                if record.peer() == from && !self.client {
                    for key in bounded(&keys) {
                        kept += u16::from(self.store.keep(now, *key, &record, lives.min(limits::DHT_LIFE)));
                    }
                }
                self.say(from, rpc.id, Body::Stored { kept }, out);
            }
            Body::Nodes { contacts } => {
                self.on_found(now, from, rpc.id, contacts, Held::default(), out, &mut done);
            }
            Body::Values { contacts, held } => self.on_found(now, from, rpc.id, contacts, held, out, &mut done),
            Body::Stored { kept } => {
                if let Some(Asked::Store { task }) = self.answered(from, rpc.id) {
                    self.stored(task, kept > 0, &mut done);
                }
            }
        }
        self.arm(now, out);
        done
    }

    /// Handles a pong. The DHT pings the least recently seen contact of a full bucket, and a pong keeps this contact in
    /// the routing table. Returns whether the pong answers a ping of the DHT.
    pub fn on_pong(&mut self, now: Timestamp, from: NodeId, nonce: u64, out: &mut Vec<Effect>) -> bool {
        let PingPurpose::Dht(request) = PingPurpose::of(nonce) else { return false };
        let id = request as u32;
        if self.calls.get(id).is_some_and(|call| matches!(call.what, Asked::Ping) && call.to.node == from) {
            let contact = self.calls.remove(id).expect("the call was found above").to;
            self.hear(now, contact, out);
        }
        true
    }

    /// Notes that a node is unreachable: it will not answer open requests.
    pub fn on_gone(&mut self, now: Timestamp, from: NodeId, out: &mut Vec<Effect>) -> Vec<Done> {
        if let Some(contact) = self.table.contact(from) {
            self.table.silent(contact);
        }
        let lost: Vec<u32> = self.calls.iter().filter(|(_, call)| call.to.node == from).map(|(id, _)| id).collect();
        self.lose(now, &lost, out)
    }

    /// Handles the expired timer: requests past their deadline count as unanswered.
    pub fn on_woken(&mut self, now: Timestamp, out: &mut Vec<Effect>) -> Vec<Done> {
        self.armed = false;
        let late = self.calls.iter().take_while(|(_, call)| call.deadline <= now);
        let late: Vec<u32> = late.map(|(id, _)| id).collect();
        self.store.sweep(now);
        self.lose(now, &late, out)
    }

    fn lose(&mut self, now: Timestamp, calls: &[u32], out: &mut Vec<Effect>) -> Vec<Done> {
        let mut done = Vec::new();
        for id in calls {
            let Some(call) = self.calls.remove(*id) else { continue };
            self.table.silent(call.to);
            match call.what {
                Asked::Ping => {}
                Asked::Store { task } => {
                    if let Some(task) = self.tasks.get_mut(&task) {
                        task.silent += 1;
                    }
                    self.stored(task, false, &mut done);
                }
                Asked::Find { task, lookups } => {
                    self.note_silence(task, call.to.key, &lookups);
                    self.advance(now, task, out, &mut done);
                }
            }
        }
        self.arm(now, out);
        done
    }

    fn note_silence(&mut self, task: u32, from: Key, lookups: &[u16]) {
        if let Some(task) = self.tasks.get_mut(&task) {
            task.on_silence(from, lookups);
        }
    }

    /// Returns the contacts nearest to any of the targets, without the node that asks.
    fn nearest(&self, asker: NodeId, targets: &[Key]) -> Vec<Contact> {
        let mut near = self.table.closest_to_any(targets, usize::from(self.rules.k));
        near.retain(|contact| contact.node != asker);
        near.truncate(limits::DHT_CONTACTS_PER_ANSWER);
        near
    }

    // -- requests to other nodes --

    /// Sends every query that a task may send now. Ends the task if nothing is left to query or to wait for.
    fn advance(&mut self, now: Timestamp, id: u32, out: &mut Vec<Effect>, done: &mut Vec<Done>) {
        let mut asks = false;
        loop {
            let Some(task) = self.tasks.get_mut(&id) else { return };
            let Some(Question { to, lookups, body }) = task.next_question() else { break };
            asks = true;
            self.ask(now, to, Asked::Find { task: id, lookups }, body, out);
        }
        if !asks && self.tasks[&id].has_looked() {
            self.looked(now, id, out, done);
        }
    }

    fn ask(&mut self, now: Timestamp, to: Contact, what: Asked, body: Body, out: &mut Vec<Effect>) {
        let id = self.expect(now, to, what);
        self.say(to.node, id, body, out);
    }

    /// Registers a request that waits for an answer, and returns its number.
    fn expect(&mut self, now: Timestamp, to: Contact, what: Asked) -> u32 {
        self.calls.add(Call { to, deadline: now + self.rules.timeout, what })
    }

    fn say(&self, to: NodeId, id: u32, body: Body, out: &mut Vec<Effect>) {
        let key = (!self.client).then_some(self.me.key);
        out.push(Effect::Send { to, message: Message::Rpc(Box::new(Rpc { id, key, body })) });
    }

    fn answered(&mut self, from: NodeId, id: u32) -> Option<Asked> {
        if self.calls.get(id)?.to.node != from {
            return None;
        }
        self.calls.remove(id).map(|call| call.what)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a response, and the buffers for effects and results")]
    fn on_found(
        &mut self,
        now: Timestamp,
        from: NodeId,
        id: u32,
        mut contacts: Vec<Contact>,
        mut held: Held,
        out: &mut Vec<Effect>,
        done: &mut Vec<Done>,
    ) {
        let Some(call) = self.calls.get(id).filter(|call| call.to.node == from) else { return };
        let (key, me) = (call.to.key, self.me.key);
        let Some(Asked::Find { task: id, lookups }) = self.answered(from, id) else { return };
        let Some(task) = self.tasks.get_mut(&id) else { return };
        contacts.truncate(limits::DHT_CONTACTS_PER_ANSWER);
        contacts.retain(|contact| contact.key != me);
        held.records.truncate(limits::DHT_RECORDS_PER_ANSWER);
        task.on_answer(key, &lookups, &contacts, &held, self.rules.search);
        self.advance(now, id, out, done);
    }

    // -- results of lookups and announcements --

    /// Handles the end of all lookups of a task.
    fn looked(&mut self, now: Timestamp, id: u32, out: &mut Vec<Effect>, done: &mut Vec<Done>) {
        let task = self.tasks.get_mut(&id).expect("the lookups of the task were in progress");
        out.push(Effect::Record(Event::Looked(Box::new(task.looked(now, self.me.node)))));
        match task.purpose {
            Purpose::Join => {
                self.tasks.remove(&id);
                done.push(Done::Joined);
                let (me, stream) = (self.me.key, &mut self.stream);
                let remote: Vec<Key> =
                    self.table.lacking().map(|bits| me.neighbour(bits, stream.random::<[u64; 4]>()[0])).collect();
                if !remote.is_empty() && !self.client {
                    done.extend(self.begin(now, Purpose::Fill, &remote, None, out));
                }
            }
            Purpose::Fill => drop(self.tasks.remove(&id)),
            Purpose::Find | Purpose::NextHopProbe => {
                let task = self.tasks.remove(&id).expect("the task was found above");
                let (purpose, found) = (task.purpose, task.into_found());
                done.push(if purpose == Purpose::Find { Done::Found(found) } else { Done::NextHopProbe(found) });
            }
            Purpose::Announce => self.store_at_nearest(now, id, out, done),
        }
    }

    /// Stores the task's record under each of its keys at the nodes nearest to the key. The keys that one node must
    /// store share a STORE request, up to the maximum number of keys of one request.
    fn store_at_nearest(&mut self, now: Timestamp, id: u32, out: &mut Vec<Effect>, done: &mut Vec<Done>) {
        let task = self.tasks.get_mut(&id).expect("the lookups of the task were in progress");
        let (record, lives) = task.announce.clone().expect("an announcement has a record");
        let (here, stores) = task.holders(self.me, usize::from(self.rules.replicas));
        for key in here {
            task.kept |= usize::from(self.store.keep(now, key, &record, lives));
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

    fn stored(&mut self, id: u32, kept: bool, done: &mut Vec<Done>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.kept += usize::from(kept);
        task.storing -= 1;
        if task.storing == 0 {
            self.announced(id, done);
        }
    }

    fn announced(&mut self, id: u32, done: &mut Vec<Done>) {
        let task = self.tasks.remove(&id).expect("the STORE requests of the task were in flight");
        let (record, _) = task.announce.expect("an announcement has a record");
        done.push(Done::Announced { record, kept: task.kept });
    }

    // -- the routing table and the timer --

    fn hear(&mut self, now: Timestamp, contact: Contact, out: &mut Vec<Effect>) {
        if contact.node == self.me.node {
            return;
        }
        if let Some(oldest) = self.table.heard(contact) {
            let id = self.expect(now, oldest, Asked::Ping);
            let ping = Ping { nonce: PingPurpose::Dht(id.into()).nonce() };
            out.push(Effect::Send { to: oldest.node, message: Message::Ping(ping) });
        }
    }

    /// Starts the timer for unanswered requests, if requests are open and the timer is not running.
    fn arm(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if self.armed {
            return;
        }
        if let Some((_, call)) = self.calls.iter().next() {
            self.armed = true;
            out.push(Effect::Wake { after: call.deadline.since(now), timer: Timer::Dht });
        }
    }
}

/// Returns the first [`limits::DHT_KEYS_PER_CALL`] of `keys`, the maximum of one request. Further keys are ignored.
fn bounded(keys: &[Key]) -> &[Key] {
    &keys[..keys.len().min(limits::DHT_KEYS_PER_CALL)]
}
