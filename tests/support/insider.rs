//! A live run whose secret token the test knows. The test can therefore connect to hosts as if it were a host of the
//! run.
use actors::id::HostId;
use live::Options;
use live::wire::{self, Kind};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};
use tempfile::TempDir;

/// A shell script that saves the invitation from a host process's stdin, and passes it on to the process.
const TAP: &str = r#"IFS= read -r line; printf '%s\n' "$line" > "$2/new-$$"; mv "$2/new-$$" "$2/invitation"
{ printf '%s\n' "$line"; exec cat; } | exec "$1" host"#;

/// Reads the invitations that a run sends to the stdin of its hosts.
pub struct Insider {
    dir: TempDir,
}

impl Insider {
    pub fn new() -> Insider {
        Insider { dir: tempfile::tempdir().expect("a folder") }
    }

    /// Returns options for a run. The test will connect to the run's hosts.
    pub fn options(&self) -> Options {
        let dir = self.dir.path().to_str().expect("a plain path");
        let args = ["-c", TAP, "tap", env!("CARGO_BIN_EXE_swarmbench"), dir];
        let args = args.map(str::to_owned).to_vec();
        Options { args, dismiss_within: Duration::from_secs(2), ..Options::new("/bin/sh") }
    }

    /// Returns the run's invitation, as soon as a host has received one.
    pub fn invitation(&self) -> serde_json::Value {
        let line = soon("no host was invited", || fs::read(self.dir.path().join("invitation")).ok());
        serde_json::from_slice(&line).expect("an invitation")
    }

    /// Returns the run's token.
    pub fn token(&self) -> [u8; 16] {
        serde_json::from_value(self.invitation()["token"].clone()).expect("a token")
    }

    /// Connects to the process called `title` with a greeting as process `incarnation` of `host`.
    pub fn claim(&self, title: &str, host: u32, incarnation: u32) -> TcpStream {
        let port = soon("it does not listen", || listening(title).first().copied());
        let greeting = wire::plain(Kind::Greeting, &(self.token(), host, incarnation, 1_u8)).expect("a frame");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
        stream.write_all(&greeting).expect("it is heard");
        stream
    }

    /// Connects to the process called `title` with a greeting as the first process of `host`.
    pub fn call(&self, title: &str, host: HostId) -> TcpStream {
        self.claim(title, host.0, 0)
    }
}

/// Waits until a host's processes have taken part in the timed run: their arbiters have woken more often than start and
/// warm-up require.
pub fn await_work(title: &str) {
    let wakes = |process: &PathBuf| {
        let status = fs::read_to_string(process.join("status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse::<u64>().ok()
    };
    soon("it does not come to work", || family(title).iter().filter_map(wakes).any(|wakes| wakes > 300).then_some(()));
}

fn soon<T>(otherwise: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{otherwise}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Returns the process called `title` and the other processes of its process group, as folders of /proc.
fn family(title: &str) -> Vec<PathBuf> {
    let processes = || fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let called = |process: &PathBuf| fs::read(process.join("cmdline")).is_ok_and(|it| it.starts_with(title.as_bytes()));
    // After the last bracket, which ends the process name, the fields are state, parent and process group.
    let group = |process: &Path| {
        let stat = fs::read_to_string(process.join("stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(2).map(str::to_owned)
    };
    let leaders: BTreeSet<String> = processes().filter(called).filter_map(|process| group(&process)).collect();
    processes().filter(|process| group(process).is_some_and(|group| leaders.contains(&group))).collect()
}

/// Returns the loopback ports on which the process called `title` or its children listen.
fn listening(title: &str) -> Vec<u16> {
    let descriptors = family(title).into_iter().filter_map(|process| fs::read_dir(process.join("fd")).ok()).flatten();
    let sockets: BTreeSet<String> = descriptors
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
