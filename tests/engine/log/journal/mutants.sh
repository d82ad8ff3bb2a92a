#!/bin/bash
# Runs the journal's tests with each fault of engine/log/journal/mutants.h in turn. A fault that no
# test notices fails this one. A hang is not noticing.
set -u
unset XML_OUTPUT_FILE  # the cases that fail on purpose are not this test's
tests=$1
mutants="ack_before_frame ignore_run ignore_file_number durable_seq_zero free_before_checkpoint
  publish_after_truncation retry_failed_sync no_flush_after_syncfs tail_from_one_partition"
log=${TEST_TMPDIR:-/tmp}/mutant.log
survivors=""

if ! timeout 120 "$tests" >"$log" 2>&1; then
  tail -40 "$log"
  echo "the tests fail without any fault"
  exit 1
fi
for mutant in $mutants; do
  JOURNAL_MUTANT=$mutant timeout 120 "$tests" --gtest_fail_fast >"$log" 2>&1
  result=$?
  if [ $result = 0 ] || [ $result = 124 ]; then
    survivors="$survivors $mutant"
    echo "$mutant: NOT CAUGHT (exit $result)"
  else
    echo "$mutant: $(grep -m1 -E '^\[  FAILED  \] [A-Za-z]+\.|CHECK failed' "$log")"
  fi
done
[ -z "$survivors" ]
