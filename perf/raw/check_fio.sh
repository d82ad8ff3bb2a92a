#!/bin/bash
# Compares the raw write and read loops with Debian's fio doing the same, in interleaved rounds: a limit that
# fio beats is not a limit. (fio sends no file over TCP, so raw_fetch has no counterpart in it.)
#
#   perf/raw/check_fio.sh [DIRECTORY OF raw_append AND raw_read] [ROUNDS]
#
# Exits 1 where a raw loop stays below 0.9 of fio.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
bin=${1:-$root/bazel-bin/perf}
rounds=${2:-7}
mib=1024
export RINGTAIL_PERF_DIR=${RINGTAIL_PERF_DIR:-/var/tmp}

if ! command -v fio >/dev/null; then
  echo "check_fio.sh: fio is missing: apt-get install fio" >&2
  exit 2
fi
scratch=$(mktemp -d "$RINGTAIL_PERF_DIR/ringtail-fio-XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# GB/s of one fio job; field 7 of the terse format is KiB/s read, field 48 KiB/s written.
fio_gb_per_s() { # FIELD BLOCK_KIB OPTION...
  local field=$1 block_kib=$2
  shift 2
  fio --name=check --directory="$scratch" --size=${mib}m --bs="${block_kib}k" --thread \
    --scramble_buffers=0 --gtod_reduce=1 --invalidate=0 --output-format=terse "$@" |
    awk -F';' -v field="$field" '{ print $field * 1024 / 1e9 }'
}

# GB/s of one round of one row of a raw program: the figure before the first bracket.
raw_gb_per_s() { # ROW PROGRAM OPTION...
  local row=$1 program=$2
  shift 2
  "$bin/$program" --rounds=1 "$@" |
    awk -v row="$row" 'index($0, row) == 1 { sub(/ \(.*/, ""); print $NF; exit }'
}

median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

compare() { # NAME RAW_COMMAND FIO_COMMAND
  local name=$1 raw fio round
  raw=() fio=()
  for ((round = 0; round <= rounds; round++)); do # the first round only warms up
    raw+=("$($2)")
    fio+=("$($3)")
  done
  local raw_median fio_median
  raw_median=$(printf '%s\n' "${raw[@]:1}" | median)
  fio_median=$(printf '%s\n' "${fio[@]:1}" | median)
  awk -v n="$name" -v r="$raw_median" -v f="$fio_median" 'BEGIN {
    printf "%-28s %8.2f %8.2f %8.2f%s\n", n, r, f, r / f, (r / f < 0.9 ? "  LOW" : "")
    exit r / f < 0.9 }'
}

write_raw() { raw_gb_per_s "$row" raw_append --batch_kib="$kib" --total_mib=$mib --only="$row"; }
write_fio() { fio_gb_per_s 48 "$kib" --rw=write --fallocate=native --unlink=1 --ioengine="$engine" --iodepth=1; }
read_raw() { raw_gb_per_s "$(size_name "$kib")" raw_read --chunk_kib="$kib" --file_mib=$mib; }
read_fio() { fio_gb_per_s 7 "$kib" --rw=read --pre_read=1 --ioengine=psync; }
size_name() { if (($1 >= 1024)); then echo "$(($1 / 1024)) MiB"; else echo "$1 KiB"; fi; }

echo "Raw loops and $(fio --version), GB/s, medians of $rounds interleaved rounds"
printf '%-28s %8s %8s %8s\n' "" raw fio raw/fio
failed=0
for kib in 4 64 1024; do
  row="pwritev, fallocate all" engine=pvsync
  compare "pwritev $(size_name $kib)" write_raw write_fio || failed=1
  row="ring x1, fallocate all" engine=io_uring
  compare "ring write $(size_name $kib)" write_raw write_fio || failed=1
  compare "pread $(size_name $kib)" read_raw read_fio || failed=1
done
exit $failed
