//! The paths in use between hosts. An idle path takes no memory; in a large swarm, most paths are idle most of the
//! time.
use super::contacts::Contacts;
use actors::id::HostId;
use actors::seed::mix;
use actors::time::{Duration, Timestamp};
use hashbrown::HashTable;
use links::{LinkTable, Path};

/// The number of paths below which no path is dropped. This number of paths takes 32 MiB.
pub const BOUND: usize = 1 << 18;

/// The paths over which hosts have sent, in a hash table.
///
/// Whenever the table is full, idle paths are dropped. The next message makes a dropped path again, which then behaves
/// as before, except that it draws from new random streams.
pub struct Paths {
    table: HashTable<DirectedPath>,
    /// The pairs (sender, receiver) of hosts that have sent; a pair stays here when its path is dropped.
    sent: Contacts,
    bound: usize,
    /// The number of paths at which idle paths are dropped next: `bound`, or twice the number of paths that were left
    /// when paths were last dropped, if that is larger.
    full: usize,
}

/// A path with its sending and its receiving host. The struct is as large as a cache line.
#[repr(align(64))]
struct DirectedPath {
    from: HostId,
    to: HostId,
    path: Path,
}

const _: () = assert!(size_of::<DirectedPath>() == 64, "a message touches one cache line of its path");

impl Paths {
    pub fn new(hosts: usize, bound: usize) -> Paths {
        Paths { table: HashTable::new(), sent: Contacts::new(hosts), bound, full: bound }
    }

    /// Returns the path from one host to another, and the time of connection set-up if the two have no connection yet.
    #[inline]
    pub fn get(&mut self, links: &mut LinkTable, now: Timestamp, from: HostId, to: HostId) -> (&mut Path, Duration) {
        let Paths { table, sent, bound, full } = self;
        match table.find_entry(hash(from, to), |entry| entry.from == from && entry.to == to) {
            Ok(entry) => (&mut entry.into_mut().path, Duration::ZERO),
            Err(absent) => {
                let table = absent.into_table();
                if table.len() >= *full {
                    drop_idle(table, now);
                    *full = table.len().saturating_mul(2).max(*bound);
                }
                make(table, sent, links, now, from, to)
            }
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns the bytes of memory that the paths and the pairs of hosts take.
    pub fn bytes(&self) -> usize {
        self.table.allocation_size() + self.sent.bytes()
    }
}

#[cold]
fn make<'t>(
    table: &'t mut HashTable<DirectedPath>,
    sent: &mut Contacts,
    links: &mut LinkTable,
    now: Timestamp,
    from: HostId,
    to: HostId,
) -> (&'t mut Path, Duration) {
    let (path, handshake) = if sent.insert(from, to) {
        let mut path = Path::new(links, from, to);
        // A connection serves both directions, so it exists already if the other host has sent.
        let connected = sent.contains(to, from);
        let handshake = if connected { Duration::ZERO } else { path.handshake(links, from, to) };
        (path, handshake)
    } else {
        (Path::again(links, from, to, now), Duration::ZERO)
    };
    let path = DirectedPath { from, to, path };
    let entry = table.insert_unique(hash(from, to), path, |path| hash(path.from, path.to));
    (&mut entry.into_mut().path, handshake)
}

#[cold]
fn drop_idle(table: &mut HashTable<DirectedPath>, now: Timestamp) {
    // The table is cleared and filled again, because removing single entries would leave tombstones that let it grow.
    let busy: Vec<DirectedPath> = table.extract_if(|path| !path.path.is_idle(now)).collect();
    table.clear();
    for path in busy {
        table.insert_unique(hash(path.from, path.to), path, |path| hash(path.from, path.to));
    }
}

#[inline]
fn hash(from: HostId, to: HostId) -> u64 {
    mix(u64::from(from.0) << 32 | u64::from(to.0))
}
