#!/usr/bin/env python3
"""A disk that fails, through a real kernel: errors on an extent of the journal or of a segment,
failing syncs, no space where there was some, a device that does not answer (faulty_fs.cc).

Always the same is asked: what fails is told, alone; nothing is acknowledged that is not there after
the disk was mended and the broker started again.
"""

import errno
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import disks  # noqa: E402
import harness  # noqa: E402
import kafka_wire  # noqa: E402
from load import SMALL_JOURNAL, Load  # noqa: E402

STORAGE_ERROR = 56
PARTITIONS = 4
BATCH_BYTES_MAX = 20_100  # of journaled batches
EXTENT = (512 << 10, 516 << 10)


class FaultyDiskTest(unittest.TestCase):
    def start(self, *flags, cores=1, writeback=False):
        self.disk = disks.faulty_disk(self, writeback)
        broker = harness.Broker(self.disk.mount_point, cores, [*SMALL_JOURNAL, *flags])
        self.addCleanup(broker.kill)
        self.addCleanup(self.disk.clear)
        broker.start()
        broker.create_topic("t", PARTITIONS)
        return broker

    def load(self, broker, topic="t", partitions=PARTITIONS, seed=1):
        load = Load(broker, topic, partitions, seed, bytes_max=BATCH_BYTES_MAX)
        self.addCleanup(load.end)
        for number in range(partitions):
            harness.wait_for(lambda: load.acks[number] > 0, f"{topic}-{number} takes appends")
        return load

    def advances(self, load, number):
        before = load.acks[number]
        harness.wait_for(lambda: load.acks[number] > before + 2 and load.errors[number] is None,
                         f"partition {number} goes on")

    def refused(self, load, number, error=STORAGE_ERROR):
        harness.wait_for(lambda: load.errors[number] is not None, f"partition {number} refuses")
        self.assertEqual(load.errors[number], error)

    def pages(self, broker, topic="t"):
        return {page["partition"]: page for page in broker.partition_pages()
                if page["topic"] == topic}

    def readable(self, broker, load, number):
        """Up to what was acknowledged at least."""
        end = max(offset for _, partition, offset in load.acked if partition == number) + 1
        with kafka_wire.Connection(broker.kafka_port()) as peer:
            _, error, watermark, _ = peer.fetch("t", [(number, 0)])[0]
        self.assertEqual(error, 0)
        self.assertGreaterEqual(watermark, end)

    def mended(self, broker, *loads, written_back=False):
        """The disk is well again, and the broker started: all is there, and goes on.

        written_back: the kernel keeps an error of writing back until somebody syncs, so that a first
        start may still be told of it.
        """
        for load in loads:
            load.end()
        broker.kill()
        self.disk.clear()
        broker.start()
        for load in loads:
            self.assertEqual(load.missing(broker), [])
        if written_back and {page["status"] for page in self.pages(broker).values()} != {"ok"}:
            broker.kill()
            broker.start()
        self.assertEqual({page["status"] for page in self.pages(broker).values()}, {"ok"})
        again = self.load(broker, seed=2)
        for number in range(PARTITIONS):
            self.advances(again, number)
        self.assertEqual(again.end().missing(broker), [])

    def test_a_bad_extent_of_a_journal_closes_it_alone(self):
        broker = self.start(cores=2)
        broker.create_topic("cached", 2, ringtail_durability="page_cache")
        load, cached = self.load(broker), self.load(broker, "cached", 2)
        cores = {number: page["core"] for number, page in self.pages(broker).items()}
        self.assertEqual(set(cores.values()), {0, 1})
        self.disk.fail("write", "data/journal/core-0000/*.journal", extent=EXTENT)
        harness.wait_for(lambda: 'ringtail_journal_up{core="0"} 0' in broker.http("/metrics")[1],
                         "the journal closed")
        for number, core in cores.items():
            if core == 0:
                self.refused(load, number)
                self.readable(broker, load, number)
            else:
                self.advances(load, number)
        for number in range(2):
            self.advances(cached, number)
        self.assertIn("journal/core-0000 closed: ", broker.log())
        self.assertIn("Input/output error", broker.log())
        self.assertIn('ringtail_journal_up{core="1"} 1', broker.http("/metrics")[1])
        self.mended(broker, load, cached)

    def one_is_poisoned(self, broker, call, glob, error=errno.EIO, extent=()):
        load = self.load(broker)
        self.disk.fail(call, glob, error, extent)
        self.refused(load, 1)
        harness.wait_for(lambda: broker.total("journal", "poisoned") == 1, "it is poisoned")
        for number in (0, 2, 3):
            self.advances(load, number)
        self.readable(broker, load, 1)
        self.assertEqual([number for number, page in self.pages(broker).items()
                          if page["status"] != "ok"], [1])
        self.assertEqual(broker.total("journal", "poisoned"), 1)
        return load

    def test_a_bad_extent_of_a_segment_poisons_its_partition_alone(self):
        broker = self.start()
        self.mended(broker, self.one_is_poisoned(broker, "write", "data/t-1/*.log", extent=EXTENT))

    def test_a_bad_extent_that_shows_when_it_is_synced(self):
        broker = self.start(writeback=True)
        load = self.one_is_poisoned(broker, "write", "data/t-1/*.log", extent=EXTENT)
        self.mended(broker, load, written_back=True)

    def test_a_failed_sync_of_a_segment(self):
        broker = self.start()
        load = self.one_is_poisoned(broker, "sync", "data/t-1/*.log")
        # A start that meets it again closes the partition once more, and nothing is lost of it.
        load.end()
        broker.kill()
        broker.start()
        self.assertEqual(load.missing(broker), [])
        self.assertEqual([number for number, page in self.pages(broker).items()
                          if page["status"] != "ok"], [1])
        self.mended(broker, load)

    def test_no_space_at_a_sync_is_a_failed_sync(self):
        broker = self.start(writeback=True)
        load = self.one_is_poisoned(broker, "write", "data/t-1/*.log", errno.ENOSPC)
        self.mended(broker, load, written_back=True)

    def test_no_space_at_a_write_ends_by_itself(self):
        broker = self.start()
        load = self.load(broker)
        for call in ("write", "allocate"):
            self.disk.fail(call, "data/t-1/*.log", errno.ENOSPC)
        self.refused(load, 1)
        for number in (0, 2, 3):
            self.advances(load, number)
        self.readable(broker, load, 1)
        failed = broker.try_ringtail("--timeout", "1", "produce", "t", "--partition", "1",
                                     stdin=b"x\n")
        self.assertIn("DISK_FULL", failed.text)
        self.disk.clear()
        self.advances(load, 1)
        self.assertEqual(broker.total("journal", "poisoned"), 0)
        self.mended(broker, load)

    def test_no_space_in_the_journal_where_it_was_allocated_closes_it(self):
        broker = self.start()
        load = self.load(broker)
        self.disk.fail("write", "data/journal/core-0000/*.journal", errno.ENOSPC, EXTENT)
        for number in range(PARTITIONS):
            self.refused(load, number)
            self.readable(broker, load, number)
        self.mended(broker, load)

    def test_a_failing_checkpoint_costs_no_acknowledged_record(self):
        broker = self.start()
        load = self.load(broker)
        self.disk.fail("sync", "data/journal/core-0000/checkpoint.*")
        harness.wait_for(lambda: broker.total("journal", "checkpoint_failures") > 0, "it failed")
        self.mended(broker, load)

    def test_a_device_that_does_not_answer(self):
        broker = self.start("--stall_report_ms=100", "--write_path=ring", cores=2)
        load = self.load(broker)
        self.advances(load, 0)
        self.disk.hang("any", "data/*")
        before = self.disk.hits()
        harness.wait_for(lambda: self.disk.hits() > before, "it hangs")
        with kafka_wire.Connection(broker.kafka_port()) as peer:
            peer.send(kafka_wire.api_versions())
            peer.reply()
        self.assertIn("t", broker.ringtail("topic", "list").decode())
        self.assertEqual(broker.http("/healthz")[0], 200)
        failed = broker.try_ringtail("--timeout", "1", "produce", "t", stdin=b"x\n")
        self.assertNotEqual(failed.rc, 0)
        self.disk.clear()
        for number in range(PARTITIONS):
            self.advances(load, number)
        self.mended(broker, load)


class FrozenTest(unittest.TestCase):
    """fsfreeze: whoever writes waits until it is thawed, be it a core's own thread."""

    def freeze(self, *flags):
        disk = disks.device(self, "ext4")
        # What it writes about itself goes elsewhere: the test reads it while all else waits.
        broker = harness.Broker(harness.scratch("frozen"), 2,
                                [*SMALL_JOURNAL, "--stall_report_ms=100", *flags])
        broker.data = os.path.join(disk.mount_point, "data")
        self.addCleanup(broker.kill)
        self.addCleanup(disk.thaw)  # what waits there cannot be killed
        broker.start()
        broker.create_topic("t", PARTITIONS)
        load = Load(broker, "t", PARTITIONS, bytes_max=BATCH_BYTES_MAX)
        self.addCleanup(load.end)
        harness.wait_for(lambda: min(load.acks) > 3, "it is under load")
        disk.freeze()
        return disk, broker, load

    def thaw(self, disk, broker, load):
        disk.thaw()
        before = list(load.acks)
        harness.wait_for(lambda: all(now > then for now, then in zip(load.acks, before)),
                         "all goes on")
        load.end()
        self.assertEqual(load.missing(broker), [])
        broker.kill()
        broker.start()
        self.assertEqual(load.missing(broker), [])
        broker.kill()
        disk.unmount()

    def nothing_is_acknowledged(self, broker, load):
        failed = broker.try_ringtail("--timeout", "1", "produce", "t", stdin=b"x\n")
        self.assertNotEqual(failed.rc, 0)
        acks = list(load.acks)
        failed = broker.try_ringtail("--timeout", "1", "produce", "t", stdin=b"x\n")
        self.assertNotEqual(failed.rc, 0)
        self.assertEqual(load.acks, acks)

    def test_through_the_ring_cores_answer_all_the_same(self):
        disk, broker, load = self.freeze("--write_path=ring")
        self.nothing_is_acknowledged(broker, load)
        self.assertIn("t", broker.ringtail("topic", "list").decode())
        self.assertEqual(len(broker.core_pages()), 2)
        self.assertEqual(broker.http("/healthz")[0], 200)
        self.thaw(disk, broker, load)

    def test_a_core_that_waits_for_its_own_write_is_reported(self):
        disk, broker, load = self.freeze("--write_path=inline")
        self.nothing_is_acknowledged(broker, load)
        harness.wait_for(lambda: "waits in the kernel, as for a disk" in broker.log(),
                         "the watchdog tells")
        self.assertIn("ringtail_", broker.http("/metrics")[1])
        self.thaw(disk, broker, load)


if __name__ == "__main__":
    harness.main()
