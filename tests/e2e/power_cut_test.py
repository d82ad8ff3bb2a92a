#!/usr/bin/env python3
"""What was acknowledged, after kill -9 under load and after a file system was shut down without
flushing its log (what a power cut leaves): every acknowledged batch is compared, byte by byte.

A kill loses no page cache, so it proves nothing about the journal; the forced shutdown does, and
the same with page_cache durability must lose something, or this test is broken.

POWER_CUT_ROUNDS, KILL_ROUNDS: how often (tools/dev soak).
"""

import os
import random
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import disks  # noqa: E402
import harness  # noqa: E402
from load import SMALL_JOURNAL, Load  # noqa: E402

PARTITIONS = 4


class Rounds:
    """A topic for each round. What the last two were acknowledged is compared after each, so that
    a recovery which harms what an earlier one left is seen; older topics are deleted, so that many
    rounds take no more disk, or time each, than a few."""

    def __init__(self, broker):
        self.broker = broker
        self.loads = []
        self.acked = 0
        self.lost = 0

    def begin(self, seed):
        topic = f"t{seed}"
        self.broker.create_topic(topic, PARTITIONS)
        self.loads.append(Load(self.broker, topic, PARTITIONS, seed))
        while len(self.loads) > 3:
            self.broker.ringtail("topic", "delete", self.loads.pop(0).topic)

    def end(self):
        """The broker, or its disk, is gone."""
        self.loads[-1].end()
        self.acked += len(self.loads[-1].acked)

    def check(self):
        """Acknowledged batches that are not there, or not as they were sent; each is told once."""
        gone = []
        for load in self.loads[-2:]:
            for key in load.missing(self.broker):
                del load.acked[key]
                gone.append(key)
        self.lost += len(gone)
        return gone


class KillTest(unittest.TestCase):
    def test_kill_under_load_loses_nothing_acknowledged(self):
        rng = random.Random(1)
        broker = harness.Broker(harness.scratch("kill"), 2, SMALL_JOURNAL)
        self.addCleanup(broker.kill)
        broker.start()
        rounds = Rounds(broker)
        for number in range(int(os.environ.get("KILL_ROUNDS", "5"))):
            rounds.begin(number)
            time.sleep(rng.uniform(0.2, 0.8))
            broker.kill()
            rounds.end()
            if number % 2:
                # Again while it recovers.
                process = subprocess.Popen(broker.command(), stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL)
                time.sleep(rng.uniform(0.0, 0.12))
                process.kill()
                process.wait()
            broker.cores = rng.randint(1, 4)
            broker.start()
            self.assertEqual(rounds.check(), [], f"in round {number}")
        self.assertGreater(rounds.acked, 50)
        print(f"{number + 1} kills, {rounds.acked} acknowledged batches, none lost", file=sys.stderr)


class PowerCutTest(unittest.TestCase):
    def rounds(self, kind, durability, count):
        """How many acknowledged batches were lost."""
        disk = disks.device(self, kind)
        broker = harness.Broker(disk.mount_point, 2, [*SMALL_JOURNAL, "--durability=" + durability])
        self.addCleanup(broker.kill)
        broker.start()
        rounds = Rounds(broker)
        for number in range(count):
            rounds.begin(number)
            time.sleep(0.7)
            disk.shut_down()
            broker.kill()
            rounds.end()
            disk.unmount()
            disk.mount()
            broker.start()
            if rounds.check():
                print(f"{kind}, {durability}: {rounds.lost} lost after round {number}", file=sys.stderr)
        self.assertGreater(rounds.acked, 20)
        broker.kill()
        disk.unmount()
        print(f"{kind}, {durability}: {count} shutdowns, {rounds.acked} acknowledged batches, "
              f"{rounds.lost} lost", file=sys.stderr)
        return rounds.lost

    def test_ext4(self):
        self.assertEqual(self.rounds("ext4", "journal", int(os.environ.get("POWER_CUT_ROUNDS", "3"))), 0)

    def test_xfs(self):
        self.assertEqual(self.rounds("xfs", "journal", int(os.environ.get("POWER_CUT_ROUNDS", "3"))), 0)

    def test_page_cache_loses_something(self):
        self.assertGreater(self.rounds("ext4", "page_cache", 1), 0, "this test cuts nothing")


if __name__ == "__main__":
    harness.main()
