//! The macro that generates the actix actors around the cores, with one dispatch table from message kinds to `Handler`s
//! for the simulated and the live world.
//!
//! The simulation calls the handler directly (`deliver`); in the live world, actix delivers from a mailbox (`post`). A
//! message of a kind that an actor does not handle is answered by a typed refusal.

/// The stand-in for a message of a kind for which an actor has no handler.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(crate) struct Unhandled;

/// Generates the actix code around a core: the actor, one `Handler` for each message kind, and the dispatch table.
macro_rules! actor_impls {
    ($actor:ident around $core:ty { $($kind:ident => $method:ident),* $(,)? }) => {
        /// The actor around the core, in the world `W`.
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
                // If the actor handles every kind of delivery, the last arms cannot be reached.
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
                // If the actor handles every kind of delivery, the last arms cannot be reached.
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

/// Expands to the pattern of a delivery of one kind.
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

/// Expands to the body of a message, taken out of its box if the kind is boxed.
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
