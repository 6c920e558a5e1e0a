//! Writes the seeds of every fuzz target into the target's corpus: `cargo run --bin seeds`.
use std::fs;
use std::path::Path;

fn main() {
    for (name, _) in swarmbench_fuzz::ENTRIES {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        fs::create_dir_all(&corpus).expect("a directory of the corpus");
        for (at, seed) in swarmbench_fuzz::seeds(name).into_iter().enumerate() {
            fs::write(corpus.join(format!("seed-{at:02}")), seed).expect("a file of the corpus");
        }
    }
}
