#!/bin/bash
# Runs the journal's tests with each fault of engine/log/journal/mutants.h in turn: $1 has those of
# the journal alone, $2 those of the whole stack. A fault that no test notices fails this one. A hang
# is not noticing.
set -u
unset XML_OUTPUT_FILE  # the cases that fail on purpose are not this test's
log=${TEST_TMPDIR:-/tmp}/mutant.log
survivors=""

try() {  # binary, mutants...
  local tests=$1 mutant result
  shift
  if ! SIM_SEEDS=1 timeout 120 "$tests" >"$log" 2>&1; then
    tail -40 "$log"
    echo "the tests fail without any fault"
    exit 1
  fi
  for mutant in "$@"; do
    JOURNAL_MUTANT=$mutant timeout 120 "$tests" --gtest_fail_fast >"$log" 2>&1
    result=$?
    if [ $result = 0 ] || [ $result = 124 ]; then
      survivors="$survivors $mutant"
      echo "$mutant: NOT CAUGHT (exit $result)"
    else
      echo "$mutant: $(grep -m1 -E '^\[  FAILED  \] [A-Za-z]+\.|CHECK failed' "$log")"
    fi
  done
}

try "$1" ack_before_frame ignore_run ignore_file_number durable_seq_zero free_before_checkpoint \
  publish_after_truncation retry_failed_sync no_flush_after_syncfs tail_from_one_partition
try "$2" frames_after_tear keep_tail key_by_name cut_before_truncate
GTEST_FILTER='RecoveryTest.*' try "$2" no_suspects suspects_forgotten
[ -z "$survivors" ]
