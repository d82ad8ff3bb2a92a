#!/bin/bash
# kill -9 under load, every second one again while it recovers, and file systems shut down without
# flushing their log (ext4, XFS; needs root): many more rounds than the tests run.
# KILL_ROUNDS (200), POWER_CUT_ROUNDS (50): how many.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck disable=SC2086  # several options, by intent
exec bazel ${RINGTAIL_BAZEL_STARTUP:-} test --test_env=KILL_ROUNDS="${KILL_ROUNDS:-200}" \
  --test_env=POWER_CUT_ROUNDS="${POWER_CUT_ROUNDS:-50}" --test_timeout=7200 --test_output=streamed \
  --nocache_test_results //tests/e2e:power_cut_test
