//! Accepts connections to a host, and admits those that know the run's token.
//!
//! The socket is bound to loopback. A connection is closed without an answer if its greeting does not have the run's
//! token or does not arrive in time, or if too many other connections have not sent their greetings yet.
use super::control::{Greeting, Token, greeted};
use super::warnings::Warnings;
use super::wire::{FrameReader, Limits};
use actors::limits;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

/// Accepts connections without end. If the greeting of a connection has the right token, passes the connection to
/// `welcome`, which returns a reason if it rejects the connection.
pub async fn attend(
    listener: TcpListener,
    token: Token,
    welcome: impl Fn(Greeting, FrameReader<OwnedReadHalf>, OwnedWriteHalf) -> Result<(), String> + 'static,
) {
    let welcome = Rc::new(welcome);
    let strangers = Rc::new(Cell::new(0));
    let dropped = Rc::new(Warnings::new(
        "connections of unknown programs, or of hosts that the plan does not expect, were dropped",
    ));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(caller) => caller,
            Err(why) => {
                dropped.warn(|| format!("a connection could not be accepted: {why}"));
                // An accept most likely fails because the process has run out of file descriptors. Some of them may
                // become free during the wait.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if strangers.get() >= limits::STRANGERS {
            let waiting = limits::STRANGERS;
            dropped.warn(|| {
                format!("a connection was dropped, because {waiting} others have not sent their greeting yet")
            });
            continue;
        }
        strangers.set(strangers.get() + 1);
        let (welcome, strangers, dropped) = (welcome.clone(), strangers.clone(), dropped.clone());
        spawn_local(async move {
            let known = introduce(stream, &token).await;
            strangers.set(strangers.get() - 1);
            match known.map(|(greeting, reader, writer)| welcome(greeting, reader, writer)) {
                Ok(Ok(())) => {}
                Ok(Err(why)) => dropped.warn(|| format!("a connection from {from} was dropped: {why}")),
                Err(why) => dropped.warn(|| format!("a connection of an unknown program at {from} was dropped: {why}")),
            }
        });
    }
}

/// A connection whose greeting has the right token: the greeting, the receiving side and the sending side.
type Known = (Greeting, FrameReader<OwnedReadHalf>, OwnedWriteHalf);

async fn introduce(stream: TcpStream, token: &Token) -> Result<Known, String> {
    stream.set_nodelay(true).map_err(|why| why.to_string())?;
    let (reader, writer) = stream.into_split();
    let mut reader = FrameReader::new(reader, Limits::GREETING);
    let greeting = greeted(&mut reader, token).await?;
    Ok((greeting, reader, writer))
}

#[cfg(test)]
mod tests;
