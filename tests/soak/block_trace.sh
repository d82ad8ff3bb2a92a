#!/bin/bash
# What reaches the device for each frame of the journal (needs root and tracefs).
# BLOCK_TRACE_SECONDS: how long (10).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../bazel-bin"
exec python3 "$here/block_trace.py" "${BLOCK_TRACE_SECONDS:-10}"
