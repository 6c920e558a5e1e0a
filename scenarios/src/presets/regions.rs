//! Round trips between regions of the world.

/// A set of regions and the round trips between them in ms, from row to column. A 0 within a region means that the
/// round trip is unknown.
pub struct Regions {
    pub names: &'static [&'static str],
    rtt_ms: &'static [[u16; 11]],
}

/// Returns the set with this name.
pub fn regions(name: &str) -> Option<&'static Regions> {
    SETS.iter().find(|(known, _)| *known == name).map(|(_, regions)| regions)
}

/// The names of the sets.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    SETS.iter().map(|(name, _)| *name)
}

impl Regions {
    /// Every ordered pair of regions and its round trip in ms.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &'static str, u16)> {
        let row = |(from, row): (&&'static str, &'static [u16; 11])| {
            let from = *from;
            self.names.iter().zip(row).map(move |(to, rtt)| (from, *to, *rtt))
        };
        self.names.iter().zip(self.rtt_ms).flat_map(row)
    }
}

static SETS: [(&str, Regions); 1] = [("aws-2019", AWS_2019)];

/// Round trips between data centres of AWS, 2019, as published with the Wittgenstein simulator of consensus protocols
/// (github.com/ConsenSys/wittgenstein, Apache-2.0).
const AWS_2019: Regions = Regions {
    names: &[
        "Oregon",
        "Virginia",
        "Mumbai",
        "Seoul",
        "Singapore",
        "Sydney",
        "Tokyo",
        "Canada_central",
        "Frankfurt",
        "Ireland",
        "London",
    ],
    rtt_ms: &[
        [0, 81, 216, 126, 165, 138, 97, 64, 164, 131, 141],
        [81, 0, 182, 181, 232, 195, 167, 13, 88, 80, 75],
        [216, 182, 0, 152, 62, 223, 123, 194, 111, 122, 113],
        [126, 181, 152, 0, 97, 133, 35, 184, 259, 254, 264],
        [165, 232, 62, 97, 0, 169, 69, 218, 162, 174, 171],
        [138, 195, 223, 133, 169, 0, 105, 210, 282, 269, 271],
        [97, 167, 123, 35, 69, 105, 0, 156, 235, 222, 234],
        [64, 13, 194, 184, 218, 210, 156, 0, 101, 78, 87],
        [164, 88, 111, 259, 162, 282, 235, 101, 0, 24, 13],
        [131, 80, 122, 254, 174, 269, 222, 78, 24, 0, 12],
        [141, 75, 113, 264, 171, 271, 234, 87, 13, 12, 0],
    ],
};

#[cfg(test)]
mod tests {
    use super::SETS;
    use std::collections::BTreeMap;

    #[test]
    fn a_round_trip_is_the_same_from_both_ends() {
        for (_, set) in &SETS {
            assert_eq!(set.names.len(), set.rtt_ms.len());
            let pairs: BTreeMap<_, _> = set.pairs().map(|(from, to, rtt)| ((from, to), rtt)).collect();
            assert_eq!(pairs.len(), set.names.len() * set.names.len());
            assert!(pairs.iter().all(|((from, to), rtt)| pairs[&(*to, *from)] == *rtt && (*rtt == 0) == (from == to)));
        }
    }
}
