#!/bin/bash
# Thousands of seeds of what the tests run some of: whole brokers under random trouble, and groups
# over them. SIM_SEEDS: how many (3000), a third as many of the groups. A failing seed is printed;
# replay it with --test_env=SIM_SEED=N.
set -eu
cd "$(dirname "$0")/../.."
seeds=${SIM_SEEDS:-3000}
failed=0
run() { # TEST SEEDS
  # shellcheck disable=SC2086  # several options, by intent
  bazel ${RINGTAIL_BAZEL_STARTUP:-} test --test_env=SIM_SEEDS="$2" --test_timeout=7200 --test_output=errors \
    --nocache_test_results "$1" || failed=1
}
run //tests/server:simulation_test "$seeds"
run //tests/server/kafka:groups_simulation_test $((seeds / 3))
exit $failed
