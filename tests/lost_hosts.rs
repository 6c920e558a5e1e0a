//! Tests a live run whose host process is killed at different times. The run must end with exit code 4, name the killed
//! host, and blame no healthy host.
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Starts a live run of the nano scenario with `clients` clients and `requests` requests each.
fn start(out: &Path, clients: u32, requests: u32) -> Child {
    let (clients, requests) = (format!("workload.clients={clients}"), format!("workload.micro_batches={requests}"));
    let arguments = ["live", "nano", "--set", "workload.generate=32", "--set", &requests, "--set", &clients, "--out"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_swarmbench"));
    let command = command.args(arguments).arg(out).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

/// Returns the child processes of `parent` that belong to hosts whose names begin with `title`.
fn children(parent: u32, title: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("there is a /proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_it = |pid: &u32| {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
        // After the process name, the fields are its state and its parent's id.
        let of = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        of == Some(parent) && line.starts_with(format!("swarmbench:{title}").as_bytes())
    };
    pids.filter(is_it).collect()
}

fn await_children(parent: u32, title: &str, count: usize) -> Vec<u32> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found = children(parent, title);
        if found.len() == count {
            return found;
        }
        assert!(Instant::now() < deadline, "{count} processes called {title} are to come, {} are there", found.len());
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the thread that runs a host's actors (its arbiter) has woken `wanted` times. It wakes some dozens of
/// times in the warm-up, and hundreds of times in the timed run.
fn await_wakes(pid: u32, wanted: u64) {
    let wakes = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse::<u64>().ok()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while wakes().unwrap_or(0) < wanted {
        assert!(Instant::now() < deadline, "process {pid} does not come to work");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Kills a client's process after its arbiter has woken `wakes` times, and checks the reported outcome.
fn kill_a_client(clients: u32, requests: u32, wakes: u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let run = start(dir.path(), clients, requests);
    let victim = await_children(run.id(), "client", clients as usize)[0];
    let title = fs::read(format!("/proc/{victim}/cmdline")).expect("it lives");
    let title = String::from_utf8_lossy(title.split(|byte| *byte == 0).next().expect("a name")).into_owned();
    let host = title.strip_prefix("swarmbench:").expect("a host").to_owned();
    await_wakes(victim, wakes);
    assert!(Command::new("kill").args(["-KILL", &victim.to_string()]).status().expect("there is a kill").success());
    let output = run.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    let when = format!("after {wakes} wakes, of {clients}");
    assert!(!said.contains("before the start of the timed run"), "{when}: {said}");
    assert_eq!(output.status.code(), Some(4), "{when}: {said}");
    // If the killed process had not joined yet, the run does not start.
    assert!(said.contains("host_lost") || said.contains("not_started"), "{when}: {said}");
    assert!(said.contains(&format!("`{host}`")) && said.contains("signal: 9"), "{when}: {said}");
}

#[test]
fn the_only_client_is_named_whenever_it_is_killed() {
    // The numbers of wake-ups range from before the process has joined, over the warm-up, to the middle of the timed
    // run.
    for wakes in [0, 3, 10, 30, 60, 100, 200, 500] {
        // So many requests would take minutes, so the process is killed in the middle of the run.
        kill_a_client(1, 5_000, wakes);
    }
}

#[test]
fn one_of_two_clients_is_named_and_the_other_goes_on() {
    for wakes in [60, 300] {
        kill_a_client(2, 20, wakes);
    }
}
