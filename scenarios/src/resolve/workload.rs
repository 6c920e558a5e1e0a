//! Resolves the workload of a scenario, in any of its forms, into explicit requests.
mod process;
mod trace;

use super::WARM_UP;
use super::fault::{Fault, bounded};
use super::model;
use super::placed::Placed;
use super::swarm::peer_on;
use crate::files::trace::Place;
use crate::files::{Files, TableError};
use crate::plan::{self, Arrival, Node, Open, Role};
use crate::schema::{Lengths, Scenario, Swarm, Workload};
use crate::shape::Arch;
use actors::id::NodeId;
use actors::limits;
use actors::policy::{Prefill, Recovery};
use actors::seed::Seed;
use actors::time::Duration;
use std::collections::BTreeMap;

/// A request of an open-loop workload whose client has a number but no node id yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    at: Duration,
    prompt: u32,
    generate: u32,
    /// The number of the client, counted from 0.
    client: u32,
    /// The route as names of hosts.
    route: Vec<String>,
    /// The position of the request in the file that it was read from, if any.
    place: Place,
}

/// A resolved workload that contains no node ids yet.
pub(super) struct Asked {
    pub workload: plan::Workload,
    pub open: Option<Coming>,
}

/// The requests of an open-loop workload that contain no node ids yet.
pub(super) struct Coming {
    wanted: Vec<Wanted>,
    horizon: Duration,
    in_flight: u32,
    /// The name of the trace file, if the requests were read from one.
    file: Option<String>,
}

impl Coming {
    /// Replaces numbers of clients and names of hosts by node ids.
    pub fn seated(self, hosts: &[Placed<'_>], nodes: &[Node]) -> Result<Open, Fault> {
        let clients: Vec<NodeId> =
            (0..).map(NodeId).zip(nodes).filter(|(_, node)| node.role == Role::Client).map(|(id, _)| id).collect();
        let mut known: BTreeMap<String, NodeId> = BTreeMap::new();
        let mut peer = |name: String| match known.get(&name) {
            Some(id) => Ok(*id),
            None => {
                let id = peer_on("workload.file", &name, hosts, nodes)?;
                known.insert(name, id);
                Ok(id)
            }
        };
        let mut arrivals = Vec::with_capacity(self.wanted.len());
        for Wanted { at, prompt, generate, client, route, place } in self.wanted {
            let route = route.into_iter().map(&mut peer).collect::<Result<_, Fault>>();
            let route = route.map_err(|fault| match &self.file {
                Some(file) => {
                    let error = TableError::at(file, place.line, place.route, fault.message);
                    Fault { help: fault.help, ..Fault::table("workload.file", error) }
                }
                None => fault,
            })?;
            arrivals.push(Arrival { client: clients[client as usize], at, prompt, generate, route });
        }
        Ok(Open { arrivals, horizon: self.horizon, in_flight: self.in_flight })
    }
}

pub(super) fn resolve(scenario: &Scenario, model: &plan::Model, seed: Seed, files: &Files) -> Result<Asked, Fault> {
    let workload = &scenario.workload;
    bounded("workload.clients", "clients", workload.clients(), 1, limits::NODES as u32)?;
    let asked = match workload {
        &Workload::Closed { micro_batches, batch, prompt, generate, .. } => {
            bounded("workload.micro_batches", "micro_batches", micro_batches, 1, limits::REQUESTS_PER_CLIENT - 1)?;
            bounded("workload.prompt", "prompt", prompt, 1, limits::TOKENS_PER_REQUEST)?;
            bounded("workload.generate", "generate", generate, 0, limits::TOKENS_PER_REQUEST - prompt)?;
            Asked { workload: plan::Workload { micro_batches, batch, prompt, generate }, open: None }
        }
        Workload::Open { batch, longest, in_flight, .. } => {
            let (wanted, horizon) = process::arrivals(workload, seed, files)?;
            open(Coming { wanted, horizon, in_flight: *in_flight, file: None }, *batch, *longest)?
        }
        Workload::Trace { batch, longest, in_flight, file, .. } => {
            let (wanted, horizon) = trace::arrivals(workload, files)?;
            open(Coming { wanted, horizon, in_flight: *in_flight, file: Some(file.clone()) }, *batch, *longest)?
        }
    };
    bounded("workload.batch", "batch", asked.workload.batch, 1, limits::BATCH)?;
    bounded("workload.clients", "clients", workload.clients(), 1, limits::NODES as u32)?;
    fits(scenario, model, &asked)?;
    Ok(asked)
}

fn open(mut coming: Coming, batch: u32, longest: Option<u32>) -> Result<Asked, Fault> {
    let Coming { wanted, in_flight, file, .. } = &mut coming;
    let in_flight = *in_flight;
    bounded("workload.in_flight", "in_flight", in_flight, 1, limits::SESSIONS_PER_PEER as u32)?;
    if wanted.is_empty() {
        return Err(match file {
            Some(file) => Fault::new("workload.file", format!("{file}: the selected part of the trace has no request"))
                .help("select another part with `skip` and `duration`, or give the `columns` of another format"),
            None => Fault::new("workload", "no request arrives during the workload")
                .help("give the workload a longer duration, or a higher rate"),
        });
    }
    if let Some(longest) = longest {
        bounded("workload.longest", "longest", longest, 1 + WARM_UP, limits::TOKENS_PER_REQUEST)?;
        for request in wanted.iter_mut() {
            request.generate = request.generate.min(longest - 1);
            request.prompt = request.prompt.min(longest - request.generate.max(WARM_UP));
        }
    }
    for request in wanted.iter() {
        if request.prompt == 0
            || u64::from(request.prompt) + u64::from(request.generate) > u64::from(limits::TOKENS_PER_REQUEST)
        {
            let message = format!(
                "the request has {} prompt tokens and generates {}, but it needs at least one prompt token, and both \
                 are at most {} together",
                request.prompt,
                request.generate,
                limits::TOKENS_PER_REQUEST
            );
            return Err(match file {
                Some(file) => {
                    let Place { line, prompt, .. } = request.place;
                    Fault::table("workload.file", TableError::at(file, line, prompt, message))
                }
                None => Fault::new("workload", message),
            });
        }
    }
    let most = |of: fn(&Wanted) -> u32| wanted.iter().map(of).max().unwrap_or(1);
    let workload =
        plan::Workload { micro_batches: 0, batch, prompt: most(|one| one.prompt), generate: most(|one| one.generate) };
    Ok(Asked { workload, open: Some(coming) })
}

/// Checks that the longest request fits the model's positions, and that its messages fit a frame.
fn fits(scenario: &Scenario, model: &plan::Model, asked: &Asked) -> Result<(), Fault> {
    let plan::Workload { batch, prompt, generate, .. } = asked.workload;
    // The limit is that of the model in the scenario, even if the model runs as another family.
    let shape = model::shape(&scenario.model.shape)?;
    let closed = asked.open.is_none();
    let positions = match &asked.open {
        None => prompt + generate.max(WARM_UP),
        Some(open) => open.wanted.iter().map(|one| one.prompt + one.generate.max(WARM_UP)).max().unwrap_or(0),
    };
    if model.shape.arch == Arch::Opt && positions > shape.max_positions {
        let needs = if closed {
            format!("`prompt` of {prompt} and `generate` of {generate} need {positions}")
        } else {
            format!("the longest request needs {positions}")
        };
        let message = format!("{needs} positions, but the model has only {} learned positions", shape.max_positions);
        let alone = prompt + WARM_UP > shape.max_positions;
        let path = match (closed, alone) {
            (false, _) => "workload",
            (true, true) => "workload.prompt",
            (true, false) => "workload.generate",
        };
        let fault = Fault::new(path, message);
        return Err(if closed {
            fault
        } else {
            fault.help(format!("cut the requests: `longest: {}`", shape.max_positions))
        });
    }
    let (tokens, what) = longest_step(&scenario.swarm, prompt, positions);
    let frame = |tokens: u32| u64::from(batch) * u64::from(tokens) * model.wire.row_bytes(model.shape.hidden as u16);
    if frame(tokens) > limits::FRAME_TENSOR_BYTES as u64 {
        let message = format!("{what} of {tokens} tokens in {batch} rows gives a message of {} bytes", frame(tokens));
        let most = limits::FRAME_TENSOR_BYTES;
        let help = match u32::try_from(most as u64 / frame(1).max(1)).unwrap_or(u32::MAX) {
            0 => format!("a message may have at most {most} bytes; lower the batch"),
            _ if scenario.swarm.recovery == Recovery::Cacheless => {
                format!(
                    "a message may have at most {most} bytes; lower the tokens or the batch, or let peers keep KV \
                     caches (`swarm.recovery: Replay`)"
                )
            }
            fit => format!(
                "a message may have at most {most} bytes; lower the tokens or the batch, or set `swarm.prefill: \
                 Chunked(tokens: {})`",
                fit.min(512)
            ),
        };
        return Err(Fault::new(if closed { "workload.prompt" } else { "workload" }, message).help(help));
    }
    Ok(())
}

/// Returns the largest number of tokens per row that one step carries, and a description of these tokens. Steps that
/// restore a request on a replacement peer do not count: if such a step would be larger than a frame, the request
/// restarts instead.
fn longest_step(swarm: &Swarm, prompt: u32, positions: u32) -> (u32, &'static str) {
    match (swarm.recovery, swarm.prefill) {
        (Recovery::Cacheless, _) => (positions, "a prompt with its answer"),
        (_, Prefill::Whole) => (prompt, "a prompt"),
        (_, chunked @ Prefill::Chunked { .. }) => (chunked.next(prompt), "a chunk of a prompt"),
    }
}

/// Checks that a plan may hold `count` requests.
fn few_enough(path: &str, count: usize) -> Result<(), Fault> {
    if count <= limits::ARRIVALS {
        return Ok(());
    }
    let fault =
        Fault::new(path, format!("the workload has more than {} requests, which is the limit", limits::ARRIVALS));
    Err(fault.help("give the workload a shorter duration, or fewer requests"))
}

fn length_of(path: &str, lengths: &Lengths, files: &Files) -> Result<crate::schema::lengths::Drawn, Fault> {
    lengths.resolve(files).map_err(|fault| Fault::delay(path, lengths.text(), fault))
}
