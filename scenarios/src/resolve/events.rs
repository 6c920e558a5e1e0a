//! Resolves the events of a scenario into the faults of a plan: samples the random faults, then checks and orders all
//! of them.
use super::fault::{Fault, bounded};
use super::network;
use super::placed::Placed;
use crate::files::Files;
use crate::plan::{self, Node, Role, What, When};
use crate::schema::events::Due;
use crate::schema::{Going, Part, ScheduledFault};
use crate::units::Time;
use actors::id::HostId;
use actors::limits;
use actors::seed::Seed;
use actors::time::Duration;
use rand_distr::{Distribution as _, Geometric};
use std::collections::{BTreeMap, BTreeSet};

mod churn;

/// The largest factor by which a device or link may be slowed.
const FACTOR: f64 = 1e6;

/// The hosts and settings to which events can refer.
pub(super) struct Swarm<'a> {
    pub hosts: &'a [Placed<'a>],
    pub nodes: &'a [Node],
    pub seed: Seed,
    pub files: &'a Files,
}

/// A fault of the plan, and the index of the scenario's event that caused it.
struct Draft {
    fault: plan::Fault,
    event: usize,
}

/// Returns the faults of a plan, in the order of [`When::key`].
pub(super) fn resolve(events: &[ScheduledFault], swarm: &Swarm<'_>) -> Result<Vec<plan::Fault>, Fault> {
    let mut drafts = Vec::new();
    for (event, scheduled) in events.iter().enumerate() {
        let mut draft = |at: When, what: What| {
            drafts.push(Draft { fault: plan::Fault { at, what }, event });
            if drafts.len() > limits::FAULTS {
                let message = format!("the events give more than {} faults", limits::FAULTS);
                return Err(Fault::new(&format!("events.{event}"), message)
                    .help("let the events end earlier, or happen less often"));
            }
            Ok(())
        };
        swarm.expand(event, scheduled, &mut draft)?;
    }
    drafts.sort_by_key(|draft| draft.fault.at.key());
    swarm.consistent(&drafts)?;
    Ok(drafts.into_iter().map(|draft| draft.fault).collect())
}

type Keep<'k> = dyn FnMut(When, What) -> Result<(), Fault> + 'k;

impl Swarm<'_> {
    fn expand(&self, event: usize, scheduled: &ScheduledFault, keep: &mut Keep<'_>) -> Result<(), Fault> {
        let at = format!("events.{event}");
        match scheduled {
            ScheduledFault::Crash { on, at: when, back } => {
                let due = due(&at, when)?;
                for host in self.peers(&at, on)? {
                    self.crash(host, due, *back, keep)?;
                }
            }
            ScheduledFault::Restart { on, at: when } => {
                self.each(&at, on, when, |host| What::Restart { host }, keep)?
            }
            ScheduledFault::Leave { on, at: when } => self.each(&at, on, when, |host| What::Leave { host }, keep)?,
            ScheduledFault::Join { on, at: when } => self.each(&at, on, when, |host| What::Join { host }, keep)?,
            ScheduledFault::Stall { on, at: when, lasts } => {
                let (when, lasts) = (timed(&at, when)?, lasting(&at, *lasts)?);
                for host in self.hosts(&format!("{at}.on"), on)? {
                    keep(when, What::Stall { host, lasts })?;
                }
            }
            ScheduledFault::Degrade { what, by, at: when, lasts } => {
                let (when, lasts) = (timed(&at, when)?, lasting(&at, *lasts)?);
                if !(1.0..=FACTOR).contains(by) {
                    let message = format!("`by` is {by}, but must be from 1 to {FACTOR}");
                    return Err(Fault::new(&format!("{at}.by"), message));
                }
                self.degrade(&at, what, *by, lasts, &mut |what| keep(when, what))?;
            }
            ScheduledFault::Partition { groups, at: when, lasts } => {
                let (when, lasts) = (timed(&at, when)?, lasting(&at, *lasts)?);
                keep(when, What::Partition { groups: self.groups(&at, groups)?, lasts })?;
            }
            ScheduledFault::Churn { on, lives, until, by } => {
                let hosts = self.peers(&at, on)?;
                for away in churn::times(self, event, lives, &hosts, until.duration())? {
                    let host = away.host;
                    let goes = match by {
                        Going::Crash => What::Crash { host, back: None },
                        Going::Leave => What::Leave { host },
                    };
                    keep(When::Release(away.from), goes)?;
                    keep(When::Release(away.till), What::Restart { host })?;
                }
            }
            ScheduledFault::StepFailures { on, rate, back, most } => {
                bounded(&format!("{at}.most"), "most", *most, 1, limits::FAULTS as u32)?;
                let failure = Geometric::new(*rate).ok().filter(|_| *rate > 0.0);
                let failure = failure.ok_or_else(|| {
                    Fault::new(&format!("{at}.rate"), format!("rate is {rate}, but must be above 0 and at most 1"))
                })?;
                for host in self.peers(&at, on)? {
                    let mut stream = self.seed.stream("step failures", u64::from(host.0), event as u64);
                    for _ in 0..*most {
                        let count = failure.sample(&mut stream).saturating_add(1);
                        keep(When::Steps { host, count }, What::Crash { host, back: Some(back.duration()) })?;
                    }
                }
            }
        }
        Ok(())
    }

    fn each(
        &self,
        at: &str,
        on: &str,
        when: &crate::schema::When,
        what: impl Fn(HostId) -> What,
        keep: &mut Keep<'_>,
    ) -> Result<(), Fault> {
        let when = timed(at, when)?;
        self.peers(at, on)?.into_iter().try_for_each(|host| keep(when, what(host)))
    }

    fn crash(&self, host: HostId, due: Due, back: Option<Time>, keep: &mut Keep<'_>) -> Result<(), Fault> {
        let back = back.map(Time::duration);
        let (at, later): (When, fn(Duration) -> When) = match due {
            Due::Steps(count) => return keep(When::Steps { host, count }, What::Crash { host, back }),
            Due::Start(after) => (When::Start(after), When::Start),
            Due::Release(after) => (When::Release(after), When::Release),
        };
        keep(at, What::Crash { host, back: None })?;
        let (When::Start(after) | When::Release(after)) = at else { return Ok(()) };
        back.map_or(Ok(()), |back| keep(later(after + back), What::Restart { host }))
    }

    fn degrade(
        &self,
        at: &str,
        what: &Part,
        by: f64,
        lasts: Duration,
        keep: &mut dyn FnMut(What) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match what {
            Part::Device(on) => self
                .hosts(&format!("{at}.what.0"), on)?
                .into_iter()
                .try_for_each(|host| keep(What::SlowDevice { host, by, lasts })),
            Part::Link { from, to, both } => {
                let from = self.hosts(&format!("{at}.what.from"), from)?;
                let to = self.hosts(&format!("{at}.what.to"), to)?;
                keep(What::SlowLink { from: from.clone(), to: to.clone(), by, lasts })?;
                // If `from` and `to` are the same group, both directions are the same set of paths.
                if *both && from != to { keep(What::SlowLink { from: to, to: from, by, lasts }) } else { Ok(()) }
            }
        }
    }

    /// Returns the hosts of each group of a partition. No host may be in two groups.
    fn groups(&self, at: &str, groups: &[Vec<String>]) -> Result<Vec<Vec<HostId>>, Fault> {
        if groups.len() < 2 {
            let fault = Fault::new(&format!("{at}.groups"), "a partition needs at least two groups");
            return Err(fault.help("write for example groups: [[\"peer[0]\"], [\"peer[1]\", \"client\"]]"));
        }
        let mut seen = BTreeSet::<HostId>::new();
        let mut resolved = Vec::new();
        for (index, names) in groups.iter().enumerate() {
            let mut hosts = BTreeSet::new();
            for (part, name) in names.iter().enumerate() {
                let path = format!("{at}.groups.{index}.{part}");
                for host in self.hosts(&path, name)? {
                    hosts.insert(host);
                    if seen.contains(&host) {
                        let name = &self.hosts[host.0 as usize].host.name;
                        return Err(Fault::new(
                            &path,
                            format!("`{name}` is in two groups of the partition; name each host once"),
                        ));
                    }
                }
            }
            seen.extend(&hosts);
            resolved.push(hosts.into_iter().collect());
        }
        Ok(resolved)
    }

    fn hosts(&self, path: &str, name: &str) -> Result<Vec<HostId>, Fault> {
        network::hosts(path, name, self.hosts)
    }

    /// Returns the hosts that the field `on` of an event names. Each must hold a peer, because the requests of an
    /// absent client would never end.
    fn peers(&self, at: &str, on: &str) -> Result<Vec<HostId>, Fault> {
        let path = format!("{at}.on");
        let hosts = self.hosts(&path, on)?;
        let nodes = self.nodes.iter().filter(|node| matches!(node.role, Role::Peer { .. }));
        let peers: BTreeSet<HostId> = nodes.map(|node| node.host).collect();
        match hosts.iter().find(|host| !peers.contains(host)) {
            None => Ok(hosts),
            Some(other) => {
                let name = &self.hosts[other.0 as usize].host.name;
                let fault = Fault::new(
                    &path,
                    format!("`{name}` holds no peer, but only the hosts of peers can crash, leave, join or restart"),
                );
                Err(fault.help(
                    "name a host with peers; only stalls, partitions and slow devices or links can also affect clients",
                ))
            }
        }
    }

    /// Checks that hosts join once, restart only while they are absent, and crash or leave only while they are present.
    fn consistent(&self, drafts: &[Draft]) -> Result<(), Fault> {
        let is_join = |draft: &&Draft| matches!(draft.fault.what, What::Join { .. });
        let late: BTreeSet<HostId> =
            drafts.iter().filter(is_join).filter_map(|draft| draft.fault.what.host()).collect();
        // Whether each host is present after the faults so far. A host without an entry is present.
        let mut present: BTreeMap<HostId, bool> = late.iter().map(|host| (*host, false)).collect();
        let mut joined: BTreeSet<HostId> = BTreeSet::new();
        let mut timed: BTreeSet<HostId> = BTreeSet::new();
        for Draft { fault, event } in drafts {
            let Some(host) = fault.what.host() else { continue };
            let name = &self.hosts[host.0 as usize].host.name;
            let blame = |what: String, help: &str| Err(Fault::new(&format!("events.{event}"), what).help(help));
            let here = present.get(&host).copied().unwrap_or(true);
            let time = said(fault.at);
            match fault.what {
                What::Crash { .. } if matches!(fault.at, When::Steps { .. }) => {
                    if timed.contains(&host) || late.contains(&host) {
                        let what = format!(
                            "`{name}` crashes at a step in one event, and joins, leaves, crashes or restarts at a \
                             time in another"
                        );
                        return blame(
                            what,
                            "the order of the two events would be undefined; keep one of them, with `back`",
                        );
                    }
                    continue;
                }
                What::Crash { .. } | What::Leave { .. } if !here => {
                    let what = format!(
                        "`{name}` cannot {} {time}, because the host is absent then",
                        fault.what.kind().label()
                    );
                    let waits = late.contains(&host) && !joined.contains(&host);
                    return blame(
                        what,
                        if waits { "let the host join before" } else { "give the host a Restart before" },
                    );
                }
                What::Join { .. } if !joined.insert(host) => {
                    return blame(
                        format!("`{name}` joins twice, but a host can join only once"),
                        "to bring back a host that has crashed or left, use a Restart",
                    );
                }
                What::Restart { .. } if here => {
                    let what =
                        format!("`{name}` cannot restart {time}, because the host has not crashed or left before");
                    return blame(what, "give the host a Crash or a Leave before");
                }
                What::Restart { .. } if late.contains(&host) && !joined.contains(&host) => {
                    return blame(
                        format!("`{name}` cannot restart {time}, because the host has not joined yet"),
                        "use only a Join",
                    );
                }
                What::Crash { .. } | What::Leave { .. } => present.insert(host, false),
                What::Join { .. } | What::Restart { .. } => present.insert(host, true),
                _ => continue,
            };
            timed.insert(host);
        }
        Ok(())
    }
}

/// Checks that every block is served from the start, because otherwise no client could finish its warm-up.
pub(super) fn served(plan: &plan::Plan, events: &[ScheduledFault]) -> Result<(), Fault> {
    let late = plan.late_hosts();
    let Some(event) = events.iter().position(|event| matches!(event, ScheduledFault::Join { .. })) else {
        return Ok(());
    };
    let mut served = vec![false; plan.model.shape.layers as usize];
    for (_, node) in plan.peers().filter(|(_, node)| !late.contains(&node.host)) {
        if let Role::Peer { blocks, .. } = node.role {
            served[blocks.start as usize..blocks.end as usize].fill(true);
        }
    }
    match served.iter().position(|served| !served) {
        None => Ok(()),
        Some(block) => {
            let message = format!(
                "block {block} is served by no peer until this host joins, so no client could finish its warm-up"
            );
            Err(Fault::new(&format!("events.{event}.on"), message)
                .help("let another peer serve the block from the start"))
        }
    }
}

/// Formats a time for people.
fn said(at: When) -> String {
    match at {
        When::Start(after) => format!("{} after the start", Time(after.0)),
        When::Release(after) => format!("at {}", Time(after.0)),
        When::Steps { count, .. } => format!("at step {count}"),
    }
}

fn due(at: &str, when: &crate::schema::When) -> Result<Due, Fault> {
    let path = format!("{at}.at");
    when.resolve().map_err(|fault| Fault::delay(&path, when.text(), fault))
}

/// Resolves the time of an event that cannot happen at a step.
fn timed(at: &str, when: &crate::schema::When) -> Result<When, Fault> {
    match due(at, when)? {
        Due::Start(after) => Ok(When::Start(after)),
        Due::Release(after) => Ok(When::Release(after)),
        Due::Steps(_) => {
            let fault = Fault::new(&format!("{at}.at"), "only a crash can happen at a step");
            Err(fault.help("write a time after the start of the timed run, as in at: \"5 s\""))
        }
    }
}

fn lasting(at: &str, lasts: Time) -> Result<Duration, Fault> {
    if lasts.0 == 0 {
        return Err(Fault::new(&format!("{at}.for"), "the event lasts 0 s; give a duration above 0"));
    }
    Ok(lasts.duration())
}
