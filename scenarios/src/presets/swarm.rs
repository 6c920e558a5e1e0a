//! Presets of all policies of a swarm. A scenario can override single fields of a preset:
//! `swarm: Petals(cache: "8 GiB")`.
//!
//! Fields that are left out of `Swarm(..)` take this program's defaults. Fields that are left out of `Petals(..)` take
//! the values of Petals, at any depth: `Petals(detection: Detection(missed: 5))` keeps Petals' timeouts. The canonical
//! text of a scenario has every field and no preset.
use crate::paths::{self, Parts, Path};
use crate::raw::{self, options};
use crate::schema::swarm::{
    Admission, Bans, Costs, Detection, Kademlia, Lifetime, Pings, Placement, Probe, Retry, Routing, Speeds, Swarm,
    Throughput,
};
use crate::schema::{Cache, Limit, Scenario};
use crate::units::{Rate, Time};
use actors::dht::Search;
use actors::message::Forwarding;
use actors::policy::{Prefill, Recovery, Scheduling};
use ron::error::SpannedError;
use std::ops::Range;

/// The name of the preset, written in place of `Swarm`.
const PETALS: &str = "Petals";

/// The policies of Petals 2.3.0.dev2 (bigscience-workshop/petals at 22afba6), on hivemind 1.1. File names are relative
/// to its `src/petals`.
pub fn petals() -> Swarm {
    let (ms, s) = (|ms: u64| Time(ms * 1_000_000), |s: u64| Time(s * 1_000_000_000));
    Swarm {
        // client/routing/sequence_manager.py: `make_sequence(mode="min_latency")`, `_build_inference_graph`
        routing: Routing::MinLatency,
        costs: Costs {
            overhead: ms(18),
            unknown_rtt: ms(150),
            longest_rtt: s(5),
            short_cache: s(10),
            unknown_rps: 300.0,
            // Petals' cost of a route has no load term, and MinLatency ignores this value.
            load: 1.0,
        },
        // client/config.py `max_pinged`; server/server.py `_ping_next_servers`; utils/ping.py `PingAggregator`. A
        // client pings only after a lookup.
        pings: Pings { fanout: 3, every: Time(0), next: 5, middle: 5, smoothing: 0.2, expiry: s(300) },
        // client/config.py `ban_timeout`; client/routing/sequence_manager.py doubles it with each ban
        // (`backoff_rate=2.0` of hivemind's `Blacklist`)
        bans: Bans { first: s(15), growth: 2.0 },
        // client/inference_session.py: servers push activations to the next server since 2023
        forwarding: Forwarding::Push,
        prefill: Prefill::Whole,
        // client/config.py `request_timeout`, `connect_timeout`. Petals has no heartbeat.
        detection: Detection { heartbeat: s(1), missed: 0, step_timeout: s(180), open_timeout: s(5) },
        recovery: Recovery::Replay,
        // client/config.py `min_backoff`, `max_backoff`, `max_retries`
        retry: Retry { limit: Limit::Off, first: s(1), most: s(60), jitter: 0.0 },
        // server/block_functions.py `MAX_SHORT_INFERENCE_TOKENS`: a step of up to 128 tokens passes all blocks of a
        // server as one task. The lower limit for NF4 weights and `max_chunk_size_bytes` are not modelled.
        scheduling: Scheduling::Split { whole: 128 },
        // Petals' runtime starts a task as soon as one is queued.
        batch_wait: Time(0),
        // server/handler.py `alloc_timeout`, which is 0 by default: a session without room is refused at once
        admission: Admission::Refuse,
        // server/server.py `step_timeout`, `session_timeout`
        lifetime: Lifetime { idle: s(300), longest: s(1800) },
        // server/throughput.py measures the speeds that a server announces.
        throughput: Throughput {
            speeds: Speeds::Measured {
                decode: Probe { tokens: 1, steps: 100, most: Time(0) },
                forward: Probe { tokens: 1024, steps: 10, most: Time(0) },
            },
            relayed: 0.2,
            unknown: Rate(100_000_000),
        },
        // hivemind's DHT; client/routing/sequence_manager.py `num_workers`, `update_period`; server/server.py
        // `update_period` (records expire after two periods)
        dht: Kademlia {
            k: 20,
            alpha: 3,
            parallel: 32,
            replicas: 5,
            search: Search::Latest,
            timeout: s(3),
            announce: s(60),
            expiry: s(120),
            refresh: s(60),
        },
        // cli/run_server.py `--mean_balance_check_period`, `--balance_quality`; `_choose_blocks` of server/server.py
        // waits before its lookup in the DHT
        placement: Placement { period: s(60), quality: 0.75, delay: s(5) },
        // server/server.py `attn_cache_tokens`
        cache: Cache::Tokens { full: 4096, grouped: 16_384 },
    }
}

/// Parses a scenario whose `swarm` may be a preset with overrides. Errors point at positions in `text`.
pub(crate) fn read(text: &str) -> Result<Scenario, SpannedError> {
    let Some(at) = preset(text) else { return options().from_str(text) };
    // The types accept only the name `Swarm`. The replacement has the same length, so that positions stay the same.
    let rest = &text[at.start + PETALS.len()..at.end];
    let plain = if rest.is_empty() { "()    ".to_owned() } else { format!("Swarm {rest}") };
    let mut scenario: Scenario = options().from_str(&paths::splice(text, at.clone(), &plain))?;
    let whole = raw::print(&petals()).map_err(|code| misplaced(code, text, &at))?;
    let over = overlaid(whole, &Path::root(), &text[at.clone()]);
    scenario.swarm = options().from_str(&over).map_err(|error| misplaced(error.code, text, &at))?;
    Ok(scenario)
}

/// Returns the byte range of the scenario's `swarm` if its value is a preset.
fn preset(text: &str) -> Option<Range<usize>> {
    // Most texts have no preset, and a sweep parses thousands of texts.
    if !text.contains(PETALS) {
        return None;
    }
    let at = paths::locate(text, &Path::dotted("swarm")).ok()?;
    (paths::name(&text[at.clone()]) == PETALS).then_some(at)
}

/// Returns the text `whole` in which the fields of `value` override the fields at `path`. All other fields of `whole`
/// are kept.
fn overlaid(whole: String, path: &Path, value: &str) -> String {
    let Ok(at) = paths::locate_in(&whole, path) else { return whole };
    let same = || {
        let (old, new) = (paths::name(&whole[at.clone()]), paths::name(value));
        new.is_empty() || new == old || path.is_root()
    };
    match (paths::open(&whole[at.clone()]), paths::open(value)) {
        (Parts::Fields(_), Parts::Fields(fields)) if same() => {
            let fields: Vec<_> = fields.into_iter().map(|(name, value)| (path.clone().then(name), value)).collect();
            fields.into_iter().fold(whole, |whole, (path, value)| overlaid(whole, &path, value.trim()))
        }
        _ if path.is_root() => whole,
        _ => paths::splice(&whole, at, value),
    }
}

/// Converts an error without a position into one at the place of the preset in the scenario's text.
fn misplaced(code: ron::Error, text: &str, at: &Range<usize>) -> SpannedError {
    let position = |at: usize| {
        let before = &text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ron::error::Position { line: before.matches('\n').count() + 1, col: before[line_start..].chars().count() + 1 }
    };
    SpannedError { code, span: ron::error::Span { start: position(at.start), end: position(at.end) } }
}

#[cfg(test)]
mod tests {
    use super::{petals, read};
    use crate::raw::print;
    use crate::schema::swarm::Swarm;
    use crate::schema::{Cache, Scenario};
    use crate::units::{Size, Time};

    fn scenario(swarm: &str) -> String {
        let text = crate::library::find("quickstart").expect("it is in the library");
        let at = crate::paths::locate(text, &crate::paths::Path::dotted("swarm")).expect("it has policies");
        crate::paths::splice(text, at, swarm)
    }

    fn swarm(written: &str) -> Swarm {
        read(&scenario(written)).unwrap_or_else(|error| panic!("{written}: {error}")).swarm
    }

    #[test]
    fn what_is_not_written_is_the_presets_however_deep() {
        assert_eq!(swarm("Petals"), petals());
        assert_eq!(swarm("Petals()"), petals());
        let mut wanted = petals();
        wanted.detection.missed = 7;
        wanted.dht.announce = Time(30_000_000_000);
        wanted.cache = Cache::Bytes(Size(1 << 20));
        wanted.prefill = actors::policy::Prefill::Chunked { tokens: 8 };
        let written = r#"Petals(
            detection: (missed: 7), // a comment
            dht: Kademlia(announce: "30 s"), cache: "1 MiB", prefill: Chunked(tokens: 8),
        )"#;
        assert_eq!(swarm(written), wanted);
        let mut half = petals();
        half.cache = Cache::Tokens { full: 1, grouped: 16_384 };
        assert_eq!(swarm("Petals(cache: Tokens(full: 1, grouped: 16384))"), half);
        assert_eq!(swarm("Swarm()"), Swarm::default());
        assert_ne!(petals(), Swarm::default());
    }

    #[test]
    fn the_canonical_text_has_the_presets_values() {
        let scenario = read(&scenario("Petals(recovery: Off)")).expect("it is whole");
        let text = print(&scenario).expect("it is printed");
        assert!(!text.contains("Petals("), "{text}");
        assert_eq!(Scenario::from_ron(&text).as_ref(), Ok(&scenario));
    }

    #[test]
    fn a_mistake_is_where_it_was_made() {
        let text = scenario("Petals(\n    detection: (mised: 7))");
        let error = read(&text).expect_err("there is no such field");
        let line = text.lines().position(|line| line.contains("mised")).expect("it is there") + 1;
        assert_eq!((error.span.end.line, error.code.to_string().contains("mised")), (line, true));
        assert!(read(&scenario("Petal()")).is_err());
    }
}
