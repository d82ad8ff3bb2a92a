#!/bin/bash
# Thousands of seeds of what the tests run some of: whole brokers under random trouble.
# SIM_SEEDS: how many (3000). A failing seed is printed; replay it with --test_env=SIM_SEED=N.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck disable=SC2086  # several options, by intent
exec bazel ${RINGTAIL_BAZEL_STARTUP:-} test --test_env=SIM_SEEDS="${SIM_SEEDS:-3000}" --test_timeout=7200 \
  --test_output=errors --nocache_test_results //tests/server:simulation_test
