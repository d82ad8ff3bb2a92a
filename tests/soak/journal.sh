#!/bin/bash
# Power cuts, failing disks and lying media under the journal, for many more seeds than the tests
# run. SIM_SEEDS: how many power cuts (1000); of the others, whose seeds each try every operation or
# every file in turn, a fifth and a twentieth. A failing seed is printed, and how to replay it.
set -eu
seeds=${SIM_SEEDS:-1000}
journal=//tests/engine/log/journal
exec python3 "$(dirname "$0")/many_seeds.py" "$journal:power_cut_test=$seeds" \
  "$journal:disk_trouble_test=$((seeds / 5))" "$journal:media_test=$((seeds / 20))"
