//! The state of a device: the weights of its host's nodes and the KV caches of their sessions. Executes the nodes'
//! jobs.
use super::blockwise;
use crate::wire;
use actors::id::{BlockRange, NodeId, RequestId, SessionId};
use actors::message::{Activation, Benchmark, Buffer, Ids, Output, Payload, Piece, Refusal, WireType, Work};
use candle_core::{DType, Storage, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use models::{Cache, EmbeddingAndHead, ModelError, Source};
use scenarios::plan::{Executor, Plan, Role, Tokens};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    #[error("the executor panicked: {0}")]
    Panic(String),
    #[error("the executor could not take a core lease: {0}")]
    Lease(String),
    #[error("{0} has not loaded the part of the model that the job needs")]
    NotLoaded(NodeId),
    #[error("the plan gives {0} no part of the model to load")]
    NothingToLoad(NodeId),
    #[error("the activation has no values, or their number does not match its shape")]
    NoValues,
    #[error("the device is not on this machine")]
    Elsewhere,
}

impl Fault {
    /// Returns the reason that is sent to the node that submitted the failed job.
    pub fn refusal(&self) -> Refusal {
        match self {
            Fault::Model(ModelError::Overflow(what)) => Refusal::NotFinite(*what),
            _ => Refusal::DeviceFailed,
        }
    }
}

/// The state of one device: its loaded blocks, embeddings and heads, and KV caches.
pub struct Bench {
    plan: Arc<Plan>,
    executor: Executor,
    /// The candle device and the weight source, both opened by the first load.
    opened: Option<(candle_core::Device, Source)>,
    spans: BTreeMap<NodeId, models::BlockSpan>,
    ends: BTreeMap<NodeId, EmbeddingAndHead>,
    caches: BTreeMap<(NodeId, SessionId), Cache>,
    /// The KV caches that peers use for their self-benchmarks, by peer.
    trials: BTreeMap<NodeId, Cache>,
    scores: Option<Vec<(u32, f32)>>,
}

impl Bench {
    /// Creates a device with nothing loaded.
    pub fn new(plan: Arc<Plan>, executor: Executor) -> Bench {
        let (spans, ends, caches) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Bench { plan, executor, opened: None, spans, ends, caches, trials: BTreeMap::new(), scores: None }
    }

    /// Drops a session's KV cache, if there is one.
    pub fn release(&mut self, node: NodeId, session: SessionId) {
        self.caches.remove(&(node, session));
    }

    /// Executes a job of `node`.
    ///
    /// # Errors
    /// If the node has not loaded what the job needs, an activation's values are missing, or the computation fails.
    pub fn execute(&mut self, node: NodeId, work: Work) -> Result<Output, Fault> {
        match work {
            Work::Load { blocks } => self.load(node, blocks).map(|()| Output::Loaded),
            Work::Embed { batch, tokens, position, ids } => self.embed(node, batch, tokens, position, &ids),
            Work::Blocks(piece) => {
                let mut outputs = self.blocks(node, &[piece])?;
                outputs.pop().map(Output::Hidden).ok_or(Fault::NoValues)
            }
            Work::Batch(pieces) => self.blocks(node, &pieces).map(Output::Batch),
            Work::Head { request, output, input } => {
                let x = self.tensor(&input)?;
                let ends = self.ends.get(&node).ok_or(Fault::NotLoaded(node))?;
                let logits = ends.logits(&x)?;
                let tokens = self.choose(&logits, request, output)?;
                Ok(Output::Tokens(Some(Arc::new(tokens))))
            }
            Work::Benchmark { block, benchmark } => {
                self.benchmark_step(node, block, benchmark).map(|()| Output::Benchmarked)
            }
            Work::Release { session } => {
                self.release(node, session);
                Ok(Output::Tokens(None))
            }
        }
    }

    /// Chooses a token for each row of `logits`, `[batch, vocab]`, with the plan's sampling. A random choice depends
    /// only on the plan's seed, on the request and on `output`, the token's number in the request, not on earlier
    /// choices.
    fn choose(&mut self, logits: &Tensor, request: RequestId, output: u32) -> Result<Vec<u32>, Fault> {
        let Tokens { sampling, scores, .. } = &self.plan.tokens;
        if *scores == 0 && sampling.temperature == 0.0 {
            return Ok(models::greedy(logits)?);
        }
        let rows = logits.to_vec2::<f32>()?;
        if *scores > 0 {
            self.scores = rows.first().map(|row| models::best_scores(row, *scores as usize));
        }
        // The random stream depends on the client's index among the clients, not on its node id, so that more peers do
        // not change a text.
        let client = self.plan.clients().position(|(node, _)| node == request.client).unwrap_or(0);
        let whose = (client as u64) << 32 | u64::from(request.index);
        let mut stream = self.plan.seed.stream("sampling", whose, u64::from(output));
        Ok(rows.iter().map(|row| models::choose(sampling, row, &mut stream)).collect::<Result<_, _>>()?)
    }

    /// Returns a node's name for log and error messages.
    pub fn called(&self, node: NodeId) -> String {
        self.plan.called(node)
    }

    /// Takes the highest scores of the last choice of a token. Returns `None` if the plan does not ask for scores, or
    /// if they were already taken.
    pub fn take_scores(&mut self) -> Option<Vec<(u32, f32)>> {
        self.scores.take()
    }

    /// Runs steps of different sessions through the same blocks in one pass.
    fn blocks(&mut self, node: NodeId, pieces: &[Piece]) -> Result<Vec<Activation>, Fault> {
        let Some(blocks) = pieces.first().map(|piece| piece.blocks) else { return Ok(Vec::new()) };
        let inputs = pieces.iter().map(|piece| self.tensor(&piece.input)).collect::<Result<Vec<_>, _>>()?;
        let span = self.spans.get(&node).ok_or(Fault::NotLoaded(node))?;
        // The caches leave the map so that all of them can be borrowed mutably at once; they return to the map even
        // after an error.
        let mut caches = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let cache = match self.caches.remove(&(node, piece.session)) {
                Some(cache) => Ok(cache),
                None => span.cache(piece.held, usize::from(piece.input.batch), piece.max_length as usize),
            };
            caches.push(cache);
        }
        let outputs = if caches.iter().all(Result::is_ok) {
            let parts = caches.iter_mut().flatten().zip(pieces).zip(&inputs);
            let part =
                |((cache, piece), x): ((_, &Piece), _)| models::Part { cache, position: piece.position as usize, x };
            span.forward_batch(blocks, &mut parts.map(part).collect::<Vec<_>>())
        } else {
            Ok(Vec::new())
        };
        let mut fault = None;
        for (piece, cache) in pieces.iter().zip(caches) {
            match cache {
                Ok(cache) => _ = self.caches.insert((node, piece.session), cache),
                Err(why) => fault = Some(why),
            }
        }
        if let Some(why) = fault {
            return Err(why.into());
        }
        pieces.iter().zip(outputs?).map(|(piece, y)| activation(&y, &piece.input)).collect()
    }

    /// Runs one step of a self-benchmark. Its input is constant, since the values do not affect the duration.
    fn benchmark_step(&mut self, node: NodeId, block: u32, benchmark: Benchmark) -> Result<(), Fault> {
        let (device, _) = self.opened.as_ref().ok_or(Fault::NotLoaded(node))?;
        let shape = (1, benchmark.tokens as usize, self.plan.model.shape.hidden as usize);
        let x = Tensor::full(0.01f32, shape, device)?;
        let span = self.spans.get(&node).ok_or(Fault::NotLoaded(node))?;
        let mut cache = match self.trials.remove(&node).filter(|_| benchmark.position > 0) {
            Some(cache) => cache,
            None => span.cache(BlockRange { start: block, end: block + 1 }, 1, benchmark.max_length as usize)?,
        };
        let y = span.forward(&mut cache, benchmark.position as usize, &x)?;
        // A GPU computes asynchronously; copying values to the host's memory waits until it has finished the step.
        y.narrow(1, 0, 1)?.flatten_all()?.to_vec1::<f32>()?;
        if benchmark.position + benchmark.tokens < benchmark.max_length {
            self.trials.insert(node, cache);
        }
        Ok(())
    }

    fn load(&mut self, node: NodeId, blocks: Option<BlockRange>) -> Result<(), Fault> {
        let plan = self.plan.clone();
        if self.opened.is_none() {
            self.opened = Some((open(&self.executor)?, Source::open(&plan.model)?));
        }
        let (device, source) = self.opened.as_ref().ok_or(Fault::NotLoaded(node))?;
        match (plan.nodes.get(node.0 as usize).map(|node| &node.role), blocks) {
            (Some(Role::Peer { .. }), Some(blocks)) => {
                // The node's old blocks are dropped first, to free memory for the new ones.
                self.spans.remove(&node);
                self.caches.retain(|(owner, _), _| *owner != node);
                self.spans.insert(node, models::BlockSpan::load(source, blocks, plan.model.block_type, device)?);
            }
            (Some(Role::Client), None) => {
                self.ends.insert(node, EmbeddingAndHead::load(source, plan.model.client_type, device)?);
            }
            _ => return Err(Fault::NothingToLoad(node)),
        }
        Ok(())
    }

    fn embed(&self, node: NodeId, batch: u16, tokens: u32, position: u32, ids: &Ids) -> Result<Output, Fault> {
        let ends = self.ends.get(&node).ok_or(Fault::NotLoaded(node))?;
        let ids = ids.as_ref().ok_or(Fault::NoValues)?;
        let x = ends.embed(ids, usize::from(batch), position as usize)?;
        let hidden = u16::try_from(self.plan.model.shape.hidden).map_err(|_| Fault::NoValues)?;
        let like = Activation { tokens, batch, hidden, dtype: self.plan.model.wire, data: None };
        Ok(Output::Hidden(activation(&x, &like)?))
    }

    /// Converts an activation to a tensor on this device, `[batch, tokens, hidden]` in f32.
    fn tensor(&self, input: &Activation) -> Result<Tensor, Fault> {
        let (device, _) = self.opened.as_ref().ok_or(Fault::NoValues)?;
        let Some(Payload::Buffer(buffer)) = input.data.as_deref() else { return Err(Fault::NoValues) };
        if buffer.len() as u64 != input.bytes() {
            return Err(Fault::NoValues);
        }
        let shape = (usize::from(input.batch), input.tokens as usize, usize::from(input.hidden));
        let count = shape.0 * shape.1 * shape.2;
        let words = buffer.words();
        let tensor = match input.dtype {
            WireType::F32 => Tensor::from_slice(&bytemuck::cast_slice::<u64, f32>(words)[..count], shape, device)?,
            WireType::F16 => {
                let values = &bytemuck::cast_slice::<u64, f16>(words)[..count];
                Tensor::from_vec(values.to_f32_vec(), shape, device)?
            }
            WireType::Int8 { block } => {
                let bytes = wire::bytes_of(buffer);
                Tensor::from_vec(blockwise::unpack(bytes, count, shape.2, block.max(1).into()), shape, device)?
            }
            WireType::Bf16 => {
                let values = &bytemuck::cast_slice::<u64, bf16>(words)[..count];
                Tensor::from_vec(values.to_f32_vec(), shape, device)?
            }
        };
        Ok(tensor)
    }
}

fn open(executor: &Executor) -> Result<candle_core::Device, Fault> {
    match *executor {
        Executor::Cpu { .. } => Ok(candle_core::Device::Cpu),
        Executor::Cuda { ordinal } => Ok(candle_core::Device::new_cuda(ordinal as usize)?),
        Executor::Elsewhere => Err(Fault::Elsewhere),
    }
}

/// Converts an f32 tensor to an activation with the size and type of `like`.
fn activation(tensor: &Tensor, like: &Activation) -> Result<Activation, Fault> {
    let mut buffer = Buffer::zeroed(like.bytes() as usize);
    let tensor = tensor.to_dtype(DType::F32)?.contiguous()?;
    let count = tensor.elem_count();
    if count != like.rows() * usize::from(like.hidden) {
        return Err(Fault::NoValues);
    }
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(cpu), Some((start, end))) => write(&mut buffer, &cpu.as_slice::<f32>()?[start..end], like),
        _ => {
            drop(storage);
            write(&mut buffer, &tensor.flatten_all()?.to_vec1::<f32>()?, like);
        }
    }
    Ok(Activation { data: Some(Arc::new(Payload::Buffer(buffer))), ..like.clone() })
}

fn write(buffer: &mut Buffer, values: &[f32], like: &Activation) {
    match like.dtype {
        WireType::Int8 { block } => {
            blockwise::pack(values, like.hidden.into(), block.max(1).into(), wire::bytes_of_mut(buffer));
        }
        WireType::F32 => wire::bytes_of_mut(buffer).copy_from_slice(bytemuck::cast_slice(values)),
        WireType::F16 => {
            bytemuck::cast_slice_mut::<u64, f16>(buffer.words_mut())[..values.len()].convert_from_f32_slice(values);
        }
        WireType::Bf16 => {
            bytemuck::cast_slice_mut::<u64, bf16>(buffer.words_mut())[..values.len()].convert_from_f32_slice(values);
        }
    }
}
