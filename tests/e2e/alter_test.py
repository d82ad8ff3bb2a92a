#!/usr/bin/env python3
"""Topics changed while they are used: by librdkafka, by the command line, under load, and killed."""

import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import kafka_wire  # noqa: E402
from rdkafka_load import Load, consume  # noqa: E402

OFFSET_OUT_OF_RANGE = 1
PARTITIONS = 4


class AlterTest(unittest.TestCase):
    def start(self, *flags):
        broker = harness.Broker(harness.scratch("alter"), 2, flags)
        self.addCleanup(broker.kill)
        return broker.start()

    def describe(self, broker, topic):
        return json.loads(broker.ringtail("topic", "describe", topic, "--json"))

    def config(self, broker, topic, name):
        return self.describe(broker, topic)["configs"][name]["value"]

    def fill(self, broker, topic, count):
        with kafka_wire.Connection(broker.kafka_port()) as peer:
            for _ in range(count):
                self.assertEqual(peer.produce(topic, 0, [b"x" * 4000])[0], 0)

    def test_librdkafka_alters_describes_and_adds_partitions(self):
        broker = self.start()
        broker.create_topic("t", 1)
        harness.rdkafka("alter", broker.kafka(), "t")
        broker.restart()
        self.assertEqual(self.config(broker, "t", "max.message.bytes"), "5000")
        self.assertEqual(len(self.describe(broker, "t")["partitions"]), 4)

    def test_the_command_line_alters_all_or_nothing(self):
        broker = self.start()
        broker.create_topic("t", 1, segment_ms=5000)
        broker.ringtail("topic", "alter", "t", "retention.ms=-1", "--delete", "segment.ms",
                        "--partitions", "3")
        self.assertEqual(self.config(broker, "t", "retention.ms"), "-1")
        self.assertEqual(self.config(broker, "t", "segment.ms"), "604800000")
        self.assertEqual(len(self.describe(broker, "t")["partitions"]), 3)
        for args, said in ((["retention.ms=5", "segment.bytes=1"], "segment.bytes"),
                           (["no.such=1"], "retention.ms"),
                           (["--partitions", "3"], "would not be more"),
                           (["retention.ms"], "NAME=VALUE"),
                           ([], "nothing to change")):
            with self.subTest(args=args):
                done = broker.try_ringtail("topic", "alter", "t", *args)
                self.assertEqual(done.rc, 1, done.text)
                self.assertIn(said, done.text)
        broker.ringtail("topic", "alter", "t", "retention.ms=7", "--validate-only")
        self.assertEqual(self.config(broker, "t", "retention.ms"), "-1")
        absent = broker.try_ringtail("topic", "alter", "absent", "retention.ms=5")
        self.assertEqual(absent.rc, 1)
        self.assertIn("UNKNOWN_TOPIC", absent.text)
        for command in ("alter", "delete-records"):
            self.assertIn("Examples:", broker.ringtail("topic", command, "--help").decode())

    def test_a_shorter_retention_takes_effect_at_the_next_look(self):
        broker = self.start("--retention_check_ms=50")
        broker.create_topic("t", 1, segment_bytes=16384, retention_ms=-1)  # the timestamps are old
        self.fill(broker, "t", 60)
        partition = self.describe(broker, "t")["partitions"][0]
        self.assertEqual(partition["log_start_offset"], 0)
        broker.ringtail("topic", "alter", "t", "retention.bytes=50000")
        def moved():
            return self.describe(broker, "t")["partitions"][0]["log_start_offset"]
        start = harness.wait_for(lambda: (found := moved()) > 40 and found, "old segments to go")
        self.assertGreaterEqual(self.describe(broker, "t")["partitions"][0]["bytes"], 50000)
        with kafka_wire.Connection(broker.kafka_port()) as peer:
            self.assertEqual(peer.fetch("t", [(0, 0)])[0][1], OFFSET_OUT_OF_RANGE)
            _, error, watermark, batches = peer.fetch("t", [(0, start)])[0]
            self.assertEqual((error, watermark), (0, 60))
            self.assertEqual(next(kafka_wire.walk(batches))[0], start)
        self.assertEqual(len(consume(broker, "t")[0]), 60 - start)

    def test_records_are_deleted_by_the_command_line(self):
        broker = self.start()
        broker.create_topic("t", 2)
        self.fill(broker, "t", 10)
        def starts():
            return [one["log_start_offset"] for one in self.describe(broker, "t")["partitions"]]
        broker.ringtail("topic", "delete-records", "t", "--partition", "0", "--before", "4")
        self.assertEqual(starts(), [4, 0])
        done = broker.try_ringtail("topic", "delete-records", "t", "--before", "5")
        self.assertEqual(done.rc, 1)
        self.assertIn("partition 1", done.text)
        broker.ringtail("topic", "delete-records", "t", "--before", "end")
        self.assertEqual(starts(), [10, 0])
        broker.kill()
        broker.start()
        self.assertEqual(starts(), [10, 0])
        self.assertEqual(broker.try_ringtail("topic", "delete-records", "t").rc, 106,
                         "nothing is deleted without saying how much")

    def test_the_durability_changes_under_load_and_a_kill_loses_nothing(self):
        broker = self.start()
        broker.create_topic("t", PARTITIONS)
        load = Load(broker, "t", PARTITIONS)
        try:
            for durability in ("page_cache", "journal") * 4:
                count = load.count
                harness.wait_for(lambda: load.count > count + 500, "500 more records")
                broker.ringtail("topic", "alter", "t", "ringtail.durability=" + durability)
            broker.kill()
        finally:
            acked = load.stop()
        broker.start()
        found = consume(broker, "t")
        for partition, values in acked.items():
            self.assertEqual(found[partition], [str(i) for i in range(len(found[partition]))],
                             "in order, once each")
            self.assertGreaterEqual(len(found[partition]), len(values), "all that was acknowledged")

    def test_the_durability_of_a_living_topic_is_what_its_appends_have(self):
        broker = self.start()
        broker.create_topic("t", 1)
        def journaled(count):
            before = broker.total("journal", "payload_bytes")
            self.fill(broker, "t", count)
            return broker.total("journal", "payload_bytes") - before
        self.assertGreater(journaled(5), 20_000)
        broker.ringtail("topic", "alter", "t", "ringtail.durability=page_cache")
        self.fill(broker, "t", 1)
        self.assertEqual(journaled(5), 0)
        broker.ringtail("topic", "alter", "t", "--delete", "ringtail.durability")
        self.fill(broker, "t", 1)
        self.assertGreater(journaled(5), 20_000)


if __name__ == "__main__":
    harness.main()
