//! Max-min fair rates: the rates that many TCP flows over common bottlenecks approach in the long run.
//!
//! An allocation of rates is max-min fair if no flow's rate can be raised without lowering the rate of a flow that has
//! no higher rate. The allocation is unique, and the water-filling algorithm finds it: the rates of all flows grow
//! equally until a resource is fully used. The flows through this resource keep their rate, and the others continue to
//! grow (Bertsekas and Gallager, Data Networks, section 6.5.2).

/// Marks an unused entry among the three resources of a flow.
pub const NONE: u32 = u32::MAX;

/// Returns the max-min fair rate of each flow, in the unit of `capacities`. A flow is given by the resources that it
/// crosses, as indices of `capacities`. A flow that crosses no resource has an infinite rate.
pub fn max_min(capacities: &[f64], flows: &[[u32; 3]]) -> Vec<f64> {
    let mut rates = vec![f64::INFINITY; flows.len()];
    let mut left = capacities.to_vec();
    let mut sharers = vec![0u32; capacities.len()];
    let used = |flow: &[u32; 3]| {
        flow.iter().filter(|&&resource| resource != NONE).map(|&resource| resource as usize).collect::<Vec<_>>()
    };
    let mut growing: Vec<usize> = Vec::new();
    for (index, flow) in flows.iter().enumerate() {
        let resources = used(flow);
        if !resources.is_empty() {
            growing.push(index);
        }
        resources.into_iter().for_each(|resource| sharers[resource] += 1);
    }
    while !growing.is_empty() {
        let share = |resource: &usize| left[*resource] / f64::from(sharers[*resource]);
        let shared = (0..left.len()).filter(|resource| sharers[*resource] > 0);
        let Some(full) = shared.min_by(|a, b| share(a).total_cmp(&share(b))) else { break };
        let rate = share(&full).max(0.0);
        growing.retain(|&index| {
            let resources = used(&flows[index]);
            let stays = resources.contains(&full);
            if stays {
                rates[index] = rate;
                for resource in resources {
                    left[resource] -= rate;
                    sharers[resource] -= 1;
                }
            }
            !stays
        });
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::{NONE, max_min};
    use proptest::prelude::{Strategy, prop_assert, proptest};

    /// Computes max-min fair rates in a second way, by raising all growing flows in small increments of `drop`.
    fn drop_by_drop(capacities: &[f64], flows: &[[u32; 3]], drop: f64) -> Vec<f64> {
        let mut rates = vec![0.0; flows.len()];
        let mut left = capacities.to_vec();
        let mut growing: Vec<usize> = (0..flows.len()).collect();
        while !growing.is_empty() {
            growing.retain(|&flow| {
                let resources = || flows[flow].iter().filter(|&&resource| resource != NONE);
                let room = resources().all(|&resource| left[resource as usize] >= drop);
                if room {
                    rates[flow] += drop;
                    resources().for_each(|&resource| left[resource as usize] -= drop);
                }
                room
            });
        }
        rates
    }

    /// Generates resources, and flows that each cross one to three different resources.
    fn network() -> impl Strategy<Value = (Vec<f64>, Vec<[u32; 3]>)> {
        (2..6usize).prop_flat_map(|count| {
            let most = count as u32;
            let flow = (0..most, 0..2 * most, 0..2 * most).prop_map(move |(a, b, c)| {
                let b = if b < most && b != a { b } else { NONE };
                let c = if c < most && c != a && c != b { c } else { NONE };
                [a, b, c]
            });
            (proptest::collection::vec(1.0..100.0f64, count), proptest::collection::vec(flow, 1..12))
        })
    }

    proptest! {
        #[test]
        fn no_drop_of_water_is_elsewhere((capacities, flows) in network()) {
            const DROP: f64 = 0.001;
            let (rates, filled) = (max_min(&capacities, &flows), drop_by_drop(&capacities, &flows, DROP));
            for (flow, (rate, filled)) in rates.iter().zip(&filled).enumerate() {
                prop_assert!((rate - filled).abs() < 0.03, "flow {flow}: {rate}, by drops {filled}");
            }
        }

        #[test]
        fn every_flow_has_a_full_resource_where_none_is_faster((capacities, flows) in network()) {
            let rates = max_min(&capacities, &flows);
            let through = |resource: u32| rates.iter().zip(&flows).filter(move |(_, flow)| flow.contains(&resource)).map(|(rate, _)| *rate);
            for (resource, capacity) in (0u32..).zip(&capacities) {
                prop_assert!(through(resource).sum::<f64>() <= capacity * (1.0 + 1e-9));
            }
            for (rate, flow) in rates.iter().zip(&flows) {
                let bottleneck = flow.iter().filter(|&&resource| resource != NONE).any(|&resource| {
                    let full = through(resource).sum::<f64>() >= capacities[resource as usize] * (1.0 - 1e-9);
                    full && through(resource).all(|other| other <= rate * (1.0 + 1e-9))
                });
                prop_assert!(bottleneck, "a flow at {rate} could have more");
            }
        }
    }

    #[test]
    fn a_flow_that_crosses_nothing_has_no_limit() {
        assert_eq!(max_min(&[10.0], &[[NONE; 3], [0, NONE, NONE]]), [f64::INFINITY, 10.0]);
    }
}
