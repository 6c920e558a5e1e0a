//! The interface between actors and their world, which is a simulation or a live host: everything that an actor can
//! observe and do, and the two contexts in which an actor can run.
//!
//! Both contexts are defined in this crate because the `Actor` impl must be in the crate of the actor (Rust's orphan
//! rule). The contexts contain no logic of their own: the crate `simulator` drives the simulated one, and the crate
//! `live` implements the live one. Actors have no other access to the outside: no futures, no `run_later`, no registry,
//! no clock of their own.
use crate::announce::Load;
use crate::id::NodeId;
use crate::message::{Computed, Job, Leave, Message, Ping, Pong, Timer, Woken};
use crate::record::Event;
use crate::time::{Duration, Timestamp};
use actix::{Actor, ActorContext, ActorState, Context};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// An action that an actor asks the world to perform. The action returns nothing; its result arrives as a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Sends a message. The message is lost if the connection breaks; then [`crate::message::Gone`] arrives.
    Send { to: NodeId, message: Message },
    /// Starts a timer. The end of the timer arrives as [`crate::message::Woken`]. A timer cannot be cancelled: the
    /// actor checks at its end whether the timer still matters.
    Wake { after: Duration, timer: Timer },
    /// Gives a job to the device. The end of the job arrives as [`crate::message::Computed`].
    Compute(Job),
    /// Gives an event to the recorder.
    Record(Event),
}

impl Effect {
    /// Returns the effect that answers `ping`, which came from the node `from`, with a pong that reports no load.
    pub fn pong(from: NodeId, ping: Ping) -> Effect {
        Effect::Send { to: from, message: Message::Pong(Pong { nonce: ping.nonce, load: Load::default() }) }
    }
}

/// The environment of an actor: the simulation or its live host.
pub trait World {
    /// Returns the present time on this node's clock.
    fn now(&self) -> Timestamp;
    /// Runs `think`, a pure function of the present time, and then carries out the effects that it pushes. The call
    /// neither blocks nor fails.
    fn act(&mut self, me: NodeId, think: impl FnOnce(Timestamp, &mut Vec<Effect>));
}

/// An input of an actor: a message of another node, the end of a job or of a timer, or the order to leave.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// A message of another node, or the notice that a node is unreachable.
    Message(Message),
    /// The end of a job.
    Computed(Computed),
    /// The end of a timer.
    Woken(Woken),
    /// The order to leave the swarm.
    Leave(Leave),
}

/// The interface through which the simulation kernel calls an actor.
pub trait ActorSlot {
    /// Starts the actor. The kernel calls this once, before the first delivery.
    fn start(&mut self, world: &mut SimContext);
    /// Calls the `Handler` for the type of the delivery.
    fn deliver(&mut self, from: NodeId, delivery: Delivery, world: &mut SimContext);
}

/// The interface through which a live host delivers to an actor.
pub trait Post {
    /// Puts a delivery into the actor's mailbox. The actor handles it with the `Handler` for the type of its content.
    fn post(&self, from: NodeId, delivery: Delivery);
}

// -- the simulated world: the virtual time, and a buffer of effects that the kernel empties --

/// Marks the actors of a simulation at compile time.
pub struct Sim;

/// The context of a simulated actor: the virtual time, and the effects that the actor has requested.
#[derive(Default)]
pub struct SimContext {
    pub now: Timestamp,
    pub effects: Vec<Effect>,
}

impl ActorContext for SimContext {
    fn stop(&mut self) {}
    fn terminate(&mut self) {}
    fn state(&self) -> ActorState {
        ActorState::Running
    }
}

impl World for SimContext {
    fn now(&self) -> Timestamp {
        self.now
    }

    #[inline]
    fn act(&mut self, _: NodeId, think: impl FnOnce(Timestamp, &mut Vec<Effect>)) {
        think(self.now, &mut self.effects);
    }
}

// -- the live world: the host of the arbiter carries out the effects --

/// Marks the actors of a live run at compile time.
pub struct Live;

/// The services of a live host for the actors on its arbiter.
pub trait Host {
    /// Returns the present time on the host's clock.
    fn now(&self) -> Timestamp;
    /// Carries out all of `effects`, and leaves the buffer empty.
    fn carry(&self, me: NodeId, effects: &mut Vec<Effect>);
    /// Reports that the code of an actor has panicked. The results of the run can no longer be trusted.
    fn panicked(&self, me: NodeId, what: String);
}

thread_local! {
    static HOST: RefCell<Option<Rc<dyn Host>>> = const { RefCell::new(None) };
    /// Effect buffers that are not in use. They are kept, so that handling a message allocates none.
    static SPARE_BUFFERS: RefCell<Vec<Vec<Effect>>> = const { RefCell::new(Vec::new()) };
}

/// Makes `host` carry out the effects of every actor of this arbiter (thread).
pub fn install(host: Rc<dyn Host>) {
    HOST.with(|slot| *slot.borrow_mut() = Some(host));
}

fn host() -> Rc<dyn Host> {
    HOST.with(|slot| slot.borrow().clone()).expect("a host is installed before actors start")
}

impl<A: Actor<Context = Self>> World for Context<A> {
    fn now(&self) -> Timestamp {
        host().now()
    }

    /// Catches a panic of `think`. Under actix, a panic would leave a live process in which the mailbox of the actor
    /// discards every message.
    ///
    /// # Panics
    ///
    /// If no host is installed on this arbiter.
    fn act(&mut self, me: NodeId, think: impl FnOnce(Timestamp, &mut Vec<Effect>)) {
        let host = host();
        let mut effect_buffer = SPARE_BUFFERS.with(|buffers| buffers.borrow_mut().pop()).unwrap_or_default();
        match catch_unwind(AssertUnwindSafe(|| think(host.now(), &mut effect_buffer))) {
            Ok(()) => host.carry(me, &mut effect_buffer),
            Err(panic) => host.panicked(me, panic_text(panic.as_ref())),
        }
        effect_buffer.clear();
        SPARE_BUFFERS.with(|buffers| buffers.borrow_mut().push(effect_buffer));
    }
}

/// Returns the message of a panic.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}
