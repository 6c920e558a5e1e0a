#!/bin/sh
# Whether a GPU computes what the CPU does, and how fast. For a machine with an NVIDIA GPU, its driver and the CUDA toolkit.
#
#   engine/cuda/check.sh [ORDINAL]      cuda:0 if not given
#
# 1  every architecture's fixtures on the GPU against transformers
# 2  decode against the rate at which the card's memory is read, prefill against its matmuls (benches/blocks.rs)
# 3  a live swarm whose peers share the card, and the same on the CPU
# 4  that a card which is not there is refused, with exit code 3
#
# Ends with the first that fails. The figures of 2 and 3 are printed, and nothing is asserted of them.
set -eu

ordinal=${1:-0}
cd "$(dirname "$0")/../.."
nvidia-smi -L
cargo build --release --features cuda
program=target/release/swarmbench
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT

echo "== 1 exactness"
SWARMBENCH_TEST_DEVICE=cuda:$ordinal cargo test --release -p models --features cuda --test exactness

echo "== 2 speed against the floors"
SWARMBENCH_BENCH_DEVICE=cuda:$ordinal cargo bench -p models --features cuda --bench blocks

echo "== 3 a live swarm, its peers on one card"
"$program" live quickstart --out "$runs" --set "hosts.0.device=Cuda(ordinal: $ordinal)"
"$program" live quickstart --out "$runs"

echo "== 4 a card that is not there"
code=0
"$program" live quickstart --out "$runs" --set "hosts.0.device=Cuda(ordinal: 4096)" || code=$?
[ "$code" = 3 ] || { echo "exit code $code instead of 3" >&2; exit 1; }
echo "all four passed"
