#!/usr/bin/env bash
# Draws the pictures of the docs again: docs/draw-pictures.sh [PROGRAM], PROGRAM being target/release/swarmbench if not given.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "${1:-$here/../target/release/swarmbench}")
pictures=$here/src/pictures
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$pictures"
cd "$scratch"

# run SCENARIO [FLAGS]: simulates it into runs/SCENARIO-sim-001
run() { "$program" sim "$@" --out "$scratch/runs" >/dev/null 2>&1; }
# keep RUN CHART PICTURE: copies a chart of a run into the docs
keep() { cp "runs/$1-sim-001/charts/$2.png" "$pictures/$3.png"; }

run quickstart
keep quickstart latency-breakdown quickstart-breakdown
keep quickstart latency-cdf latency-cdf
run relay-vs-push
keep relay-vs-push mean-latency-vs-network-default-delay latency-vs
keep relay-vs-push gantt-delay-50-ms-relay gantt
run open-loop
keep open-loop pareto-workload-rate pareto
run heatmap
keep heatmap throughput-over-workload-prompt-and-workload-generate heatmap
run flexgen-petals-opt30b --only 'workload.prompt=512 && workload.generate=32'
keep flexgen-petals-opt30b latency-breakdown breakdown
run flexgen-petals-opt30b --only 'workload.prompt=512' --repeat 1 --set 'report=[ThroughputVs("workload.generate")]'
cp runs/flexgen-petals-opt30b-sim-002/charts/throughput-vs-workload-generate.png "$pictures/petals-opt30b-throughput.png"
run herd
keep herd utilisation-clients-16 utilisation
run churn
keep churn timeline-rate-0-003 timeline
run discovery
keep discovery discovery-time-vs-hosts-0-count discovery
keep discovery coverage coverage

# The scenario of the tutorial is its first RON block.
awk '/^```ron/ {inside = 1; next} /^```/ {if (inside) exit} inside' "$here/src/tutorial.md" > mine.ron
"$program" sim mine.ron --out "$scratch/runs" >/dev/null 2>&1
keep mine mean-latency-vs-network-default-delay tutorial-latency
