//! The macro that generates an actix actor for each core (the pure state machine of a node). Live runs and simulations
//! use the same dispatch table from message kinds to `Handler`s.
//!
//! In a simulation, `deliver` calls the handler directly. In a live run, `post` puts the message into the actor's actix
//! mailbox. A message of a kind that the actor does not handle is answered with `Refusal::NotUnderstood`, except for
//! refusals, pongs and `Gone`, which are ignored.

/// Takes the place of a message body if the receiving actor has no handler for messages of this kind.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(crate) struct Unhandled;

/// Generates the actix code of a core: the actor, one `Handler` for each listed message kind, and the dispatch table.
macro_rules! actor_impls {
    ($actor:ident around $core:ty { $($kind:ident => $method:ident),* $(,)? }) => {
        /// The actix actor that passes messages to its core. `W` is `Live` for live runs and `Sim` for simulations.
        pub struct $actor<W> {
            pub core: $core,
            world: std::marker::PhantomData<W>,
        }

        impl<W> $actor<W> {
            pub fn new(core: $core) -> Self {
                Self { core, world: std::marker::PhantomData }
            }
        }

        impl actix::Actor for $actor<$crate::world::Live> {
            type Context = actix::Context<Self>;

            fn started(&mut self, world: &mut Self::Context) {
                self.begin(world);
            }
        }

        impl actix::Actor for $actor<$crate::world::Sim> {
            type Context = $crate::world::SimContext;

            fn started(&mut self, world: &mut Self::Context) {
                self.begin(world);
            }
        }

        impl<W> $actor<W> {
            fn begin(&mut self, world: &mut impl $crate::world::World) {
                let core = &mut self.core;
                world.act(core.me(), |now, out| core.on_start(now, out));
            }
        }

        $(
            impl<W: Unpin + 'static> actix::Handler<$crate::message::Inbound<$crate::message::$kind>> for $actor<W>
            where
                Self: actix::Actor<Context: $crate::world::World>,
            {
                type Result = ();

                #[inline]
                fn handle(
                    &mut self,
                    inbound: $crate::message::Inbound<$crate::message::$kind>,
                    world: &mut Self::Context,
                ) {
                    let core = &mut self.core;
                    $crate::world::World::act(world, core.me(), |now, out| {
                        core.$method(now, inbound.from, inbound.body, out)
                    });
                }
            }
        )*

        impl<W: Unpin + 'static> actix::Handler<$crate::message::Inbound<$crate::actor_impls::Unhandled>> for $actor<W>
        where
            Self: actix::Actor<Context: $crate::world::World>,
        {
            type Result = ();

            fn handle(&mut self, inbound: $crate::message::Inbound<$crate::actor_impls::Unhandled>, world: &mut Self::Context) {
                let refused = $crate::message::Refused {
                    session: None,
                    why: $crate::message::Refusal::NotUnderstood,
                };
                $crate::world::World::act(world, self.core.me(), |_, out| {
                    out.push($crate::world::Effect::Send {
                        to: inbound.from,
                        message: $crate::message::Message::Refused(refused),
                    })
                });
            }
        }

        impl $crate::world::ActorSlot for $actor<$crate::world::Sim> {
            #[inline]
            fn deliver(
                &mut self,
                from: $crate::id::NodeId,
                delivery: $crate::world::Delivery,
                world: &mut $crate::world::SimContext,
            ) {
                use actix::Handler;
                use $crate::message::{Inbound, Message};
                use $crate::world::Delivery;
                // An actor that handles every kind of delivery never reaches the last arms of this `match`.
                #[allow(unreachable_patterns)]
                match delivery {
                    $($crate::actor_impls::delivery_pattern!($kind, inner) => {
                        self.handle(Inbound { from, body: $crate::actor_impls::unboxed!($kind, inner) }, world)
                    })*
                    // An actor without a handler for one of these deliveries ignores it. To answer a refusal or a pong
                    // with a refusal could make two nodes refuse each other forever.
                    Delivery::Message(Message::Refused(_) | Message::Pong(_) | Message::Gone(_)) | Delivery::Computed(_) | Delivery::Woken(_) | Delivery::Leave(_) => {}
                    Delivery::Message(_) => self.handle(Inbound { from, body: $crate::actor_impls::Unhandled }, world),
                }
            }

            fn start(&mut self, world: &mut $crate::world::SimContext) {
                actix::Actor::started(self, world);
            }
        }

        impl $crate::world::Post for actix::Addr<$actor<$crate::world::Live>> {
            fn post(&self, from: $crate::id::NodeId, delivery: $crate::world::Delivery) {
                use $crate::message::{Inbound, Message};
                use $crate::world::Delivery;
                // An actor that handles every kind of delivery never reaches the last arms of this `match`.
                #[allow(unreachable_patterns)]
                match delivery {
                    $($crate::actor_impls::delivery_pattern!($kind, inner) => {
                        self.do_send(Inbound { from, body: $crate::actor_impls::unboxed!($kind, inner) })
                    })*
                    Delivery::Message(Message::Refused(_) | Message::Pong(_) | Message::Gone(_)) | Delivery::Computed(_) | Delivery::Woken(_) | Delivery::Leave(_) => {}
                    Delivery::Message(_) => self.do_send(Inbound { from, body: $crate::actor_impls::Unhandled }),
                }
            }
        }
    };
}

/// Expands to the `match` pattern for deliveries of one kind.
macro_rules! delivery_pattern {
    (Computed, $body:ident) => {
        Delivery::Computed($body)
    };
    (Woken, $body:ident) => {
        Delivery::Woken($body)
    };
    (Leave, $body:ident) => {
        Delivery::Leave($body)
    };
    ($kind:ident, $body:ident) => {
        Delivery::Message(Message::$kind($body))
    };
}

/// Expands to the body of a message of one kind. A body that `Message` keeps in a `Box` is moved out of the box.
macro_rules! unboxed {
    (Rpc, $body:ident) => {
        *$body
    };
    (Open, $body:ident) => {
        *$body
    };
    (Reroute, $body:ident) => {
        *$body
    };
    ($kind:ident, $body:ident) => {
        $body
    };
}

pub(crate) use {actor_impls, delivery_pattern, unboxed};
