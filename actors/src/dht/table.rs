//! The routing table of a node: the contacts that the node has heard from, in k-buckets. The number of leading bits
//! that a contact's id and the node's id have in common is the index of the contact's bucket.
//!
//! A bucket holds at most `k` contacts, the least recently seen first. A newcomer to a full bucket waits while the
//! least recently seen contact is pinged. If the contact answers, it moves to the end of the bucket, and the newcomer
//! is forgotten. If it does not answer, the newcomer takes its place (Maymounkov and Mazieres 2002, section 2.2).
//! Contacts that have been up for long therefore stay, and a flood of new contacts cannot displace them.
use super::key::Key;
use crate::id::NodeId;
use crate::limits;
use serde::{Deserialize, Serialize};

/// A node and its id in the key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    pub key: Key,
    pub node: NodeId,
}

/// The routing table of a node.
pub struct Table {
    me: Key,
    k: usize,
    /// The buckets, indexed by the number of leading bits in common with the node's id. The last bucket is the deepest
    /// that has ever held a contact.
    buckets: Vec<Bucket>,
    len: usize,
}

#[derive(Default)]
struct Bucket {
    /// The contacts of the bucket, the least recently seen first.
    contacts: Vec<Contact>,
    /// The contact that takes the place of the bucket's first contact if the first contact does not answer a ping.
    newcomer: Option<Contact>,
}

impl Table {
    pub fn new(me: Key, k: usize) -> Table {
        Table { me, k, buckets: Vec::new(), len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Notes that the node has heard from `contact`. If the bucket of a new `contact` is full and none of the bucket's
    /// contacts is being pinged, returns the contact that has to be pinged.
    pub fn heard(&mut self, contact: Contact) -> Option<Contact> {
        let bits = self.me.common_bits(contact.key) as usize;
        if bits >= Key::BITS as usize {
            return None;
        }
        while self.buckets.len() <= bits {
            self.buckets.push(Bucket::default());
        }
        let bucket = &mut self.buckets[bits];
        if let Some(at) = bucket.contacts.iter().position(|known| known.key == contact.key) {
            bucket.contacts.remove(at);
            bucket.contacts.push(contact);
            // The first contact of a full bucket is the one that is pinged. It is alive, so the newcomer is forgotten.
            if at == 0 {
                bucket.newcomer = None;
            }
            return None;
        }
        if bucket.contacts.len() < self.k {
            bucket.contacts.push(contact);
            self.len += 1;
            return None;
        }
        let asked_already = bucket.newcomer.replace(contact).is_some();
        if asked_already { None } else { bucket.contacts.first().copied() }
    }

    /// Removes a contact that did not answer. The newcomer that waits for room in the same bucket, if any, takes the
    /// place of the removed contact.
    pub fn silent(&mut self, contact: Contact) {
        let Some(bucket) = self.buckets.get_mut(self.me.common_bits(contact.key) as usize) else { return };
        if bucket.newcomer.is_some_and(|newcomer| newcomer.key == contact.key) {
            bucket.newcomer = None;
        }
        let Some(at) = bucket.contacts.iter().position(|known| known.key == contact.key) else { return };
        bucket.contacts.remove(at);
        match bucket.newcomer.take() {
            Some(newcomer) => bucket.contacts.push(newcomer),
            None => self.len -= 1,
        }
    }

    /// Returns the contact with the given node id. Takes time proportional to the size of the table.
    pub fn contact(&self, node: NodeId) -> Option<Contact> {
        self.iter().find(|contact| contact.node == node)
    }

    /// Returns the `count` known contacts nearest to `target`, nearest first.
    pub fn closest(&self, target: Key, count: usize) -> Vec<Contact> {
        let mut near = Vec::with_capacity(count.min(self.len));
        self.add_nearest(target, count, &mut near);
        near.sort_unstable_by_key(|contact| contact.key.distance(target));
        near
    }

    /// Adds the `count` known contacts nearest to `target` to `near`, in no particular order.
    ///
    /// The nearest contacts are in the target's own bucket: they have more leading bits in common with the target than
    /// all other contacts. Next are the contacts of all deeper buckets, which have as many bits in common with the
    /// target as this node has. Then follow the other buckets, from the deepest to bucket 0. The search stops once it
    /// has enough contacts, so it examines only a few.
    fn add_nearest(&self, target: Key, count: usize, near: &mut Vec<Contact>) {
        let (bits, all) = (self.me.common_bits(target) as usize, self.buckets.len());
        let (own, inner) = (bits.min(all)..(bits + 1).min(all), (bits + 1).min(all)..all);
        let outer = (0..bits.min(all)).rev().map(|bucket| bucket..bucket + 1);
        let end = near.len() + count;
        for group in [own, inner].into_iter().chain(outer) {
            if near.len() >= end {
                break;
            }
            let first = near.len();
            self.buckets[group].iter().for_each(|bucket| near.extend_from_slice(&bucket.contacts));
            let (group, wanted) = (&mut near[first..], end - first);
            if group.len() > wanted {
                group.select_nth_unstable_by_key(wanted - 1, |contact| contact.key.distance(target));
            }
            near.truncate(end);
        }
    }

    /// Returns the `count` known contacts nearest to each of the targets, each contact once, in no particular order.
    pub fn closest_to_any(&self, targets: &[Key], count: usize) -> Vec<Contact> {
        match targets {
            _ if self.len <= count => self.iter().collect(),
            [target] => {
                let mut near = Vec::with_capacity(count);
                self.add_nearest(*target, count, &mut near);
                near
            }
            targets => {
                let mut all = Vec::with_capacity(targets.len() * count);
                targets.iter().for_each(|target| self.add_nearest(*target, count, &mut all));
                // One bit for each node id that a plan can contain. Contacts with greater ids, which no plan contains,
                // may occur twice in the result.
                let most = all.iter().map(|contact| contact.node.0 as usize).max().unwrap_or(0);
                let mut seen = vec![0_u64; most.min(limits::NODES) / 64 + 1];
                all.retain(|contact| {
                    let Some(word) = seen.get_mut(contact.node.0 as usize / 64) else { return true };
                    let bit = 1 << (contact.node.0 % 64);
                    let new = *word & bit == 0;
                    *word |= bit;
                    new
                });
                all
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Contact> {
        self.buckets.iter().flat_map(|bucket| bucket.contacts.iter().copied())
    }

    /// Returns the indices of the buckets that have room and are farther away than the bucket of the nearest contact. A
    /// node that joins looks up contacts for these buckets.
    pub fn lacking(&self) -> impl Iterator<Item = u32> {
        let nearest = self.buckets.iter().rposition(|bucket| !bucket.contacts.is_empty()).unwrap_or(0);
        let remote = (0..).zip(&self.buckets[..nearest.min(self.buckets.len())]);
        remote.filter(|(_, bucket)| bucket.contacts.len() < self.k).map(|(bits, _)| bits)
    }
}

#[cfg(test)]
mod tests {
    use super::{Contact, Table};
    use crate::dht::key::Key;
    use crate::id::NodeId;
    use crate::seed::Seed;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
    use std::collections::BTreeSet;

    fn contact(node: u32) -> Contact {
        Contact { key: Key::of_node(Seed(9), NodeId(node)), node: NodeId(node) }
    }

    /// Returns contacts of bucket 0, which covers half of the key space.
    fn remote(me: Key, count: usize) -> Vec<Contact> {
        (1..).map(contact).filter(|contact| me.common_bits(contact.key) == 0).take(count).collect()
    }

    #[test]
    fn a_full_bucket_keeps_who_answers() {
        let me = contact(0).key;
        let mut table = Table::new(me, 3);
        let nodes = remote(me, 5);
        assert!(nodes[..3].iter().all(|contact| table.heard(*contact).is_none()));
        assert_eq!(table.heard(nodes[3]), Some(nodes[0]), "the least recently seen is pinged");
        assert_eq!(table.heard(nodes[4]), None, "one ping at a time");
        // The pinged contact answers: the newcomers are forgotten, and the second contact is next in line.
        table.heard(nodes[0]);
        assert_eq!(table.iter().collect::<Vec<_>>(), [nodes[1], nodes[2], nodes[0]]);
        assert_eq!(table.heard(nodes[3]), Some(nodes[1]));
    }

    #[test]
    fn who_is_silent_makes_room_for_the_newest_that_waits() {
        let me = contact(0).key;
        let mut table = Table::new(me, 2);
        let nodes = remote(me, 4);
        for node in &nodes[..2] {
            table.heard(*node);
        }
        assert_eq!(table.heard(nodes[2]), Some(nodes[0]));
        table.silent(nodes[0]);
        assert_eq!(table.iter().collect::<Vec<_>>(), [nodes[1], nodes[2]]);
        table.silent(nodes[1]);
        assert_eq!((table.len(), table.contact(nodes[2].node)), (1, Some(nodes[2])));
    }

    proptest! {
        #[test]
        fn buckets_hold_k_of_their_prefix_and_closest_is_exact(
            heard in proptest::collection::vec(1..300u32, 0..400), k in 1..8usize, target in 0..1000u32, count in 0..30usize,
        ) {
            let me = contact(0).key;
            let mut table = Table::new(me, k);
            for node in heard {
                table.heard(contact(node));
            }
            prop_assert_eq!(table.iter().count(), table.len());
            let distinct: BTreeSet<u32> = table.iter().map(|contact| contact.node.0).collect();
            prop_assert_eq!(distinct.len(), table.len());
            for bits in 0..64 {
                let held = table.iter().filter(|contact| me.common_bits(contact.key) == bits).count();
                prop_assert!(held <= k);
            }
            let target = contact(target).key;
            let mut all: Vec<Contact> = table.iter().collect();
            all.sort_by_key(|contact| contact.key.distance(target));
            all.truncate(count);
            prop_assert_eq!(table.closest(target, count), all);
        }
    }
}
