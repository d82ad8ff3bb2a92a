#!/usr/bin/env python3
"""Debian's kcat over each port and each way to advertise; tests/compat has codecs, acks, shapes of records."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402

PARTITIONS = 3


class KcatTest(unittest.TestCase):
    """One broker of two cores for each way to advertise."""

    @classmethod
    def setUpClass(cls):
        cls.brokers = {}
        for advertise in ("cores", "broker"):
            broker = harness.Broker(harness.scratch("kcat"), 2, ["--advertise=" + advertise])
            cls.addClassCleanup(broker.kill)
            cls.brokers[advertise] = broker.start()

    def round_trip(self, advertise):
        """By the shared port and by each core's, to a partition of this core or another."""
        broker = self.brokers[advertise]
        broker.create_topic("ports", PARTITIONS)
        for number, core in enumerate((None, 0, 1)):
            records = harness.lines(2000, seed=number)
            harness.kcat(broker.kafka(core), "-P", "-t", "ports", "-p", str(number), "-z", "lz4",
                         stdin=harness.text(records))
            found = harness.kcat(broker.kafka(core), "-C", "-t", "ports", "-p", str(number), "-q", "-e",
                                 "-X", "check.crcs=true")
            self.assertTrue(found == harness.text(records), f"partition {number}")

    def test_each_port_when_cores_are_advertised(self):
        self.round_trip("cores")

    def test_each_port_when_the_broker_is_advertised(self):
        self.round_trip("broker")

    def test_offsets(self):
        broker = self.brokers["cores"]
        broker.create_topic("offsets", 1)
        records = harness.lines(100)
        harness.kcat(broker.kafka(), "-P", "-t", "offsets", stdin=harness.text(records))
        def read(*args):
            return harness.kcat(broker.kafka(), "-C", "-t", "offsets", "-e", "-q", *args).splitlines()
        self.assertEqual(read("-o", "beginning"), records)
        self.assertEqual(read("-o", "90"), records[90:])
        self.assertEqual(read("-o", "-5"), records[95:])
        self.assertEqual(read("-o", "end"), [])
        self.assertEqual(harness.kcat(broker.kafka(), "-Q", "-t", "offsets:0:-1"), b"offsets [0] offset 100\n")
        self.assertEqual(harness.kcat(broker.kafka(), "-Q", "-t", "offsets:0:-2"), b"offsets [0] offset 0\n")
        self.assertEqual(harness.kcat(broker.kafka(), "-Q", "-t", "offsets:0:1"), b"offsets [0] offset 0\n")

    def test_an_unknown_topic_is_told_as_such(self):
        broker = self.brokers["cores"]
        done = harness.execute(["kcat", "-b", broker.kafka(), "-C", "-t", "absent", "-e"])
        self.assertNotEqual(done.rc, 0)
        self.assertIn("Unknown topic or partition", done.text)

    def test_a_consumer_that_waits_gets_what_is_produced_later(self):
        broker = self.brokers["broker"]
        broker.create_topic("late", 1)
        with harness.subprocess.Popen(
                ["kcat", "-b", broker.kafka(), "-C", "-t", "late", "-q", "-c", "1"],
                stdout=harness.subprocess.PIPE, stderr=harness.subprocess.DEVNULL) as consumer:
            harness.wait_for(lambda: broker.total("requests", "fetch_waits") > 0, "a fetch that waits")
            harness.kcat(broker.kafka(), "-P", "-t", "late", stdin=b"at last\n")
            self.assertEqual(consumer.communicate(timeout=harness.DEADLINE_S)[0], b"at last\n")

    def test_auto_created_topics(self):
        with harness.Broker(harness.scratch("auto"), 1, ["--auto_create_topics", "--default_partitions=4"]) as broker:
            harness.kcat(broker.kafka(), "-P", "-t", "made", "-p", "3", stdin=b"x\n")
            self.assertIn("4 partitions", broker.ringtail("topic", "list").decode())


if __name__ == "__main__":
    harness.main()
