//! One request in flight at a client: its progress, and the times of its current step.
//!
//! A request is a state machine of its own. It acts through effects, and reports when it is over. The client decides
//! which requests exist and when the next one begins. The module [`super::recovery`] contains the recovery from failed
//! peers.
use super::context::RequestContext;
use super::hop_session::{HopSession, State};
use super::peer_trouble::PeerTrouble;
use super::times::{StepCost, Times};
use crate::canary::{Canary, planted};
use crate::id::{NodeId, RequestId, SessionId};
use crate::message::{
    Activation, Close, Computed, Failure, Hop, Ids, Job, Message, Open, Output, Refusal, Returned, Step, Ticket, Work,
};
use crate::policy::Recovery;
use crate::record::{Ended, Event, Stepped};
use crate::time::{Duration, Timestamp};
use crate::world::Effect;
use std::sync::Arc;

/// The size of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The number of rows (token sequences) that are generated together.
    pub batch: u16,
    /// The number of prompt tokens in each row.
    pub prompt: u32,
    /// The number of tokens to generate for each row. With 0, the request ends when its prefill returns.
    pub generate: u32,
}

impl Asked {
    /// Returns the number of tokens for which the request needs room in the KV cache of each of its peers: its rows
    /// times the length of a row, generated tokens included.
    pub fn cache_tokens(&self) -> u64 {
        u64::from(self.batch) * (u64::from(self.prompt) + u64::from(self.generate))
    }
}

/// The state of one request in flight.
pub(super) struct Request {
    pub spec: RequestSpec,
    pub(super) phase: Phase,
    pub(super) hop_sessions: Vec<HopSession>,
    /// The session of the first hop at the time when the current route was chosen. It identifies the attempt.
    attempt: SessionId,
    /// The number of hop sessions that the request has created so far, over all of its routes.
    counted: u32,
    /// The number of jobs given to the client's device so far.
    jobs: u32,
    pub(super) tokens: Tokens,
    pub(super) awaited: Awaited,
    pub(super) failure: Option<Box<PeerTrouble>>,
    pub(super) times: Times,
}

/// The part of a request that is known when it begins.
pub(super) struct RequestSpec {
    pub id: RequestId,
    pub asked: Asked,
    /// The time at which the request was due.
    pub intended: Timestamp,
    /// The time at which the client began the request. It is later than `intended` if the client was late.
    pub sent: Timestamp,
    pub deadline: Timestamp,
}

/// The tokens of a request: how many of each row have been computed, and their ids.
#[derive(Default)]
pub(super) struct Tokens {
    /// The number of tokens of each row that the peers' KV caches hold. The tokens of the current step follow these.
    pub position: u32,
    /// The number of tokens of each row generated since the request's last restart. After a restart, it is less than
    /// `generated` until the request has generated all earlier tokens again.
    pub made: u32,
    /// The number of tokens of each row that the request has generated. A token that is generated again after a restart
    /// counts once.
    pub generated: u32,
    /// The token ids of the prompt, while a chunk of the prompt is still to be sent. Always `None` in a run that
    /// computes no values.
    prompt: Ids,
    /// The token ids generated for row 0. Empty in a run that computes no values.
    output: Vec<u32>,
}

/// The last message (`Open`, step or `Reroute`) that was sent to a peer for this request and is not answered yet.
pub(super) struct Awaited {
    /// The time at which the client sent the message.
    pub since: Timestamp,
    /// The number of bytes of hidden states that a peer has to receive because of the message; 0 for an `Open`.
    pub bytes: u64,
}

/// The phase of a request, named after what the request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The request waits for a lookup, or for peers that cover all blocks.
    Finding,
    /// The request waits for the session of this hop.
    Opening(usize),
    /// The request waits for the embedding of its next step, computed by this job.
    Embedding(Ticket),
    /// The step is at the peer of this hop. With `Forwarding::Push`, the step may also be at any later hop.
    Away(usize),
    /// The request waits for its next token: this job computes the LM head.
    Heading(Ticket),
}

/// Whether a request continues or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Progress {
    Going,
    Over(Result<(), Failure>),
}

use Progress::{Going, Over};

impl Request {
    pub fn new(id: RequestId, asked: Asked, intended: Timestamp, now: Timestamp, deadline: Timestamp) -> Request {
        Request {
            spec: RequestSpec { id, asked, intended, sent: now, deadline },
            phase: Phase::Finding,
            hop_sessions: Vec::new(),
            attempt: SessionId::new(id, 0),
            counted: 0,
            jobs: 0,
            tokens: Tokens::default(),
            awaited: Awaited { since: now, bytes: 0 },
            failure: None,
            times: Times::begin(now),
        }
    }

    pub fn is_finding(&self) -> bool {
        self.phase == Phase::Finding
    }

    /// Returns the index of the hop with this session. Returns `None` if the session is not part of the current route,
    /// for example if a late answer names an earlier session.
    pub(super) fn hop_session(&self, session: SessionId) -> Option<usize> {
        self.hop_sessions.iter().position(|hop_session| hop_session.session == session)
    }

    /// Returns the index of the hop with this session if `peer` serves that hop. A peer cannot answer for another peer.
    pub(super) fn hop_session_of(&self, peer: NodeId, session: SessionId) -> Option<usize> {
        self.hop_session(session).filter(|hop_session| self.hop_sessions[*hop_session].hop.peer == peer)
    }

    /// Whether the request has asked `peer` for this session and still waits for it.
    pub fn awaits(&self, peer: NodeId, session: SessionId) -> bool {
        self.hop_session_of(peer, session)
            .is_some_and(|hop_session| self.hop_sessions[hop_session].state == State::Asked)
    }

    /// Handles the result of the request's first lookup: chooses a route.
    pub fn on_found(&mut self, context: &mut RequestContext<'_>) -> Progress {
        self.times.discovery = context.now.since(self.spec.sent);
        self.take_route(context)
    }

    /// Chooses a new route, and opens a session at each of its hops, one after another, as Petals does.
    pub fn take_route(&mut self, context: &mut RequestContext<'_>) -> Progress {
        let without = self.failure.as_ref().map_or(Vec::new(), |failure| failure.avoid.clone());
        let route = context.route(self.spec.id, context.config.blocks, self.spec.asked.cache_tokens(), &without);
        let Some(hop_sessions) = route.and_then(|route| self.name(route, context.now)) else {
            return self.without_route(context);
        };
        self.attempt = hop_sessions[0].session;
        self.hop_sessions = hop_sessions;
        self.phase = Phase::Opening(0);
        self.open(context, 0);
        Going
    }

    /// Creates the hop sessions of a route, each with a new session id. Returns `None` if the request has used up its
    /// session ids.
    pub(super) fn name(&mut self, route: Vec<Hop>, now: Timestamp) -> Option<Vec<HopSession>> {
        let first = self.counted;
        self.counted += route.len() as u32;
        if self.counted > crate::limits::SESSIONS_PER_REQUEST {
            return None;
        }
        let hop_session =
            |(hop, hop_session)| HopSession::new(hop, SessionId::new(self.spec.id, hop_session as u16), now);
        Some(route.into_iter().zip(first..).map(hop_session).collect())
    }

    /// Asks the peer of a hop to open the session of the hop.
    pub(super) fn open(&mut self, context: &mut RequestContext<'_>, hop_session: usize) {
        let policies = &context.config.policies;
        let next = policies.forwarding.strategy().next(&self.hop_sessions, hop_session);
        let following = self.hop_sessions.get(hop_session + 1);
        let complete = following.is_none_or(|next| !next.fresh && next.proven);
        let cached = policies.recovery != Recovery::Cacheless;
        let HopSession { hop, session, fresh, .. } = self.hop_sessions[hop_session];
        let open = Open {
            session,
            blocks: hop.blocks,
            hop: hop_session as u16,
            next,
            batch: u32::from(self.spec.asked.batch),
            max_length: self.spec.asked.prompt + self.spec.asked.generate,
            cached,
            keep: next.is_some() && policies.recovery.keeps(),
            wanted: if fresh && complete && cached { self.tokens.position } else { 0 },
        };
        self.hop_sessions[hop_session].state = State::Asked;
        self.hop_sessions[hop_session].hear(context.now);
        self.awaited = Awaited { since: context.now, bytes: 0 };
        context.view.opening(hop.peer);
        context.send(hop.peer, Message::Open(Box::new(open)));
    }

    /// Handles an opened session: opens the next hop's session, or starts the prefill or the replay once all are open.
    pub fn on_opened(&mut self, context: &mut RequestContext<'_>, session: SessionId) {
        let Some(hop_session) =
            self.hop_session(session).filter(|hop_session| self.hop_sessions[*hop_session].state == State::Asked)
        else {
            return;
        };
        self.hop_sessions[hop_session].state = State::Open;
        self.hop_sessions[hop_session].hear(context.now);
        match self.phase {
            Phase::Opening(at) if at == hop_session && hop_session + 1 < self.hop_sessions.len() => {
                self.phase = Phase::Opening(hop_session + 1);
                self.open(context, hop_session + 1);
            }
            Phase::Opening(at) if at == hop_session => {
                let took = context.now.since(self.spec.sent) - self.times.discovery;
                self.times.sessions.get_or_insert(took);
                if self.failure.is_none() {
                    self.times.step.setup = context.now.since(self.times.step.began);
                } else if self.tokens.made == self.tokens.generated {
                    self.peers_replaced(context.now);
                }
                self.embed_prompt(context);
            }
            _ => self.resume_if_open(context),
        }
    }

    fn draw_prompt(&self, context: &RequestContext<'_>) -> Ids {
        let (batch, length) = (usize::from(self.spec.asked.batch), self.spec.asked.prompt as usize);
        let prompts = context.config.prompts.as_ref()?;
        Some(Arc::new(prompts.draw(context.config.seed, self.spec.id, batch, length)))
    }

    /// Starts the next step of the prefill, at the request's position: the whole prompt or its next chunk.
    fn embed_prompt(&mut self, context: &mut RequestContext<'_>) {
        let (from, length) = (self.tokens.position as usize, self.spec.asked.prompt as usize);
        let tokens = context.config.policies.prefill.next(self.spec.asked.prompt - self.tokens.position);
        // The prompt's tokens are chosen once, and kept until the last chunk is given to the device.
        let whole = self.tokens.prompt.take().or_else(|| self.draw_prompt(context));
        let ids = whole.as_ref().map(|ids| match tokens == self.spec.asked.prompt {
            true => ids.clone(),
            false => {
                let part = ids.chunks(length).flat_map(|row| &row[from..from + tokens as usize]);
                Arc::new(part.copied().collect())
            }
        });
        self.tokens.prompt = whole.filter(|_| from + (tokens as usize) < length);
        self.embed(context, tokens, ids);
    }

    fn embed(&mut self, context: &mut RequestContext<'_>, tokens: u32, ids: Ids) {
        self.times.step.tokens = tokens;
        let (batch, position) = (self.spec.asked.batch, self.tokens.position);
        self.compute(context, Phase::Embedding, Work::Embed { batch, tokens, position, ids });
    }

    fn compute(&mut self, context: &mut RequestContext<'_>, phase: fn(Ticket) -> Phase, work: Work) {
        self.jobs += 1;
        let ticket = Ticket::Request { index: self.spec.id.index, job: self.jobs };
        self.phase = phase(ticket);
        self.times.step.submitted = context.now;
        context.out.push(Effect::Compute(Job { ticket, work }));
    }

    /// Handles a finished job of the client's device: an embedding is sent to the first hop, and the LM head gives a
    /// token.
    pub fn on_computed(&mut self, context: &mut RequestContext<'_>, done: Computed) -> Progress {
        if !matches!(self.phase, Phase::Embedding(ticket) | Phase::Heading(ticket) if ticket == done.ticket) {
            return Going;
        }
        // The time in which tokens are generated again after a restart counts only as recovery, not as device time.
        if self.tokens.made == self.tokens.generated {
            self.times.step.queue += done.started.since(self.times.step.submitted);
            let took = done.finished.since(done.started);
            self.times.step.compute += took;
            if matches!(self.phase, Phase::Embedding(_)) {
                self.times.step.embedding += took;
            }
        }
        match done.output {
            Ok(Output::Hidden(activation)) => self.leave(context, activation),
            Ok(Output::Tokens(ids)) => self.on_tokens(context, ids),
            Ok(Output::Loaded | Output::Benchmarked | Output::Batch(_)) => {
                unreachable!("a request's jobs are only the embedding and the LM head")
            }
            Err(Refusal::NotFinite(what)) => Over(Err(Failure::ClientNotFinite(what))),
            Err(_) => Over(Err(Failure::ClientDevice)),
        }
    }

    /// Sends an embedded step to the first hop.
    fn leave(&mut self, context: &mut RequestContext<'_>, activation: Activation) -> Progress {
        let first = &mut self.hop_sessions[0];
        let mut step = Step { session: first.session, position: self.tokens.position, activation };
        if context.config.policies.recovery.keeps() {
            first.history.append(&step.activation);
        }
        if context.config.policies.recovery == Recovery::Cacheless {
            step.position = 0;
            step.activation = first.history.since(0).unwrap_or(step.activation);
        }
        if self.tokens.made == self.tokens.generated {
            self.times.step.left = context.now;
        }
        self.pass(context, 0, step)
    }

    /// Sends a step to a hop, unless the hop session is lost. Starts the recovery if the request cannot continue before
    /// a lost hop session is replaced.
    fn pass(&mut self, context: &mut RequestContext<'_>, hop_session: usize, step: Step) -> Progress {
        self.phase = Phase::Away(hop_session);
        let to = &mut self.hop_sessions[hop_session];
        // The hop session gets no step now if it is lost, or if its inputs are not replayed yet. The later replay of
        // its inputs ends with this step.
        if !to.is_wanting() {
            to.hear(context.now);
            self.awaited = Awaited { since: context.now, bytes: step.activation.bytes() };
            context.out.push(Effect::Send { to: to.hop.peer, message: Message::Step(step) });
        }
        self.recover_if_due(context)
    }

    /// Handles a step that a peer has returned. Sends the step to the next hop, or ends the step if the peer is the
    /// last hop. A step that is late or from the wrong hop is ignored.
    pub fn on_returned(&mut self, context: &mut RequestContext<'_>, from: NodeId, returned: Returned) -> Progress {
        let Returned(mut step) = returned;
        let Some(hop_session) = self.hop_session_of(from, step.session) else { return Going };
        self.hop_sessions[hop_session].hear(context.now);
        let strategy = context.config.policies.forwarding.strategy();
        let expected = match self.phase {
            Phase::Away(at) => strategy.returns_from(at, hop_session, self.hop_sessions.len()),
            _ => false,
        };
        // A replayed step starts at an earlier position than the current step, but ends at the same one.
        let end = step.position.checked_add(step.activation.tokens);
        let present = end == Some(self.tokens.position + self.times.step.tokens) || planted(Canary::LateAnswerAccepted);
        if !expected || !present || step.activation.batch != self.spec.asked.batch {
            return Going;
        }
        let Some(next) = self.hop_sessions.get_mut(hop_session + 1) else {
            return self.on_through(context, step.activation);
        };
        step.session = next.session;
        match context.config.policies.recovery {
            Recovery::Cacheless => {
                next.history.clear();
                next.history.append(&step.activation);
            }
            Recovery::Replay => {
                let has = next.history.tokens();
                step.activation = step.activation.skip(has.saturating_sub(step.position));
                step.position = has;
                next.history.append(&step.activation);
            }
            Recovery::Restart | Recovery::Off => {}
        }
        self.pass(context, hop_session + 1, step)
    }

    /// Handles a step that has passed all hops: sends the next chunk of the prompt, computes the LM head, or ends the
    /// request if it asks for no tokens.
    fn on_through(&mut self, context: &mut RequestContext<'_>, activation: Activation) -> Progress {
        self.hop_sessions
            .iter_mut()
            .filter(|hop_session| !hop_session.is_wanting())
            .for_each(|hop_session| hop_session.proven = true);
        self.recovered(context);
        let through = self.tokens.position + self.times.step.tokens;
        if through < self.spec.asked.prompt {
            self.tokens.position = through;
            self.embed_prompt(context);
            return Going;
        }
        if self.spec.asked.generate == 0 {
            self.record_step(context);
            return Over(Ok(()));
        }
        self.compute(
            context,
            Phase::Heading,
            Work::Head { request: self.spec.id, output: self.tokens.made + 1, input: activation },
        );
        Going
    }

    /// Handles a new token of each row: ends the request or starts its next decode step.
    fn on_tokens(&mut self, context: &mut RequestContext<'_>, ids: Ids) -> Progress {
        self.tokens.made += 1;
        self.tokens.position += self.times.step.tokens;
        if self.tokens.made + u32::from(planted(Canary::TokenDoubledAfterRestart)) <= self.tokens.generated {
            // The request generated this token once already, before its restart.
            if self.tokens.made == self.tokens.generated {
                self.peers_replaced(context.now);
            }
            self.embed(context, 1, ids);
            return Going;
        }
        self.tokens.generated = self.tokens.made;
        let first = ids.as_ref().and_then(|ids| ids.first());
        self.tokens.output.extend(first);
        let stopped = first.is_some_and(|id| context.config.stops.contains(id));
        self.tokens.position -= self.times.step.tokens;
        self.record_step(context);
        self.tokens.position += self.times.step.tokens;
        if stopped || self.tokens.generated == self.spec.asked.generate {
            return Over(Ok(()));
        }
        self.times.step = StepCost::begin(context.now);
        self.embed(context, 1, ids);
        Going
    }

    fn record_step(&self, context: &mut RequestContext<'_>) {
        // A chunked prefill counts as one step of the request.
        let prompt = self.spec.asked.prompt;
        let (position, tokens) =
            if self.tokens.position < prompt { (0, prompt) } else { (self.tokens.position, self.times.step.tokens) };
        context.out.push(Effect::Record(Event::Stepped(Stepped {
            session: self.attempt,
            request: self.spec.id,
            position,
            tokens,
            batch: self.spec.asked.batch,
            output: self.tokens.generated,
            began: self.times.step.began,
            seen: context.now,
            setup: self.times.step.setup,
            client_queue: self.times.step.queue,
            client: self.times.step.compute,
            embedding: self.times.step.embedding,
            recovery: self.times.step.recovery,
        })));
    }

    /// Sends `Close` to the peers that may hold a session of these hops.
    pub(super) fn close(hop_sessions: &[HopSession], out: &mut Vec<Effect>) {
        for hop_session in hop_sessions.iter().filter(|hop_session| hop_session.to_close()) {
            let message = Message::Close(Close { session: hop_session.session });
            out.push(Effect::Send { to: hop_session.hop.peer, message });
        }
    }

    /// Returns the peers of the current route.
    pub fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.hop_sessions.iter().map(|hop_session| hop_session.hop.peer)
    }

    /// Ends the request: closes its sessions and records its outcome. Returns the time since the client began the
    /// request, and the number of generated tokens, summed over all rows.
    pub fn end(self, now: Timestamp, outcome: Result<(), Failure>, out: &mut Vec<Effect>) -> (Duration, u32) {
        Request::close(&self.hop_sessions, out);
        let batch = u32::from(self.spec.asked.batch);
        out.push(Effect::Record(Event::Ended(Box::new(Ended {
            request: self.spec.id,
            session: self.attempt,
            intended: self.spec.intended,
            sent: self.spec.sent,
            at: now,
            batch,
            prompt: self.spec.asked.prompt,
            generate: self.spec.asked.generate,
            generated: self.tokens.generated,
            discovery: self.times.discovery,
            sessions: self.times.sessions.unwrap_or(Duration::ZERO),
            route: self.peers().collect(),
            outcome,
            output: self.tokens.output,
        }))));
        (now.since(self.spec.sent), batch * self.tokens.generated)
    }
}
