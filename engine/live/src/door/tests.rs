//! Tests that connections with the token are admitted, and that all others are dropped and disturb no host.
use super::*;
use crate::control::{Purpose, say};
use crate::wire::{self, Kind};
use actors::id::HostId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::unbounded_channel;

fn greeting(token: Token) -> Vec<u8> {
    wire::plain(Kind::Greeting, &Greeting { token, host: HostId(3), incarnation: 0, purpose: Purpose::Messages })
        .unwrap()
}

#[test]
fn strangers_are_dropped_and_hosts_let_in() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (token, other) = (Token::draw().unwrap(), Token::draw().unwrap());
        assert!(!token.is(&other), "two runs have two tokens");
        let (known, mut hosts) = unbounded_channel();
        spawn_local(attend(listener, token, move |greeting, _, _| {
            known.send(greeting.host).map_err(|why| why.to_string())
        }));

        let mut control = wire::plain(Kind::Control, &7u32).unwrap();
        control.extend([0; 64]);
        let mut oversized = greeting(token);
        oversized[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        let strangers = [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0xff; 4096], control, greeting(other), oversized];
        for noise in strangers {
            let mut stranger = TcpStream::connect(address).await.unwrap();
            let _ = stranger.write_all(&noise).await;
            let mut answer = Vec::new();
            // The connection is closed or reset, but never answered.
            let _ = tokio::time::timeout(Duration::from_secs(3), stranger.read_to_end(&mut answer)).await.unwrap();
            assert!(answer.is_empty());
        }
        let mut host = TcpStream::connect(address).await.unwrap();
        host.write_all(&greeting(token)).await.unwrap();
        assert_eq!(hosts.recv().await, Some(HostId(3)));
        say(&mut host, &1u8).await.unwrap();
        assert!(hosts.try_recv().is_err(), "nobody else was let in");
    });
}
