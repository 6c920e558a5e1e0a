#!/bin/sh
# Checks that a GPU computes correct results, and measures its speed. Needs a GPU, its driver and the CUDA toolkit.
#
#   engine/cuda/check.sh [ORDINAL]      checks the GPU cuda:ORDINAL; the default is 0
#
# 1  compares the results for the fixtures of every architecture with those of transformers
# 2  compares decode with the GPU's memory bandwidth, and prefill with the speed of its matmuls (benches/blocks.rs)
# 3  runs a live swarm whose peers share the GPU, and the same swarm on the CPU
# 4  checks that a run on a GPU that does not exist is rejected with exit code 3
#
# The script stops at the first step that fails. Steps 2 and 3 print figures, which are not checked.
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
