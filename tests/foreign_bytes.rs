//! Tests that input from other programs never causes a panic, a hang or disproportionate memory use. The corpora of the
//! fuzz targets are replayed, and a seeded generator mutates valid inputs.
#[path = "fuzz/entries.rs"]
mod entries;

use entries::{Entry, entry, seeds};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use std::{fs, thread};

/// The largest number of bytes that may be allocated at one time while an input of a few kilobytes is read. The
/// program's own limits must keep every kind of input below it.
const MEMORY: u64 = 192 << 20;

/// The time after which an input counts as a hang. Inputs normally take milliseconds, even on a slow machine.
const HANG: Duration = Duration::from_secs(120);

/// The random generator SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = actors::seed::mix(self.0);
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Bytes that parsers read as huge lengths: the largest numbers of each width, as integers of fixed and of variable
/// length.
const LENGTHS: [&[u8]; 6] = [
    &[0xff, 0xff, 0xff, 0x7f],
    &[0xff; 8],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xfe, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    b"99999999999999999999",
];

/// Applies one to three random changes: it flips bits, replaces bytes by huge lengths, removes or doubles pieces, or
/// cuts the end off.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            return;
        }
        // Most formats have counts and sizes at their start or end.
        let at = match random.below(3) {
            0 => random.below(bytes.len()),
            1 => random.below(bytes.len().min(256)),
            _ => bytes.len() - 1 - random.below(bytes.len().min(2048)),
        };
        match random.below(6) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = [0, 0x7f, 0x80, 0xff, b'-', b'('][random.below(6)],
            3 => {
                let length = LENGTHS[random.below(LENGTHS.len())];
                let end = bytes.len().min(at + [0, 1, length.len()][random.below(3)]);
                bytes.splice(at..end, length.iter().copied());
            }
            4 => {
                let end = bytes.len().min(at + 1 + random.below(64));
                let piece: Vec<u8> = bytes.drain(at..end).collect();
                if random.below(2) == 0 {
                    let again: Vec<u8> = piece.repeat(2 + random.below(3));
                    bytes.splice(at..at, again);
                }
            }
            _ => bytes.truncate(at),
        }
    }
}

/// Calls an entry for each input, in a separate thread that announces each input before it passes the input to the
/// entry.
fn run(entry: Entry, inputs: impl Iterator<Item = (String, Vec<u8>)> + Send + 'static) {
    let (sender, told) = channel();
    let thread = thread::spawn(move || {
        for (which, bytes) in inputs {
            let length = bytes.len();
            if sender.send(which).is_err() {
                return;
            }
            let counted = allocation_counter::measure(|| entry(&bytes));
            assert!(counted.bytes_max < MEMORY, "{} bytes of memory for {length} bytes", counted.bytes_max);
        }
    });
    let mut last = String::new();
    loop {
        match told.recv_timeout(HANG) {
            Ok(which) => last = which,
            Err(RecvTimeoutError::Timeout) => panic!("{last} hangs"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    assert!(thread.join().is_ok(), "{last} made it panic");
}

/// Calls an entry with its seeds and its corpus, and then with `rounds` mutations of these.
#[track_caller]
fn attack(name: &'static str, rounds: u64) {
    let mut bases = seeds(name);
    bases.extend(corpus(name).into_iter().map(|(_, bytes)| bytes));
    let whole = bases.clone().into_iter().enumerate().map(move |(at, bytes)| (format!("{name}: base {at}"), bytes));
    let mutated = (0..rounds).map(move |round| {
        let mut random = Random(round.wrapping_mul(0x9e37_79b9).wrapping_add(name.len() as u64));
        let mut bytes = bases[random.below(bases.len())].clone();
        mutate(&mut bytes, &mut random);
        (format!("{name}: round {round}"), bytes)
    });
    run(entry(name), whole.chain(mutated));
}

/// Returns the files of an entry's corpus, sorted by name.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry of the corpus").path())
        .map(|path| (path.display().to_string(), fs::read(&path).expect("a file of the corpus")))
        .collect();
    files.sort();
    files
}

#[test]
fn every_corpus_is_replayed() {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for dir in fs::read_dir(all).expect("the corpora") {
        let name = dir.expect("a corpus").file_name().into_string().expect("a name in UTF-8");
        let files = corpus(&name);
        assert!(!files.is_empty(), "the corpus {name} is empty");
        run(entry(&name), files.into_iter());
    }
}

#[test]
fn frames_of_any_bytes_are_frames_or_errors() {
    attack("frames", 10_000);
}

#[test]
fn greetings_of_any_bytes_are_greetings_or_errors() {
    attack("greeting", 10_000);
}

#[test]
fn plans_of_any_bytes_are_plans_or_errors() {
    attack("plan", 4_000);
}

#[test]
fn profiles_of_any_text_are_profiles_or_errors() {
    attack("profile", 1_000);
}

#[test]
fn scenarios_of_any_text_are_scenarios_or_errors() {
    attack("scenario", 1_000);
}

#[test]
fn run_directories_of_any_bytes_are_read_or_the_damaged_file_is_named() {
    attack("run_directory", 2_000);
}

#[test]
fn charts_of_damaged_run_directories_are_drawn_or_refused() {
    attack("report", 60);
}

#[test]
fn model_configurations_of_any_text_are_read_or_named() {
    attack("config", 800);
}

#[test]
fn weights_of_any_bytes_are_read_or_named() {
    attack("safetensors", 300);
    attack("safetensors_index", 150);
}

#[test]
fn tokenizers_of_any_text_are_read_or_named() {
    attack("tokenizer", 1_000);
}

#[test]
fn tables_of_any_bytes_are_read_or_named() {
    attack("round_trips", 400);
    attack("samples", 150);
    attack("times_away", 400);
}

#[test]
fn traces_of_any_bytes_are_read_or_named() {
    attack("trace", 300);
}
