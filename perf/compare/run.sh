#!/bin/bash
# The broker beside the raw loops, goal by goal: perf/README.md.
#
#   perf/compare/run.sh [--quick] [--bin=DIR] [--json=DIR] [GOAL...] [--PROGRAM_FLAG...]
#
# GOAL: append fetch latency produce idle idle_connections durable_append durable_latency durable_produce recovery
# retention compaction catch_up (root); all unless named. --bin is where Bazel put its programs (bazel-bin). Other
# --flags go to each program.
# Exits 3 where a goal is not met, 1 where something failed.
set -uo pipefail
cd "$(dirname "$0")/../.."

all=(append fetch latency produce idle idle_connections durable_append durable_latency durable_produce recovery
  retention compaction catch_up)
bin=bazel-bin goals=() flags=() quick="" json=""
for argument in "$@"; do
  case $argument in
    --quick) quick=1 ;;
    --bin=*) bin=${argument#--bin=} ;;
    --json=*) json=${argument#--json=} ;;
    --help | -h) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 0 ;;
    --*) flags+=("$argument") ;;
    *)
      [[ " ${all[*]} " == *" $argument "* ]] || { echo "run.sh: no such goal: $argument (${all[*]})" >&2 && exit 1; }
      goals+=("$argument")
      ;;
  esac
done
[ ${#goals[@]} -gt 0 ] || goals=("${all[@]}")

short_rounds() { # GOAL
  case $1 in
    append) echo --rounds=3 --total_mib=256 ;;
    fetch) echo --rounds=3 --seconds=0.3 --data_mib=256 ;;
    latency) echo --rounds=3 --requests=2000 ;;
    produce) echo --rounds=3 --batches=300 ;;
    idle) echo --rounds=3 --seconds=1 ;;
    idle_connections) echo --rounds=3 --connections=2000 --requests=2000 ;;
    durable_append) echo --rounds=3 --operations=16 ;;
    durable_latency) echo --rounds=3 --seconds=1 ;;
    durable_produce) echo --rounds=3 --total_mb=200 ;;
    recovery) echo --rounds=1 --fill_mib=64,256 ;;
    retention) echo --rounds=3 --seconds=2 ;;
    catch_up) echo --rounds=3 --seconds=2 --memory_mib=256 ;;
  esac
}

# Programs remove what they wrote; after Ctrl-C nobody else would.
RINGTAIL_PERF_DIR=$(mktemp -d "${RINGTAIL_PERF_DIR:-/var/tmp}/ringtail-bench-XXXXXX") || exit 1
export RINGTAIL_PERF_DIR
trap 'rm -rf "$RINGTAIL_PERF_DIR"' EXIT
trap 'exit 130' INT TERM

status=0
[ -z "$json" ] || mkdir -p "$json"
for goal in "${goals[@]}"; do
  command=("$bin/perf/compare_$goal")
  [[ $goal == *append ]] || command+=("--ringtaild=$bin/server/ringtaild")
  # shellcheck disable=SC2207
  [ -z "$quick" ] || command+=($(short_rounds "$goal"))
  [ -z "$json" ] || command+=("--json=$json/$goal.json")
  command+=("${flags[@]}")
  echo "\$ ${command[*]}"
  "${command[@]}"
  code=$?
  [ $code -eq 0 ] || [ $status -eq 1 ] || status=$code
  [ $code -eq 0 ] || [ $code -eq 3 ] || status=1
  echo
done
exit $status
