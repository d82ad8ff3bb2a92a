#!/usr/bin/env python3
"""What --durability and a topic's own settings promise, and what the journal leaves on disk."""

import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import kafka_wire  # noqa: E402

OPEN, CLEAN = 1, 2
STORAGE_ERROR = 56
RECORDS = 50
PARTITIONS = 3


class DurabilityTest(unittest.TestCase):
    def start(self, *flags, cores=2):
        broker = harness.Broker(harness.scratch("durability"), cores, flags)
        self.addCleanup(broker.kill)
        return broker.start()

    def manifest(self, broker):
        """(run, cores, state)"""
        with open(os.path.join(broker.data, "journal", "MANIFEST"), "rb") as file:
            data = file.read()
        self.assertEqual(len(data), 64)
        return struct.unpack_from("<3I", data, 12)

    def produce(self, broker, topic, count=RECORDS, partitions=PARTITIONS):
        with kafka_wire.Connection(broker.kafka_port()) as peer:
            for number in range(count):
                error, _ = peer.produce(topic, number % partitions, [b"%d" % number])
                self.assertEqual(error, 0)

    def entries(self, broker):
        return broker.total("journal", "entries")

    def values(self, broker, topic):
        return sorted(broker.ringtail("consume", topic).splitlines())

    def expected(self, count=RECORDS):
        return sorted(b"%d" % number for number in range(count))

    def test_each_start_is_a_run_and_a_clean_stop_is_told_from_a_kill(self):
        broker = self.start()
        broker.create_topic("t", PARTITIONS)
        self.produce(broker, "t")
        self.assertEqual(self.manifest(broker), (1, 2, OPEN))
        broker.restart()
        self.assertEqual(self.manifest(broker), (2, 2, OPEN))
        self.assertIn("run 1 was stopped cleanly", broker.log())
        self.assertEqual(self.values(broker, "t"), self.expected())
        broker.kill()
        self.assertEqual(self.manifest(broker), (2, 2, OPEN))
        for run, cores in ((3, 5), (4, 1)):
            broker.cores = cores
            broker.start()
            self.assertEqual(self.manifest(broker), (run, cores, OPEN))
            self.assertIn(f"run {run - 1} was cut off", broker.log())
            self.assertEqual(self.values(broker, "t"), self.expected())
            broker.kill()
        broker.start()
        self.assertEqual(broker.stop(), 0)
        self.assertEqual(self.manifest(broker), (5, 1, CLEAN))

    def test_page_cache_survives_a_kill_and_journals_no_record(self):
        broker = self.start("--durability=page_cache")
        broker.create_topic("t", PARTITIONS)
        self.produce(broker, "t")
        self.assertEqual(broker.total("journal", "payload_bytes"), 0)
        broker.kill()
        broker.start()
        self.assertEqual(self.values(broker, "t"), self.expected())
        broker.restart()
        self.assertEqual(self.values(broker, "t"), self.expected())

    def test_a_topic_says_otherwise(self):
        for flag, settings, journaled in (
                ("--durability=journal", {"ringtail_durability": "page_cache"}, False),
                ("--durability=page_cache", {"ringtail_durability": "journal"}, True),
                ("--durability=page_cache", {"flush_messages": 1}, True)):
            with self.subTest(flag=flag, settings=settings):
                broker = self.start(flag)
                broker.create_topic("t", PARTITIONS, **settings)
                self.produce(broker, "t")
                self.assertEqual(broker.total("journal", "payload_bytes") > 0, journaled)
                broker.kill()
                broker.start()
                self.assertEqual(self.values(broker, "t"), self.expected())
                broker.kill()

    def test_a_directory_goes_from_one_durability_to_the_other_and_back(self):
        broker = self.start()
        broker.create_topic("t", PARTITIONS)
        count = 0
        for durability in ("journal", "page_cache", "journal", "page_cache"):
            broker.flags = ["--durability=" + durability]
            broker.kill()
            broker.start()
            with kafka_wire.Connection(broker.kafka_port()) as peer:
                for _ in range(10):
                    self.assertEqual(peer.produce("t", count % PARTITIONS, [b"%d" % count])[0], 0)
                    count += 1
        broker.kill()
        broker.start()
        self.assertEqual(self.values(broker, "t"), self.expected(count))

    def test_written_then_synced_where_there_are_no_direct_writes(self):
        broker = self.start("--journal_sync=fdatasync")
        broker.create_topic("t", PARTITIONS)
        self.produce(broker, "t")
        self.assertGreaterEqual(self.entries(broker), RECORDS)
        broker.kill()
        broker.start()
        self.assertEqual(self.values(broker, "t"), self.expected())

    def test_segments_are_synced_behind_it_and_the_metrics_say_so(self):
        broker = self.start("--journal_sync_age_ms=10")
        broker.create_topic("t", PARTITIONS)
        self.produce(broker, "t")
        harness.wait_for(lambda: broker.total("journal", "syncs") >= PARTITIONS, "each synced")
        metrics = broker.http("/metrics")[1]
        for name in ("up", "used_bytes", "capacity_bytes", "held_bytes", "frames_total",
                     "stalls_total", "syncs_total", "checkpoints_total", "poisoned_total"):
            self.assertIn(f'ringtail_journal_{name}{{core="1"}}', metrics)
        self.assertIn('ringtail_journal_up{core="0"} 1', metrics)

    def test_a_damaged_partition_is_read_only_and_the_others_serve(self):
        broker = self.start(cores=1)
        broker.create_topic("t", 2)
        self.produce(broker, "t", 20, partitions=2)
        broker.stop()
        with open(broker.segment("t", 0), "r+b") as file:
            file.truncate(os.path.getsize(file.name) - 30)
        broker.start()
        pages = {page["partition"]: page for page in broker.page("/v1/partitions")["partitions"]}
        self.assertIn(pages[0]["status"], ("read_only", "offline"))
        self.assertIn("t-0", pages[0]["reason"])
        self.assertEqual(pages[1]["status"], "ok")
        with kafka_wire.Connection(broker.kafka_port()) as peer:
            self.assertEqual(peer.produce("t", 0, [b"no"])[0], STORAGE_ERROR)
            self.assertEqual(peer.produce("t", 1, [b"yes"])[0], 0)
            self.assertEqual(peer.fetch("t", [(1, 0)])[0][2], 11)


if __name__ == "__main__":
    harness.main()
