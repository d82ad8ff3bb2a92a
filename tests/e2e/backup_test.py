#!/usr/bin/env python3
"""Backups as the README tells to make them: a copy of a stopped broker's directory, and a snapshot
of the file system of a running one. A copy and its original go on independently."""

import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import disks  # noqa: E402
import golden  # noqa: E402
import harness  # noqa: E402
from load import SMALL_JOURNAL, Load  # noqa: E402

PARTITIONS = 3


def allocated(directory):
    return sum(os.stat(os.path.join(folder, name)).st_blocks * 512
               for folder, _, names in os.walk(directory) for name in names)


class BackupTest(unittest.TestCase):
    def broker(self, root, cores=2, flags=()):
        broker = harness.Broker(root, cores, flags)
        self.addCleanup(broker.kill)
        return broker

    def loaded(self, broker):
        load = Load(broker, "t", PARTITIONS, seed=3, bytes_max=70_000, large=4 << 20)
        self.addCleanup(load.end)
        harness.wait_for(lambda: min(load.acks) > 20, "appends")
        return load

    def test_a_copy_of_a_stopped_broker(self):
        original = self.broker(harness.scratch("original")).start()
        original.create_topic("t", PARTITIONS)
        original.create_topic("cached", 1, ringtail_durability="page_cache")
        load = self.loaded(original).end()
        original.ringtail("produce", "cached", stdin=b"a\nb\n")
        expected = golden.listing(original)
        self.assertEqual(original.stop(), 0)
        # As the README says it; the journal's files are of 64 MiB, mostly zeros.
        copy = self.broker(harness.scratch("copy"), cores=1)
        subprocess.run(["cp", "-a", "--sparse=always", original.data, copy.data], check=True)
        self.assertLess(allocated(copy.data), sum(map(len, load.acked.values())) + (8 << 20))
        verified = harness.execute([harness.RINGTAIL, "log", "verify", copy.data])
        self.assertEqual(verified.rc, 0, verified.text)
        # Both go on, each for itself.
        for broker, line in ((original, b"of the original\n"), (copy, b"of the copy\n")):
            broker.start()
            self.assertEqual(golden.listing(broker), expected)
            broker.ringtail("produce", "cached", stdin=line)
        more = self.loaded(copy).end()
        for broker, line in ((original, b"of the original\n"), (copy, b"of the copy\n")):
            broker.kill()
            broker.start()
            self.assertEqual(broker.ringtail("consume", "cached"), b"a\nb\n" + line)
            self.assertEqual(load.missing(broker), [])
        self.assertEqual(more.missing(copy), [])
        found = golden.listing(original)
        self.assertEqual({name: found[name] for name in expected if name != "cached-0"},
                         {name: expected[name] for name in expected if name != "cached-0"})

    def test_a_snapshot_of_a_running_broker(self):
        for kind in ("ext4", "xfs"):
            with self.subTest(kind):
                disk = disks.device(self, kind, 512 << 20)
                broker = self.broker(disk.mount_point, flags=SMALL_JOURNAL).start()
                broker.create_topic("t", PARTITIONS)
                load = self.loaded(broker)
                disk.freeze()
                taken = disk.copy()
                self.addCleanup(taken.close)
                acked = dict(load.acked)  # before it was thawed: all of it is in the snapshot
                disk.thaw()
                load.end()
                load.acked = acked
                restored = self.broker(taken.mount_point, cores=3).start()
                self.assertEqual(load.missing(restored), [])
                self.loaded(restored).end()
                restored.kill()
                broker.kill()
                taken.unmount()
                disk.unmount()


if __name__ == "__main__":
    harness.main()
