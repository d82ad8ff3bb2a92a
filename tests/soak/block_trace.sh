#!/bin/bash
# What reaches the device for each frame of the journal (needs root and tracefs).
# BLOCK_TRACE_SECONDS: how long (10).
set -eu
cd "$(dirname "$0")/../../bazel-bin"
exec python3 ../tests/soak/block_trace.py "${BLOCK_TRACE_SECONDS:-10}"
