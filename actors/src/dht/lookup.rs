//! One iterative lookup of the nodes nearest to a key. It queries ever nearer nodes until each of the `k` nearest has
//! responded. Nodes that do not respond do not count.
//!
//! Up to `alpha` queries are in flight at once. After `alpha` successive responses without a node nearer than the
//! nearest known one, the rest of the `k` nearest nodes are queried all at once (Maymounkov and Mazieres 2002, section
//! 2.3). The lookup is a pure state machine: [`super::node`] sends the queries and handles their timeouts.
//!
//! A lookup remembers only the nearest [`KEPT`] times `k` nodes. The nodes beyond the `k` nearest serve only to replace
//! nodes that do not respond. The lookup drops each farther node of a response after one comparison.
use super::key::{Distance, Key};
use super::table::Contact;
use crate::id::NodeId;

/// A lookup remembers the nearest `KEPT * k` nodes. If more than half of them do not respond, the lookup learns of
/// other nodes only from further responses.
const KEPT: usize = 2;

/// A lookup of the nodes nearest to a key.
pub struct Lookup {
    target: Key,
    k: usize,
    alpha: usize,
    /// The known nodes, nearest first.
    candidates: Vec<Candidate>,
    /// The distance of the `k`-th nearest known node; the maximum distance if fewer nodes are known. Nodes that did not
    /// respond are not counted.
    reach: Distance,
    /// The number of queries in flight.
    under_way: usize,
    /// The number of responses in a row, up to the latest, that contained no node nearer to the key than all nodes
    /// known before.
    fruitless: usize,
}

#[derive(Clone, Copy)]
struct Candidate {
    distance: Distance,
    node: NodeId,
    /// The length of the chain of queries that ends with the query to this node: 1 if the node was known at the start,
    /// else one more than the depth of the node that named this node in its response.
    depth: u16,
    state: State,
}

const _: () = assert!(size_of::<Candidate>() <= 16, "a client that looks up all blocks has thousands of candidates");

/// A response whose contacts are being added to a lookup.
#[derive(Clone, Copy)]
pub struct Answer {
    /// The depth of the response's contacts: one more than the depth of the node that has responded.
    depth: u16,
    /// The distance of the nearest node that was known before the response.
    nearest: Option<Distance>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Asked,
    Answered,
    Silent,
}

impl Lookup {
    /// Starts a lookup of the `k` nodes nearest to `target`, from the `known` nodes.
    pub fn new(target: Key, k: usize, alpha: usize, known: &[Contact]) -> Lookup {
        let candidates = Vec::with_capacity(known.len());
        let reach = Key(u64::MAX);
        let mut lookup = Lookup { target, k, alpha, candidates, reach, under_way: 0, fruitless: 0 };
        for contact in known {
            lookup.learn(*contact, 1);
        }
        lookup.measure();
        lookup
    }

    pub fn target(&self) -> Key {
        self.target
    }

    /// Returns the distance from the target up to which this lookup queries the nodes that it knows now. It queries
    /// farther nodes only if nearer ones fail to respond.
    #[inline]
    pub fn reach(&self) -> Distance {
        self.reach
    }

    /// Returns the next node to query, and counts it as queried; `None` while enough queries are in flight, or if no
    /// node is left to query.
    pub fn next_to_ask(&mut self) -> Option<Contact> {
        let parallel = if self.fruitless >= self.alpha { self.k } else { self.alpha };
        if self.under_way >= parallel {
            return None;
        }
        let responsive = self.candidates.iter_mut().filter(|candidate| candidate.state != State::Silent);
        let next = responsive.take(self.k).find(|candidate| candidate.state == State::Fresh)?;
        next.state = State::Asked;
        self.under_way += 1;
        Some(Contact { key: next.distance.distance(self.target), node: next.node })
    }

    /// Counts `contact` as queried if it is one of the nodes that this lookup would query itself. Returns whether it
    /// was counted. The caller uses this for a node that it queries anyway for another lookup.
    pub fn join(&mut self, contact: Contact) -> bool {
        let distance = contact.key.distance(self.target);
        if distance > self.reach {
            return false;
        }
        let Ok(place) = self.find(distance) else { return false };
        if self.candidates[place].state != State::Fresh {
            return false;
        }
        self.candidates[place].state = State::Asked;
        self.under_way += 1;
        true
    }

    #[cfg(test)]
    fn on_answer(&mut self, from: Key, contacts: &[Contact]) {
        let Some(answer) = self.begin_answer(from) else { return };
        contacts.iter().for_each(|contact| self.take(answer, *contact));
        self.end_answer(answer);
    }

    /// Counts a queried node as one that has responded. The caller then passes the response's contacts to
    /// [`Lookup::take`] one by one, except contacts that the lookup has taken before, and calls [`Lookup::end_answer`].
    /// Returns `None` if no query to the node is open.
    pub fn begin_answer(&mut self, from: Key) -> Option<Answer> {
        let depth = self.settle(from, State::Answered)?;
        Some(Answer { depth: depth + 1, nearest: self.least() })
    }

    /// Adds a contact of a response to the known nodes.
    #[inline]
    pub fn take(&mut self, answer: Answer, contact: Contact) {
        self.learn(contact, answer.depth);
    }

    /// Ends the response, and notes whether it contained a node nearer to the key than all nodes known before.
    pub fn end_answer(&mut self, answer: Answer) {
        self.measure();
        let nearer = self.least() != answer.nearest;
        self.fruitless = if nearer { 0 } else { self.fruitless + 1 };
    }

    /// Notes that a queried node does not respond.
    pub fn on_silence(&mut self, from: Key) {
        self.settle(from, State::Silent);
        self.measure();
    }

    /// Whether the `k` nearest nodes have all responded. Nodes that failed to respond are not counted.
    pub fn is_over(&self) -> bool {
        self.under_way == 0 && self.nearest().all(|candidate| candidate.state == State::Answered)
    }

    /// Returns the `count` nearest nodes that have responded, nearest first.
    pub fn closest(&self, count: usize) -> impl Iterator<Item = Contact> {
        let answered = self.candidates.iter().filter(|candidate| candidate.state == State::Answered);
        let contact =
            |candidate: &Candidate| Contact { key: candidate.distance.distance(self.target), node: candidate.node };
        answered.map(contact).take(count)
    }

    /// Returns the length of the chain of queries that ended with the query to the nearest responding node; 0 if no
    /// node has responded.
    pub fn hops(&self) -> u16 {
        let nearest = self.candidates.iter().find(|candidate| candidate.state == State::Answered);
        nearest.map_or(0, |candidate| candidate.depth)
    }

    /// Returns the `k` nearest candidates, without those that did not respond.
    fn nearest(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|candidate| candidate.state != State::Silent).take(self.k)
    }

    /// Returns the distance of the nearest known node.
    fn least(&self) -> Option<Distance> {
        self.candidates.first().map(|candidate| candidate.distance)
    }

    fn measure(&mut self) {
        let last = self.nearest().nth(self.k.saturating_sub(1)).map(|candidate| candidate.distance);
        self.reach = last.unwrap_or(Key(u64::MAX));
    }

    /// Returns the position of the candidate at a distance, or the position at which it would be inserted.
    #[inline]
    fn find(&self, distance: Distance) -> Result<usize, usize> {
        self.candidates.binary_search_by_key(&distance, |candidate| candidate.distance)
    }

    #[inline]
    fn learn(&mut self, contact: Contact, depth: u16) {
        let (distance, kept) = (contact.key.distance(self.target), KEPT * self.k);
        if self.candidates.get(kept - 1).is_some_and(|last| last.distance < distance) {
            return;
        }
        if let Err(place) = self.find(distance) {
            self.candidates.insert(place, Candidate { distance, node: contact.node, depth, state: State::Fresh });
            // A node that was queried is kept until it has responded, so that its response is counted.
            while self.candidates.len() > kept && self.candidates.last().is_some_and(|last| last.state != State::Asked)
            {
                self.candidates.pop();
            }
        }
    }

    fn settle(&mut self, from: Key, state: State) -> Option<u16> {
        let place = self.find(from.distance(self.target)).ok()?;
        let candidate = &mut self.candidates[place];
        if candidate.state != State::Asked {
            return None;
        }
        candidate.state = state;
        self.under_way -= 1;
        Some(candidate.depth)
    }
}

#[cfg(test)]
mod tests {
    use super::Lookup;
    use crate::dht::key::Key;
    use crate::dht::table::{Contact, Table};
    use crate::id::NodeId;
    use crate::seed::Seed;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
    use rand::RngExt;
    use std::collections::{BTreeSet, VecDeque};

    const K: usize = 8;
    const ALPHA: usize = 3;

    fn contact(node: u32) -> Contact {
        Contact { key: Key::of_node(Seed(3), NodeId(node)), node: NodeId(node) }
    }

    /// Returns the tables of a network in which every node has heard from every other node once, in its own order. The
    /// buckets are as full as they can be.
    fn network(size: u32, seed: u64) -> Vec<Table> {
        let mut stream = Seed(seed).stream("network", 0, 0);
        let table = |me: u32, stream: &mut crate::seed::Stream| {
            let mut table = Table::new(contact(me).key, K);
            let first = stream.random_range(0..size);
            for other in (0..size).map(|other| (first + other) % size).filter(|other| *other != me) {
                table.heard(contact(other));
            }
            table
        };
        (0..size).map(|me| table(me, &mut stream)).collect()
    }

    /// Runs a lookup to its end; nodes in `dead` never respond. Returns the lookup and the maximum number of queries in
    /// flight.
    fn run(tables: &[Table], from: u32, target: Key, dead: &BTreeSet<u32>) -> (Lookup, usize) {
        let mut lookup = Lookup::new(target, K, ALPHA, &tables[from as usize].closest(target, K));
        let (mut asked, mut most) = (VecDeque::new(), 0);
        loop {
            while let Some(next) = lookup.next_to_ask() {
                asked.push_back(next);
            }
            most = most.max(asked.len());
            let Some(next) = asked.pop_front() else { break };
            if dead.contains(&next.node.0) {
                lookup.on_silence(next.key);
            } else {
                lookup.on_answer(next.key, &tables[next.node.0 as usize].closest(target, K));
            }
        }
        assert!(lookup.is_over());
        (lookup, most)
    }

    proptest! {
        #[test]
        fn finds_the_k_closest_of_a_random_network(size in 2..300u32, seed in 0..1000u64, target in 0..1000u32) {
            let (tables, target) = (network(size, seed), contact(10_000 + target).key);
            let (lookup, most) = run(&tables, 0, target, &BTreeSet::new());
            let mut all: Vec<Contact> = (1..size).map(contact).collect();
            all.sort_by_key(|contact| contact.key.distance(target));
            all.truncate(K);
            // The querying node itself may be among the nodes of the responses.
            let found: Vec<Contact> = lookup.closest(K + 1).filter(|contact| contact.node.0 != 0).take(K).collect();
            prop_assert_eq!(&found[..all.len().min(K - 1)], &all[..all.len().min(K - 1)]);
            prop_assert!(most <= K);
        }

        #[test]
        fn passes_over_the_silent(size in 60..200u32, seed in 0..1000u64, target in 0..1000u32) {
            let (tables, target) = (network(size, seed), contact(10_000 + target).key);
            let mut stream = Seed(seed).stream("dead", 0, 0);
            let dead: BTreeSet<u32> = (1..size).filter(|_| stream.random_bool(0.2)).collect();
            let (lookup, _) = run(&tables, 0, target, &dead);
            let nearest = (1..size).filter(|node| !dead.contains(node)).map(contact);
            let nearest = nearest.min_by_key(|contact| contact.key.distance(target));
            prop_assert_eq!(lookup.closest(2).find(|contact| contact.node.0 != 0), nearest);
            prop_assert!(lookup.closest(K).all(|contact| !dead.contains(&contact.node.0)));
        }
    }

    #[test]
    fn at_most_alpha_are_asked_until_nobody_nearer_turns_up() {
        let target = contact(1000).key;
        let mut nodes: Vec<Contact> = (0..40).map(contact).collect();
        nodes.sort_by_key(|contact| contact.key.distance(target));
        let remote = nodes.split_off(20);
        let mut lookup = Lookup::new(target, K, ALPHA, &remote);
        let first: Vec<Contact> = std::iter::from_fn(|| lookup.next_to_ask()).collect();
        assert_eq!(first, remote[..ALPHA]);
        lookup.on_answer(first[0].key, &nodes[..1]);
        assert_eq!(lookup.next_to_ask(), Some(nodes[0]), "the nearer one, at once");
        assert_eq!(lookup.next_to_ask(), None);
        for fruitless in [first[1], first[2], nodes[0]] {
            lookup.on_answer(fruitless.key, &[]);
        }
        // 4 of the 8 nearest nodes have responded, so the other 4 are queried at once.
        assert_eq!(std::iter::from_fn(|| lookup.next_to_ask()).count(), K - 4);
        assert_eq!(lookup.hops(), 2);
    }

    #[test]
    fn hops_grow_with_the_logarithm_of_the_size() {
        let mean = |size: u32| {
            let tables = network(size, 5);
            let hops =
                |at: u32| f64::from(run(&tables, at % size, contact(20_000 + at).key, &BTreeSet::new()).0.hops());
            (0..40).map(hops).sum::<f64>() / 40.0
        };
        let (small, large) = (mean(30), mean(1000));
        assert!(small >= 1.0 && large > small && large < 5.0, "{small} {large}");
    }
}
