//! Tests that a live run drops every connection of an unknown program. Garbage, frames with false sizes, truncated
//! frames and connections that send nothing neither end nor change the run.
#[path = "support/nano.rs"]
mod nano;

use actors::limits::REPEATED_WARNINGS;
use actors::message::Forwarding;
use actors::record::Event;
use live::{Options, run};
use scenarios::plan::{Plan, Workload};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};
use topology::outcome::Run;

fn plan(name: &str) -> Plan {
    let work = Workload { micro_batches: 60, batch: 1, prompt: 8, generate: 20 };
    let mut plan = nano::plan(2, 1, Forwarding::Push, work);
    plan.hosts.iter_mut().for_each(|host| host.name = format!("{name}-{}", host.name));
    plan
}

fn live(plan: &Plan) -> Run {
    run(plan, &Options::new(env!("CARGO_BIN_EXE_swarmbench")), &AtomicBool::new(false)).expect("the run begins")
}

/// Returns the loopback ports on which a process listens.
fn listening(process: &Path) -> BTreeSet<u16> {
    let sockets: BTreeSet<String> = fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()?.into_os_string().into_string().ok())
        .filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let port = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_ours = fields.get(3) == Some(&"0A") && sockets.contains(*fields.get(9)?);
        is_ours.then(|| u16::from_str_radix(fields[1].split(':').nth(1)?, 16).ok())?
    };
    table.lines().skip(1).filter_map(port).collect()
}

/// Returns the ports of the orchestrator, which is this process, and of the hosts of a run.
fn ports(name: &str) -> BTreeSet<u16> {
    let mut ports = listening(Path::new("/proc/self"));
    let title = format!("swarmbench:{name}-");
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        if line.starts_with(title.as_bytes()) {
            ports.extend(listening(&process.path()));
        }
    }
    ports
}

/// Connects to `port` and sends the bytes `noise`. Returns whether the connection was dropped without an answer.
fn disturb(port: u16, noise: &[u8], then: Option<Shutdown>) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return true };
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let _ = stream.write_all(noise);
    if let Some(way) = then {
        let _ = stream.shutdown(way);
    }
    let mut answer = Vec::new();
    // A dropped connection is reset or closed; a read timeout means that the connection was kept.
    let kept = stream.read_to_end(&mut answer).is_err_and(|why| why.kind() == std::io::ErrorKind::WouldBlock);
    answer.is_empty() && !kept
}

fn noises() -> Vec<Vec<u8>> {
    // The fields of a header are: magic, version, kind, kind of tensor, reserved, bytes of the control part, bytes of
    // the tensor.
    let header = |kind: u8, control: u32, tensor: u32| {
        let sizes = [control.to_le_bytes(), tensor.to_le_bytes()].concat();
        [b"SwRM".as_slice(), &[1, kind, 0, 0], &sizes].concat()
    };
    let frames = (0..6).flat_map(|kind| [header(kind, u32::MAX, 0), header(kind, 16, u32::MAX), header(kind, 100, 0)]);
    let garbage = [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0; 16], vec![0xff; 1 << 20], vec![7; 3]];
    // This frame is complete, but its token is wrong.
    let guessed = [header(0, 24, 0), vec![1; 24]].concat();
    frames.chain(garbage).chain([guessed]).collect()
}

#[test]
fn a_run_goes_on_whoever_calls() {
    let texts = |run: &Run| {
        let ended = |event: &Event| match event {
            Event::Ended(ended) => Some((ended.request, ended.output.clone())),
            _ => None,
        };
        run.events.iter().filter_map(ended).collect::<BTreeSet<_>>()
    };
    let quiet = live(&plan("quiet"));
    assert!(quiet.outcome.is_ok(), "{}", quiet.outcome);
    let (over, plan) = (AtomicBool::new(false), plan("noisy"));
    let (run, called) = thread::scope(|scope| {
        let noise = scope.spawn(|| {
            let mut called = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                for port in ports("noisy") {
                    called.insert(port);
                    for noise in noises() {
                        assert!(
                            disturb(port, &noise, Some(Shutdown::Write)),
                            "{port} answers {:?}",
                            &noise[..noise.len().min(16)]
                        );
                    }
                }
                thread::sleep(Duration::from_millis(5));
            }
            called
        });
        // A connection that sends nothing is dropped too, after some seconds.
        let silent = scope.spawn(|| {
            let port = loop {
                match ports("noisy").first() {
                    Some(port) => break *port,
                    None => thread::sleep(Duration::from_millis(1)),
                }
            };
            disturb(port, &[], None)
        });
        let run = live(&plan);
        over.store(true, Ordering::Relaxed);
        assert!(silent.join().expect("it ends"), "silence is not kept");
        (run, noise.join().expect("nobody is answered"))
    });
    assert!(run.outcome.is_ok(), "{}", run.outcome);
    assert!(called.len() >= 4, "the orchestrator's port and those of three hosts: {called:?}");
    assert_eq!(texts(&run), texts(&quiet));
}

#[test]
fn warnings_about_strangers_are_counted_and_not_repeated() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_swarmbench"));
    command.args(["live", "nano", "--set", "workload.micro_batches=30", "--out"]).arg(dir.path());
    let run = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn();
    let run = run.expect("the program starts");
    let process = std::path::PathBuf::from(format!("/proc/{}", run.id()));
    let port = loop {
        if let Some(port) = listening(&process).first() {
            break *port;
        }
        thread::sleep(Duration::from_millis(1));
    };
    for _ in 0..200 {
        assert!(disturb(port, b"GET / HTTP/1.1\r\n\r\n", Some(Shutdown::Write)), "a stranger is answered");
    }
    let output = run.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let warnings = said.lines().filter(|line| line.contains("a connection of an unknown program")).count() as u64;
    assert_eq!(warnings, REPEATED_WARNINGS, "{said}");
    assert!(said.contains(&format!("{} more connections", 200 - REPEATED_WARNINGS)), "{said}");
}
