#!/bin/bash
# Runs one libFuzzer program for RINGTAIL_FUZZ_SECONDS: fuzz.sh PROGRAM MAX_LEN DICT|- [CORPUS FILE...]
set -euo pipefail
program=$1 max_len=$2 dict=$3
shift 3
seconds=${RINGTAIL_FUZZ_SECONDS:-5}
found=${RINGTAIL_FUZZ_CORPUS:-${TEST_TMPDIR:-$(mktemp -d)}}/$(basename "$program")
seeds=${TEST_TMPDIR:-$(mktemp -d)}/seeds
artifacts=${TEST_UNDECLARED_OUTPUTS_DIR:-.}
mkdir -p "$found" "$seeds"
for file in "$@"; do cp -L "$file" "$seeds/$(echo "$file" | tr / _)"; done
options=(-max_total_time="$seconds" -max_len="$max_len" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1
  -artifact_prefix="$artifacts/")
[ "$dict" = - ] || options+=(-dict="$dict")
if ! "./$program" "${options[@]}" "$found" "$seeds"; then
  echo "fuzzing failed; replay with: bazel run --config=asan <this target>_bin -- FILE, the input is in $artifacts" >&2
  exit 1
fi
