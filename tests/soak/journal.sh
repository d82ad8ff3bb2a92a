#!/bin/bash
# Power cuts, failing disks and lying media under the journal, for many more seeds than the tests
# run. SIM_SEEDS: how many power cuts (1000); of the others, whose seeds each try every operation or
# every file in turn, a fifth and a twentieth. A failing seed is printed; replay it with
# --test_env=SIM_SEED=N.
set -eu
cd "$(dirname "$0")/../.."
seeds=${SIM_SEEDS:-1000}
failed=0
run() { # TEST SEEDS
  # shellcheck disable=SC2086  # several options, by intent
  bazel ${RINGTAIL_BAZEL_STARTUP:-} test --test_env=SIM_SEEDS="$2" --test_timeout=7200 --test_output=errors \
    --nocache_test_results "//tests/engine/log/journal:$1" || failed=1
}
run power_cut_test "$seeds"
run disk_trouble_test $((seeds / 5))
run media_test $((seeds / 20))
exit $failed
