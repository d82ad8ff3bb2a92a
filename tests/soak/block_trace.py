#!/usr/bin/env python3
"""What reaches the device while records are produced one at a time: for each frame of the journal one
write and one flush (or a write with FUA). The kernel's own block events of a loop device, ext4 and
XFS; requests are told apart by the extents of the files they write. Needs root and tracefs.

    tests/soak/block_trace.sh    # BLOCK_TRACE_SECONDS=10
"""

import collections
import contextlib
import glob
import os
import re
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import disks  # noqa: E402
import harness  # noqa: E402
import kafka_wire  # noqa: E402

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 10
WARM_UP_RECORDS = 500
RATE = 500  # records a second
FLAGS = ["--journal_file_bytes=16MiB", "--journal_bytes_max=32MiB"]
EVENT = re.compile(r"block_rq_issue: (\d+),(\d+) (\S+) \d+ \(.*?\) (\d+) \+ (\d+) ")
FRAME_SECTORS = 8  # at least
SEALS = 3  # frames of an idle journal while the trace begins and ends
PER_FRAME_MAX = 1.1  # of flushes: those of segments, checkpoints and the file system come on top


@contextlib.contextmanager
def tracing(loop, out):
    """Appends the block events of a device to `out`."""
    folder = harness.scratch("tracefs")
    subprocess.run(["mount", "-t", "tracefs", "none", folder], check=True, capture_output=True)
    instance = os.path.join(folder, "instances", f"ringtail-{os.getpid()}")
    os.mkdir(instance)

    def put(name, value):
        with open(os.path.join(instance, name), "w", encoding="ascii") as file:
            file.write(value)

    try:
        device = os.stat(loop).st_rdev
        put("buffer_size_kb", "16384")
        put("events/block/block_rq_issue/filter",
            f"dev == {os.major(device) << 20 | os.minor(device)}")
        put("events/block/block_rq_issue/enable", "1")
        yield
        put("events/block/block_rq_issue/enable", "0")
        with open(os.path.join(instance, "trace"), encoding="ascii", errors="replace") as file:
            out.extend(EVENT.finditer(file.read()))
    finally:
        os.rmdir(instance)
        subprocess.run(["umount", folder], check=False)


def extents(path):
    """[(first sector, end)] of a file."""
    done = subprocess.run(["filefrag", "-v", "-b512", path], check=True, capture_output=True,
                          text=True).stdout
    return [(int(first), int(last) + 1)
            for first, last in re.findall(r"^\s*\d+:\s+\d+\.\.\s*\d+:\s+(\d+)\.\.\s*(\d+):", done,
                                          re.MULTILINE)]


def owner(places, sector):
    for kind, first, end in places:
        if first <= sector < end:
            return kind
    return "the file system"


class BlockTrace(unittest.TestCase):
    def trace(self, kind):
        disk = disks.device(self, kind, 1 << 30)
        broker = harness.Broker(disk.mount_point, 1, FLAGS).start()
        self.addCleanup(broker.kill)
        broker.create_topic("t", 1)
        batch = kafka_wire.batch([os.urandom(1024)])
        events = []
        with kafka_wire.Connection(broker.kafka_port()) as peer:
            for _ in range(WARM_UP_RECORDS):
                peer.produce_batch("t", 0, batch)
            with tracing(disk.loop, events):
                before = self.counters(broker)
                start = time.monotonic()
                sent = 0
                while time.monotonic() < start + SECONDS:
                    error, _ = peer.produce_batch("t", 0, batch)
                    self.assertEqual(error, 0)
                    sent += 1
                    time.sleep(max(0, start + sent / RATE - time.monotonic()))
                after = self.counters(broker)
        done = {key: after[key] - before[key] for key in after}
        places = [(what, *each) for what, pattern in (("the journal", "data/journal/core-*/*.journal"),
                                                      ("segments", "data/t-0/*.log"))
                  for path in glob.glob(os.path.join(disk.mount_point, pattern))
                  for each in extents(path)]
        self.report(kind, sent, done, events, places)
        broker.kill()
        disk.unmount()

    def counters(self, broker):
        return {key: broker.total("journal", key)
                for key in ("frames", "entries", "syncs", "group_syncs", "checkpoints")}

    def report(self, kind, sent, done, events, places):
        writes, sectors, flushes, fua = collections.Counter(), collections.Counter(), 0, 0
        for event in events:
            flags, sector, count = event[3], int(event[4]), int(event[5])
            # "FF": a flush alone; "WFS": a write behind one; "W...F" behind the first: FUA.
            if flags.startswith("F"):
                flushes += 1
            if "W" in flags and count:
                fua += "F" in flags.split("W", 1)[1]
                writes[owner(places, sector)] += 1
                sectors[owner(places, sector)] += count
        frames = done["frames"]
        print(f"\n{kind}: {sent} records in {SECONDS:g} s; " +
              ", ".join(f"{count} {key}" for key, count in done.items()), file=sys.stderr)
        for what, count in writes.most_common():
            print(f"  {count:6} writes to {what}: {count / frames:.3f} a frame", file=sys.stderr)
        print(f"  {flushes:6} flushes, {fua} writes with FUA: {(flushes + fua) / frames:.3f} a frame",
              file=sys.stderr)
        self.assertGreater(frames, 100)
        self.assertGreaterEqual(flushes + fua, frames - SEALS)
        self.assertLess(flushes + fua, PER_FRAME_MAX * frames)
        # Two frames in flight lie side by side: where the device is slow, the block layer makes one request
        # of them. None is left out.
        self.assertGreaterEqual(sectors["the journal"], FRAME_SECTORS * (frames - SEALS))
        self.assertLess(writes["the journal"], PER_FRAME_MAX * frames)

    def test_ext4(self):
        self.trace("ext4")

    def test_xfs(self):
        self.trace("xfs")


if __name__ == "__main__":
    del sys.argv[1:]
    harness.main()
