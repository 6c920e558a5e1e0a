//! The news that the run controller receives from and about the child processes of a run.
use super::control::{Answer, hear};
use super::host_supervisor::{Meeting, ProcessEnd};
use super::wire::{FrameReader, Limits, WireError};
use super::{Options, answers};
use actors::id::HostId;
use scenarios::plan::Plan;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;

/// The interval at which the interrupt flag is polled.
pub const LOOK: Duration = Duration::from_millis(20);

/// The time from the end of a process's connection until that end is reported. If the process has ended too, its exit
/// is reported within this time, and explains more.
const EXIT_WITHIN: Duration = Duration::from_secs(2);

/// A piece of news from or about a child process, for the run controller.
pub enum News {
    Joined {
        host: HostId,
        incarnation: u32,
        joined: Box<Joined>,
    },
    Answer {
        host: HostId,
        answer: Answer,
    },
    /// The process of a host has ended.
    Exited {
        host: HostId,
        end: ProcessEnd,
    },
    /// The connection of a host's process has ended, or was closed for a protocol violation.
    HungUp {
        host: HostId,
        incarnation: u32,
        why: String,
    },
}

/// A host's process that has joined the run and waits for the plan.
pub struct Joined {
    pub port: u16,
    pub orders: OwnedWriteHalf,
    pub answers: FrameReader<OwnedReadHalf>,
}

/// The data with which the run controller starts a child process and lets it join the run.
pub struct Meet<'a> {
    pub options: &'a Options,
    pub meeting: Meeting<'a>,
}

/// Forwards the answers of a host's process until its connection ends or it violates the protocol.
pub async fn listen(
    plan: Arc<Plan>,
    (host, incarnation): (HostId, u32),
    mut answers: FrameReader<OwnedReadHalf>,
    news: UnboundedSender<News>,
) {
    answers.limits = Limits::CONTROL;
    let (why, lied) = loop {
        let answer = match hear::<Answer>(&mut answers).await {
            Ok(Some(answer)) => answer,
            Ok(None) => break ("the process closed its connection to the orchestrator".to_owned(), false),
            Err(WireError::Io(why)) => break (why.to_string(), false),
            Err(why) => break (why.to_string(), true),
        };
        if let Err(why) = answers::check(&plan, host, incarnation, &answer) {
            break (why, true);
        }
        if news.send(News::Answer { host, answer }).is_err() {
            return;
        }
    };
    if !lied {
        // The process has most likely ended, and its exit status explains more than the closed connection.
        sleep(EXIT_WITHIN).await;
    }
    let _ = news.send(News::HungUp { host, incarnation, why });
}

/// Waits until `interrupt` is set.
pub async fn interrupted(interrupt: &AtomicBool) {
    while !interrupt.load(Ordering::Relaxed) {
        sleep(LOOK).await;
    }
}
