//! A record of the pairs of hosts that have communicated: a bit for each pair, or a list for a host that sends to few
//! others.
use actors::id::HostId;

/// A set of ordered pairs of hosts.
pub struct Contacts {
    /// For each host, the hosts to which it has sent messages.
    rows: Vec<Row>,
}

enum Row {
    /// The ids of the hosts in ascending order.
    Few(Vec<u32>),
    /// One bit for each host of the swarm, which is 1 if the host is in the set.
    Many(Box<[u64]>),
}

impl Contacts {
    pub fn new(hosts: usize) -> Contacts {
        Contacts { rows: (0..hosts).map(|_| Row::Few(Vec::new())).collect() }
    }

    pub fn contains(&self, from: HostId, to: HostId) -> bool {
        match &self.rows[from.0 as usize] {
            Row::Few(hosts) => hosts.binary_search(&to.0).is_ok(),
            Row::Many(bits) => bits[to.0 as usize / 64] >> (to.0 % 64) & 1 == 1,
        }
    }

    /// Adds the pair of a sender and a receiver. Returns whether it is new.
    pub fn insert(&mut self, from: HostId, to: HostId) -> bool {
        let words = self.rows.len().div_ceil(64);
        let row = &mut self.rows[from.0 as usize];
        match row {
            Row::Few(hosts) => {
                let Err(at) = hosts.binary_search(&to.0) else { return false };
                // From this length on, a list takes no less memory than a bit for each host of the swarm.
                if hosts.len() >= 2 * words {
                    let mut bits = vec![0; words].into_boxed_slice();
                    hosts.iter().chain([&to.0]).for_each(|&host| set(&mut bits, host));
                    *row = Row::Many(bits);
                } else {
                    hosts.insert(at, to.0);
                }
                true
            }
            Row::Many(bits) => {
                let new = bits[to.0 as usize / 64] >> (to.0 % 64) & 1 == 0;
                set(bits, to.0);
                new
            }
        }
    }

    /// Removes all pairs that contain `host`, and returns the other hosts of these pairs in ascending order. The set
    /// must have each pair in both orders.
    pub fn part(&mut self, host: HostId) -> Vec<HostId> {
        let others: Vec<u32> = match std::mem::replace(&mut self.rows[host.0 as usize], Row::Few(Vec::new())) {
            Row::Few(hosts) => hosts,
            Row::Many(bits) => {
                let set = |other: &u32| bits[*other as usize / 64] >> (other % 64) & 1 == 1;
                (0..self.rows.len() as u32).filter(set).collect()
            }
        };
        for other in &others {
            match &mut self.rows[*other as usize] {
                Row::Few(hosts) => hosts.retain(|known| *known != host.0),
                Row::Many(bits) => bits[host.0 as usize / 64] &= !(1 << (host.0 % 64)),
            }
        }
        others.into_iter().map(HostId).collect()
    }

    /// Returns the bytes of memory that the pairs take.
    pub fn bytes(&self) -> usize {
        let row = |row: &Row| match row {
            Row::Few(hosts) => hosts.capacity() * size_of::<u32>(),
            Row::Many(bits) => size_of_val(&**bits),
        };
        self.rows.iter().map(|of| size_of::<Row>() + row(of)).sum()
    }
}

fn set(bits: &mut [u64], host: u32) {
    bits[host as usize / 64] |= 1 << (host % 64);
}

#[cfg(test)]
mod tests {
    use super::Contacts;
    use actors::id::HostId;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn who_parts_has_no_pair_left(pairs in proptest::collection::vec((0..150u32, 0..150u32), 1..400), gone in 0..150u32) {
            let mut contacts = Contacts::new(150);
            for &(a, b) in &pairs {
                contacts.insert(HostId(a), HostId(b));
                contacts.insert(HostId(b), HostId(a));
            }
            let others: std::collections::BTreeSet<u32> =
                pairs.iter().flat_map(|&(a, b)| [(a, b), (b, a)]).filter(|(a, _)| *a == gone).map(|(_, b)| b).collect();
            let parted: Vec<u32> = contacts.part(HostId(gone)).into_iter().map(|host| host.0).collect();
            proptest::prop_assert_eq!(parted, others.into_iter().collect::<Vec<_>>());
            for (a, b) in pairs {
                proptest::prop_assert_eq!(contacts.contains(HostId(a), HostId(b)), a != gone && b != gone);
            }
        }

        #[test]
        fn a_pair_is_new_once(pairs in proptest::collection::vec((0..150u32, 0..150u32), 1..400), of in 1..150u32) {
            let (mut contacts, mut expected) = (Contacts::new(150), BTreeSet::new());
            for (from, to) in pairs {
                let from = from % of;
                prop_assert_eq!(contacts.insert(HostId(from), HostId(to)), expected.insert((from, to)));
                prop_assert!(contacts.contains(HostId(from), HostId(to)));
            }
            for (from, to) in (0..150).flat_map(|from| (0..150).map(move |to| (from, to))) {
                prop_assert_eq!(contacts.contains(HostId(from), HostId(to)), expected.contains(&(from, to)));
            }
        }
    }
}
