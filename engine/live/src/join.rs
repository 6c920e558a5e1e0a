//! A host's process: joins the run that it was invited to, spawns its actors, and sends its record at the end.
//!
//! The process ends when its stdin closes. It therefore ends when its parent process ends, even after a crash.
use super::control::{ALIVE_EVERY, Answer, EVENTS_PER_FRAME, Greeting, Invitation, Order, Purpose, Report, hear, say};
use super::local::{Directory, LocalHost};
use super::wire::{self, FrameReader, Kind, Limits};
use super::{LiveError, clock};
use actors::id::HostId;
use actors::limits;
use scenarios::plan::{Plan, What};
use std::io::{BufRead, Read};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::spawn_local;

/// The interval at which a process that a fault may kill sends its recorded events. A kill loses at most the events of
/// one interval.
const HAND_OVER: Duration = Duration::from_nanos(limits::FAREWELL_LOOK.0);

/// The exit code of a child process whose parent process has ended.
const ORPHANED: i32 = 4;

/// Runs a child process of a live run from its start to its end.
///
/// # Errors
/// If the process cannot join the run, or leaves it before the run's end.
pub fn host_main() -> Result<(), LiveError> {
    die_with_parent();
    let invitation = invitation()?;
    watch_stdin()?;
    actix::System::new().block_on(join(invitation))
}

/// Makes the kernel kill this process when its parent dies. A stuck process would not notice that its stdin closes.
fn die_with_parent() {
    #[cfg(target_os = "linux")]
    if let Err(why) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)) {
        tracing::warn!(
            "this process may outlive the run, because the kernel cannot be told to end it with its parent: {why}"
        );
    }
}

fn invitation() -> Result<Invitation, LiveError> {
    let mut line = String::new();
    // At most 64 KiB are read. After the first line, stdin is only watched for its end.
    let read = std::io::stdin().lock().take(1 << 16).read_line(&mut line);
    read.map_err(LiveError::io("reading the run's invitation from stdin"))?;
    serde_json::from_str(&line).map_err(|why| LiveError::Invitation { why: why.to_string() })
}

/// Starts a thread that ends the process when stdin closes.
fn watch_stdin() -> Result<(), LiveError> {
    let watch = || {
        let mut sink = [0; 64];
        loop {
            match std::io::stdin().lock().read(&mut sink) {
                Ok(0) | Err(_) => std::process::exit(ORPHANED),
                Ok(_) => {}
            }
        }
    };
    let started = std::thread::Builder::new().name("stdin".to_owned()).spawn(watch);
    started.map(drop).map_err(LiveError::io("starting a thread"))
}

async fn join(invitation: Invitation) -> Result<(), LiveError> {
    let Invitation { orchestrator, token, host: here, incarnation, leases } = invitation;
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(LiveError::io("opening a TCP listener"))?;
    let port = listener.local_addr().map_err(LiveError::io("opening a TCP listener"))?.port();
    let stream = TcpStream::connect(orchestrator).await.map_err(LiveError::io("connecting to the orchestrator"))?;
    stream.set_nodelay(true).map_err(LiveError::io("connecting to the orchestrator"))?;
    let (reader, mut control) = stream.into_split();
    let greeting = Greeting { token, host: here, incarnation, purpose: Purpose::Join { port } };
    control
        .write_all(&wire::plain(Kind::Greeting, &greeting)?)
        .await
        .map_err(LiveError::io("sending the greeting to the orchestrator"))?;
    let mut orders = FrameReader::new(reader, Limits::CONTROL);
    let Some(Order::Spawn { plan, book, started }) = hear::<Order>(&mut orders).await? else {
        return Err(LiveError::Dismissed);
    };
    let (sender, reports) = unbounded_channel();
    let directory = Directory { book, token, incarnation, started };
    let plan = Arc::new(*plan);
    let falls = falls(&plan, here);
    let local = LocalHost::spawn_actors(plan, here, directory, &leases, sender)
        .map_err(LiveError::io("starting the actors of the host"))?;
    spawn_local(open_door(listener, local.clone(), token));
    serve(&local, orders, control, reports, falls).await
}

/// Accepts connections from hosts that know the run's token.
async fn open_door(listener: TcpListener, local: Rc<LocalHost>, token: super::control::Token) {
    super::door::attend(listener, token, move |greeting, reader, writer| match greeting.purpose {
        Purpose::Messages => local.answer(&greeting, reader, writer),
        Purpose::Join { .. } => {
            Err("the connection asks to join the run, but only the orchestrator's process accepts hosts".to_owned())
        }
    })
    .await;
}

/// Whether the plan may kill this host's process before the end of the run.
fn falls(plan: &Plan, here: HostId) -> bool {
    plan.faults.iter().any(|fault| matches!(fault.what, What::Crash { host, .. } if host == here))
}

/// Sends the events that were recorded since the last call to the orchestrator's process.
async fn hand_over(local: &LocalHost, control: &mut OwnedWriteHalf) -> Result<(), LiveError> {
    for events in local.take_events().chunks(EVENTS_PER_FRAME) {
        say(control, &Answer::Events(events.to_vec())).await?;
    }
    Ok(())
}

/// Follows the orchestrator's orders and forwards reports until the run is over.
async fn serve(
    local: &LocalHost,
    mut orders: FrameReader<OwnedReadHalf>,
    mut control: OwnedWriteHalf,
    mut reports: UnboundedReceiver<Report>,
    falls: bool,
) -> Result<(), LiveError> {
    // The `select!` below would cancel a read, and a cancelled read of a frame loses bytes. So a separate task reads.
    let (sender, mut heard) = unbounded_channel();
    spawn_local(async move {
        while let Ok(Some(order)) = hear::<Order>(&mut orders).await {
            if sender.send(order).is_err() {
                return;
            }
        }
    });
    let mut tick = tokio::time::interval(HAND_OVER);
    let mut alive = tokio::time::interval(ALIVE_EVERY);
    alive.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut leaving = None;
    loop {
        tokio::select! {
            _ = tick.tick(), if falls || leaving.is_some() => {
                hand_over(local, &mut control).await?;
                if leaving.is_some_and(|since| clock::now().since(since) >= limits::FAREWELL) && local.is_idle() {
                    local.stop();
                    return Ok(());
                }
            }
            _ = alive.tick() => say(&mut control, &Answer::Alive).await?,
            Some(report) = reports.recv() => say(&mut control, &Answer::Report(report)).await?,
            order = heard.recv() => match order {
                Some(Order::Gone { host, incarnation }) => local.lose_host(host, incarnation),
                Some(Order::Here { host, place }) => local.here_again(host, place),
                Some(Order::Released { at }) => local.released(at),
                Some(Order::Leave) => {
                    local.leave();
                    leaving = Some(clock::now());
                }
                Some(Order::Stop { drained }) => {
                    local.stop();
                    if let Some(report) = local.left_over(drained).await {
                        say(&mut control, &Answer::Report(report)).await?;
                    }
                    hand_over(local, &mut control).await?;
                    say(&mut control, &Answer::Over).await?;
                    // Other hosts may still be sending their records, so this process stays until the orchestrator's
                    // process closes the connection.
                    while let Some(order) = heard.recv().await {
                        if let Order::Count = order {
                            local.seal();
                            say(&mut control, &Answer::Counted(local.account())).await?;
                        }
                    }
                    return Ok(());
                }
                Some(Order::Spawn { .. } | Order::Count) => return Err(LiveError::Dismissed),
                // The orchestrator's process has closed the connection, and reports the reason itself.
                None => return Ok(()),
            },
        }
    }
}
