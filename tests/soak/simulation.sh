#!/bin/bash
# Thousands of seeds of what the tests run some of: whole brokers under random trouble, and groups
# over them. SIM_SEEDS: how many (3000), a third as many of the groups. A failing seed is printed,
# and how to replay it.
set -eu
seeds=${SIM_SEEDS:-3000}
exec python3 "$(dirname "$0")/many_seeds.py" "//tests/server:simulation_test=$seeds" \
  "//tests/server/kafka:groups_simulation_test=$((seeds / 3))"
