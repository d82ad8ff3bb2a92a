#!/bin/bash
# Runs a command with RINGTAIL_PERF_DIR on a file system of its own, made on a loop device and removed
# afterwards. For root.
#
#   perf/compare/on_loop.sh ext4|xfs [--gib=N] [--buffered] COMMAND [ARGUMENT...]
#
# ext4 has its usual journal. The image lies in $RINGTAIL_PERF_DIR (default /var/tmp), N GiB (4) at most,
# sparse. The loop device writes to it directly, as to a disk; --buffered goes through the page cache of the
# file system below, so that a flush is an fsync of the image.
set -euo pipefail

fail() { echo "on_loop.sh: $*" >&2 && exit 1; }
usage() { sed -n '2,9s/^# \{0,1\}//p' "$0"; }

kind=${1:-}
case $kind in
  ext4) make=(mkfs.ext4 -q -F) ;;
  xfs) make=(mkfs.xfs -q -f) ;;
  *) usage && exit 1 ;;
esac
shift
gib=4 direct=on
while [ $# -gt 0 ]; do
  case $1 in
    --gib=*) gib=${1#--gib=} ;;
    --buffered) direct=off ;;
    --*) fail "no such option: $1" ;;
    *) break ;;
  esac
  shift
done
[ $# -gt 0 ] || { usage && exit 1; }
[ "$(id -u)" = 0 ] || fail "only root can make a loop device"
PATH=$PATH:/usr/sbin:/sbin

# A mount namespace of its own: whatever happens, the mount goes with it.
if [ -z "${RINGTAIL_ON_LOOP:-}" ]; then
  options=("--gib=$gib")
  [ $direct = on ] || options+=(--buffered)
  RINGTAIL_ON_LOOP=1 exec unshare --mount --propagation private "$0" "$kind" "${options[@]}" "$@"
fi
unset RINGTAIL_ON_LOOP

directory=$(mktemp -d "${RINGTAIL_PERF_DIR:-/var/tmp}/ringtail-loop-XXXXXX")
loop=""
remove() {
  umount "$directory/mnt" 2>/dev/null || umount -l "$directory/mnt" 2>/dev/null || true
  [ -z "$loop" ] || losetup -d "$loop"
  rm -rf "$directory/image" && rmdir "$directory/mnt" "$directory"
}
trap remove EXIT
trap 'exit 130' INT TERM
mkdir "$directory/mnt"
truncate -s "${gib}G" "$directory/image"
loop=$(losetup --find --show --direct-io=$direct "$directory/image") || fail "no loop device"
"${make[@]}" "$loop"
mount "$loop" "$directory/mnt"
echo "# $kind on a loop device, direct-io=$direct" >&2
RINGTAIL_PERF_DIR=$directory/mnt "$@"
