#!/bin/bash
# Power cuts, failing disks and lying media under the journal, for many more seeds than the tests
# run. SIM_SEEDS: how many (1000). A failing seed is printed; replay it with --test_env=SIM_SEED=N.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck disable=SC2086  # several options, by intent
exec bazel ${RINGTAIL_BAZEL_STARTUP:-} test --test_env=SIM_SEEDS="${SIM_SEEDS:-1000}" --test_timeout=7200 \
  --test_output=errors --nocache_test_results //tests/engine/log/journal:power_cut_test \
  //tests/engine/log/journal:disk_trouble_test //tests/engine/log/journal:media_test
