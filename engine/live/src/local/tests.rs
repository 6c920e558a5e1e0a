//! Tests of a host that others reach over real sockets: a host that violates the protocol is disconnected and named,
//! and the others are still answered.
use super::{Directory, LocalHost};
use crate::control::{Greeting, Place, Purpose, Report, Token};
use crate::door;
use crate::wire::{AddressedMessage, FrameReader, Incoming, Kind, Limits, bytes_of_mut, message_frame, plain};
use actors::announce::Load;
use actors::id::{BlockRange, HostId, NodeId, RequestId, SessionId};
use actors::invariants::message_account::{Account, Tally, settle};
use actors::message::Next;
use actors::message::{
    Activation, Buffer, Close, Go, Gone, Message, Open, Opened, Payload, Ping, Present, Refusal, Refused, Reroute,
    Step, WireType,
};
use actors::seed::Seed;
use scenarios::plan::Plan;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::spawn_local;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

/// One live host of a plan that accepts connections; the test plays all other hosts.
struct Alone {
    plan: Arc<Plan>,
    host: Rc<LocalHost>,
    door: SocketAddr,
    token: Token,
    reports: UnboundedReceiver<Report>,
    _leases: tempfile::TempDir,
    /// The listener whose address the tested host has for all other hosts. It accepts no connections.
    others: TcpListener,
}

impl Alone {
    async fn spawn_actors() -> Alone {
        let cells = scenarios::load("quickstart").expect("it is there").cells(&scenarios::Overrides::default());
        let plan = Arc::new(cells.expect("it has cells")[0].plan(Seed(1), 0).expect("a plan"));
        let here = plan.peers().next().expect("a peer").1.host;
        let others = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let place = Place { address: others.local_addr().expect("a port"), incarnation: 0 };
        let token = Token::draw().expect("randomness");
        let directory = Directory {
            book: vec![Some(place); plan.hosts.len()],
            token,
            incarnation: 0,
            started: crate::clock::now(),
        };
        let leases = tempfile::tempdir().expect("a folder");
        let (sender, reports) = unbounded_channel();
        let host = LocalHost::spawn_actors(plan.clone(), here, directory, leases.path(), sender).expect("it rises");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let door = listener.local_addr().expect("a port");
        let answering = host.clone();
        spawn_local(door::attend(listener, token, move |greeting, reader, writer| {
            answering.answer(&greeting, reader, writer)
        }));
        Alone { plan, host, door, token, reports, _leases: leases, others }
    }

    /// Dials the tested host as the process `incarnation` of `host`.
    async fn call(&self, host: HostId, incarnation: u32) -> (FrameReader<OwnedReadHalf>, OwnedWriteHalf) {
        let (reader, mut writer) = TcpStream::connect(self.door).await.expect("it listens").into_split();
        let greeting = Greeting { token: self.token, host, incarnation, purpose: Purpose::Messages };
        writer.write_all(&plain(Kind::Greeting, &greeting).expect("a frame")).await.expect("it is heard");
        (FrameReader::new(reader, Limits::of(&self.plan)), writer)
    }

    /// Announces the process `incarnation` of `host`, as the orchestrator would.
    fn announce(&self, host: HostId, incarnation: u32) {
        let address = self.others.local_addr().expect("a port");
        self.host.here_again(host, Place { address, incarnation });
    }

    /// Waits for the next report of a lost connection, and returns its host and the reason.
    async fn lost(&mut self) -> (HostId, String) {
        loop {
            match timeout(SOON, self.reports.recv()).await.expect("it notices").expect("it lives") {
                Report::LinkLost { host, why, .. } => return (host, why),
                report => assert!(!matches!(report, Report::Panicked { .. } | Report::Broken { .. }), "{report:?}"),
            }
        }
    }

    /// Returns the peer of the tested host, another peer, and a client.
    fn nodes(&self) -> (NodeId, NodeId, NodeId) {
        let mut peers = self.plan.peers().map(|(id, _)| id);
        let (me, other) = (peers.next().expect("a peer"), peers.next().expect("another"));
        (me, other, self.plan.clients().next().expect("a client").0)
    }

    fn home(&self, node: NodeId) -> HostId {
        self.plan.node(node).host
    }
}

fn bytes(from: NodeId, to: NodeId, message: Message) -> Vec<u8> {
    let frame = message_frame(&AddressedMessage { from, to, passage: None, message }).expect("a frame");
    frame.first.slices().iter().flat_map(|slice| slice.to_vec()).collect()
}

/// Encodes a frame header: its kind, its kind of tensor part, and the bytes of its control part and of its tensor.
fn header(kind: u8, values: u8, control: u32, tensor: u32) -> Vec<u8> {
    [b"SwRM".as_slice(), &[1, kind, values, 0], &control.to_le_bytes(), &tensor.to_le_bytes()].concat()
}

/// Returns the next message to the node `to` that is neither a DHT lookup nor an announcement.
async fn hear(reader: &mut FrameReader<OwnedReadHalf>, to: NodeId) -> Message {
    loop {
        match timeout(SOON, reader.next()).await.expect("it answers").expect("a frame") {
            Some(Incoming::Message(addressed))
                if matches!(addressed.message, Message::Rpc(_) | Message::Present(_)) => {}
            Some(Incoming::Message(addressed)) => {
                assert_eq!(addressed.to, to);
                return addressed.message;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    actix::System::new().block_on(test);
}

fn session(client: NodeId) -> SessionId {
    SessionId::new(RequestId { client, index: 1 }, 0)
}

fn step(session: SessionId, values: usize) -> Message {
    let mut buffer = Buffer::zeroed(values * 4);
    bytes_of_mut(&mut buffer).fill(1);
    let data = Some(Arc::new(Payload::Buffer(buffer)));
    let activation = Activation { tokens: 1, batch: 1, hidden: values as u16, dtype: WireType::F32, data };
    Message::Step(Step { session, position: 0, activation })
}

/// Frames from a known host that violate the protocol, each with the text that the report must contain.
fn offences(here: &Alone) -> Vec<(Vec<u8>, &'static str)> {
    let (me, other, client) = here.nodes();
    let hollow = Activation { tokens: 1, batch: 1, hidden: 64, dtype: WireType::F32, data: None };
    let lies = bytes(other, me, Message::Step(Step { session: session(client), position: 0, activation: hollow }));
    // The control part belongs to a step with a tensor of 256 bytes, but the header announces 8 bytes.
    let lies = [header(3, 2, (lies.len() - 16) as u32, 8), lies[16..].to_vec(), vec![0; 8]].concat();
    let present = bytes(other, me, Message::Present(Present));
    let garbled = [present[..16].to_vec(), vec![0xff; present.len() - 16]].concat();
    vec![
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "not a frame"),
        (vec![0; 64], "not a frame"),
        (vec![0xff; 1 << 20], "not a frame"),
        (header(3, 0, u32::MAX, 0), "more than the limit"),
        (header(3, 2, 16, u32::MAX), "more than the limit"),
        (header(9, 0, 16, 0), "unknown kind"),
        (header(5, 2, 0, 8), "was not announced"),
        (header(3, 0, 100, 0), "ended within a frame"),
        (garbled, "control part of a frame cannot be read"),
        (lies, "but its header describes an activation"),
        (plain(Kind::Control, &7_u32).expect("a frame"), "a frame that is not a message"),
        (plain(Kind::Greeting, &7_u32).expect("a frame"), "a frame that is not a message"),
        (bytes(client, me, Message::Ping(Ping { nonce: 1 })), "are not on the two hosts"),
        (bytes(NodeId(u32::MAX), me, Message::Ping(Ping { nonce: 1 })), "are not on the two hosts"),
        (bytes(other, NodeId(u32::MAX), Message::Ping(Ping { nonce: 1 })), "are not on the two hosts"),
        (bytes(other, client, Message::Ping(Ping { nonce: 1 })), "are not on the two hosts"),
        (bytes(other, me, Message::Go(Go)), "sent a Go"),
        (bytes(other, me, Message::Gone(Gone)), "sent a Gone"),
        (bytes(other, me, Message::Close(Close { session: session(client) })), "sent a Close"),
    ]
}

#[test]
fn a_known_host_that_says_what_no_honest_one_does_is_cut_off_by_name_and_theothers_are_answered() {
    run(async {
        let mut here = Alone::spawn_actors().await;
        let (me, other, client) = here.nodes();
        let (mut honest, mut voice) = here.call(here.home(client), 0).await;
        for (incarnation, (noise, said)) in (1..).zip(offences(&here)) {
            // Each connection comes from a new incarnation of the host, which the orchestrator has announced.
            here.announce(here.home(other), incarnation);
            let (mut remote, mut liar) = here.call(here.home(other), incarnation).await;
            liar.write_all(&noise).await.expect("it is heard");
            liar.shutdown().await.expect("it says no more");
            let (host, why) = here.lost().await;
            assert_eq!(host, here.home(other), "{why}");
            assert!(why.contains(said), "{why:?} is to say {said:?}");
            // The connection must be closed, possibly after messages that were sent before.
            let closed = async { while let Ok(Some(_)) = remote.next().await {} };
            timeout(SOON, closed).await.expect("it hangs up");
            voice
                .write_all(&bytes(client, me, Message::Ping(Ping { nonce: incarnation.into() })))
                .await
                .expect("it is heard");
            let Message::Pong(pong) = hear(&mut honest, client).await else { panic!("no pong") };
            assert_eq!(pong.nonce, u64::from(incarnation));
        }
    });
}

#[test]
fn a_greeting_that_is_not_of_the_plan_is_turned_away_and_costs_nobody_a_connection() {
    run(async {
        let mut here = Alone::spawn_actors().await;
        let (me, other, client) = here.nodes();
        let (mut honest, mut voice) = here.call(here.home(client), 0).await;
        let outside = [here.plan.hosts.len() as u32, 9_999, u32::MAX].map(|host| (HostId(host), 0));
        let itself = (here.home(me), 0);
        let twice = (here.home(client), 0);
        for (host, incarnation) in outside.into_iter().chain([itself, twice]) {
            let (mut remote, _liar) = here.call(host, incarnation).await;
            let closed = async { while let Ok(Some(_)) = remote.next().await {} };
            timeout(SOON, closed).await.unwrap_or_else(|_| panic!("{host:?} is not turned away"));
        }
        // A process that the orchestrator has not announced must wait for the announcement, and must not replace
        // another process while it waits.
        let (mut early, _early) = here.call(here.home(client), u32::MAX).await;
        let (mut unknown, mut next) = here.call(here.home(other), 1).await;
        next.write_all(&bytes(other, me, Message::Ping(Ping { nonce: 5 }))).await.expect("it is heard");
        voice.write_all(&bytes(client, me, Message::Ping(Ping { nonce: 4 }))).await.expect("it is heard");
        let Message::Pong(pong) = hear(&mut honest, client).await else { panic!("no pong") };
        assert_eq!(pong.nonce, 4);
        here.announce(here.home(other), 1);
        let Message::Pong(pong) = hear(&mut unknown, other).await else { panic!("no pong") };
        assert_eq!(pong.nonce, 5);
        let closed = async { while let Ok(Some(_)) = early.next().await {} };
        timeout(SOON, closed).await.expect("nobody has told of it");
        voice.write_all(&bytes(client, me, Message::Ping(Ping { nonce: 6 }))).await.expect("it is heard");
        assert!(matches!(hear(&mut honest, client).await, Message::Pong(_)));
        while let Ok(report) = here.reports.try_recv() {
            assert!(!matches!(report, Report::LinkLost { host, .. } if host == here.home(client)), "{report:?}");
        }
    });
}

#[test]
fn what_names_an_unknown_session_or_another_ones_is_refused_and_nothing_comes_of_it() {
    run(async {
        let here = Alone::spawn_actors().await;
        let (me, other, client) = here.nodes();
        let (mut heard, mut voice) = here.call(here.home(client), 0).await;
        let nobody = NodeId(u32::MAX >> 8);
        let foreign = SessionId::new(RequestId { client: nobody, index: 1 }, 0);
        let open = |session| {
            Message::Open(Box::new(Open {
                session,
                blocks: BlockRange { start: 0, end: 1 },
                hop: u16::MAX,
                next: Some(Next { peer: nobody, session: foreign }),
                batch: 1,
                max_length: 16,
                cached: true,
                keep: true,
                wanted: u32::MAX,
            }))
        };
        let reroute = |session| {
            let next = Next { peer: nobody, session: foreign };
            Message::Reroute(Box::new(Reroute { session, next, from: u32::MAX }))
        };
        for (message, about) in [
            (step(session(client), 8), session(client)),
            (reroute(session(client)), session(client)),
            (open(foreign), foreign),
            (reroute(foreign), foreign),
        ] {
            let kind = message.kind();
            voice.write_all(&bytes(client, me, message)).await.expect("it is heard");
            let answer = hear(&mut heard, client).await;
            let refused = Refused { session: Some(about), why: Refusal::UnknownSession };
            assert_eq!(answer, Message::Refused(refused), "{kind}");
        }
        // A client cannot close another client's session, and a peer refuses a message that only clients receive.
        voice.write_all(&bytes(client, me, Message::Close(Close { session: foreign }))).await.expect("it is heard");
        let (mut peer, mut second) = here.call(here.home(other), 0).await;
        let opened = Message::Opened(Opened { session: foreign, load: Load::default() });
        second.write_all(&bytes(other, me, opened)).await.expect("it is heard");
        let refused = Refused { session: None, why: Refusal::NotUnderstood };
        assert_eq!(hear(&mut peer, other).await, Message::Refused(refused));
        assert!(here.host.is_idle());
    });
}

#[test]
fn a_message_that_vanishes_between_two_hosts_is_missing_in_their_accounts() {
    run(async {
        let here = Alone::spawn_actors().await;
        let (me, _, client) = here.nodes();
        let there = here.home(client);
        let (mut heard, mut voice) = here.call(there, 0).await;
        for nonce in 0..7 {
            voice.write_all(&bytes(client, me, Message::Ping(Ping { nonce }))).await.expect("it is heard");
            assert!(matches!(hear(&mut heard, client).await, Message::Pong(_)));
        }
        here.host.seal();
        let account = here.host.account();
        let of_client = account.tallies.iter().find(|tally| tally.there == there).expect("it has counted");
        assert_eq!((of_client.sent, of_client.delivered, of_client.broken), (7, 7, false));
        let counted = |sent, delivered| Account {
            host: there,
            incarnation: 0,
            tallies: vec![Tally { sent, delivered, ..Tally::of(account.host, 0) }],
        };
        assert!(settle(&[account.clone(), counted(7, 7)]).is_ok());
        let gap = settle(&[account.clone(), counted(7, 6)]).expect_err("a pong has vanished");
        assert_eq!((gap.from, gap.to), (account.host, there));
        let gap = settle(&[account.clone(), counted(8, 7)]).expect_err("a ping has vanished");
        assert_eq!((gap.from, gap.to), (there, account.host));
        // After sealing, no node sends, so the counts must stay as they are.
        voice.write_all(&bytes(client, me, Message::Ping(Ping { nonce: 8 }))).await.expect("it is heard");
        assert!(timeout(Duration::from_millis(100), heard.next()).await.is_err(), "no pong");
    });
}
