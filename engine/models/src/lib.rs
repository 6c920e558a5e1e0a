//! The model code that a device executes: ranges of transformer blocks with their KV caches, and the client's embedding
//! and LM head.
//!
//! A [`Source`] is the origin of tensors: a Hugging Face folder, or a seed. A [`BlockSpan`] loads consecutive blocks
//! from a source. A [`Cache`] holds the keys and values of one session for all or some blocks of a span. An
//! [`EmbeddingAndHead`] is the part of the model that the client runs.
//!
//! All code here is synchronous, and used by one thread per device. The crate has no clock, no network and no actors,
//! and never downloads anything. Invalid files cause a [`ModelError`] that names the file and the tensor.
#![deny(unsafe_code)]
mod attention;
mod block;
mod bloom;
mod cache;
mod checkpoint;
mod config;
mod cpu;
mod embedding_and_head;
mod error;
mod families;
mod file;
mod finite;
mod folder;
mod inspect;
mod linear;
mod llama;
mod norm;
mod opt;
mod position;
mod prompts;
mod random;
mod sampling;
mod source;
mod span;
mod suits;
mod tensors;
mod text;
mod unused;

pub use cache::Cache;
pub use checkpoint::{Checkpoint, write_checkpoint};
pub use config::Config;
pub use embedding_and_head::EmbeddingAndHead;
pub use error::ModelError;
pub use folder::{Index, parse_header};
pub use inspect::{Holding, Inspection, inspect};
pub use prompts::{PromptError, prompt_ids};
pub use sampling::{best_scores, choose, greedy};
pub use source::Source;
pub use span::{BlockSpan, Part};
pub use suits::{Unsuited, suits};
pub use text::{Text, end_of_sequence, parse_end_of_sequence};
