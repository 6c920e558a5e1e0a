//! The two worlds: one graph of actors, simulated on one thread or live over TCP and candle.
