//! The port: all that an actor can see and do, and the two contexts it can live in.
//!
//! Both contexts stand here because an actor's `Actor` impl must be where the actor is (Rust's orphan rule). They are
//! empty rooms: `simulator` drives the one, `live` furnishes the other. There is no way round the port: no
//! futures, no `run_later`, no registry, no clock of one's own.
use crate::id::NodeId;
use crate::message::{Computed, Job, Message, Timer, Woken};
use crate::record::Event;
use crate::time::{Duration, Timestamp};
use actix::{Actor, ActorContext, ActorState, Context};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// What an actor can have done for it. Nothing is returned: what comes of it arrives as a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// May be lost if the link dies; then [`crate::message::Gone`] comes back.
    Send { to: NodeId, message: Message },
    /// Comes back as [`crate::message::Woken`]. There is no cancelling: whoever is woken looks whether it still matters.
    Wake { after: Duration, timer: Timer },
    /// Comes back as [`crate::message::Computed`].
    Compute(Job),
    /// Goes to the recorder.
    Record(Event),
}

/// The world an actor lives in.
pub trait World {
    /// This node's clock.
    fn now(&self) -> Timestamp;
    /// Thinks purely, then carries out what was thought. Never blocks, never fails.
    fn act(&mut self, me: NodeId, think: impl FnOnce(Timestamp, &mut Vec<Effect>));
}

/// What reaches an actor: a message of another node, or something of its own coming back.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    Message(Message),
    Computed(Computed),
    Woken(Woken),
}

/// An actor of the simulated world as its kernel sees it.
pub trait ActorSlot {
    /// Once, before anything is delivered.
    fn start(&mut self, world: &mut SimContext);
    /// Calls the `Handler` of the parcel's type.
    fn deliver(&mut self, from: NodeId, parcel: Delivery, world: &mut SimContext);
}

/// An actor of the live world as its host sees it.
pub trait Post {
    /// Puts the parcel into the actor's mailbox, for the `Handler` of its type.
    fn post(&self, from: NodeId, parcel: Delivery);
}

// -- the simulated world: a time and a effect_buffer of effects, which the kernel sets and empties --

/// Marks actors of the simulated world.
pub struct Sim;

/// The context of a simulated actor: the virtual time, and what the actor wants done.
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

// -- the live world: the arbiter's host carries effects out --

/// Marks actors of the live world.
pub struct Live;

/// What a live host does for the actors on its arbiter.
pub trait Host {
    fn now(&self) -> Timestamp;
    /// Carries out all of `effects` and leaves the effect_buffer empty.
    fn carry(&self, me: NodeId, effects: &mut Vec<Effect>);
    /// An actor's thinking has panicked; the run cannot be trusted any more.
    fn panicked(&self, me: NodeId, what: String);
}

thread_local! {
    static HOST: RefCell<Option<Rc<dyn Host>>> = const { RefCell::new(None) };
    /// Trays that are not in use, so that no message allocates one.
    static TRAYS: RefCell<Vec<Vec<Effect>>> = const { RefCell::new(Vec::new()) };
}

/// Makes `host` the one that carries effects for every actor of this arbiter.
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

    /// Catches a panic of `think`: under actix it would leave a live process whose mailbox swallows everything.
    fn act(&mut self, me: NodeId, think: impl FnOnce(Timestamp, &mut Vec<Effect>)) {
        let host = host();
        let mut effect_buffer = TRAYS.with(|trays| trays.borrow_mut().pop()).unwrap_or_default();
        match catch_unwind(AssertUnwindSafe(|| think(host.now(), &mut effect_buffer))) {
            Ok(()) => host.carry(me, &mut effect_buffer),
            Err(panic) => host.panicked(me, panic_text(panic.as_ref())),
        }
        effect_buffer.clear();
        TRAYS.with(|trays| trays.borrow_mut().push(effect_buffer));
    }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}
