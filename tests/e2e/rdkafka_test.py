#!/usr/bin/env python3
"""An application on librdkafka (rdkafka_client.cc): what tests/compat does not ask of it."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402


class RdkafkaTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.brokers = {}
        for advertise in ("cores", "broker"):
            broker = harness.Broker(harness.scratch("rdkafka"), 2, ["--advertise=" + advertise])
            cls.addClassCleanup(broker.kill)
            cls.brokers[advertise] = broker.start()
        cls.broker = cls.brokers["cores"]

    def test_cores_are_advertised_and_entered_by_the_shared_port(self):
        self.brokers["cores"].create_topic("ports")
        harness.rdkafka("roundtrip", self.brokers["cores"].kafka(), "ports", "zstd", "all")

    def test_the_broker_is_advertised_and_entered_by_a_core_port(self):
        self.brokers["broker"].create_topic("ports")
        harness.rdkafka("roundtrip", self.brokers["broker"].kafka(1), "ports", "zstd", "all")

    def test_a_consumer_that_assigns_needs_no_group(self):
        self.broker.create_topic("assigned")
        self.broker.ringtail("produce", "assigned", stdin=harness.text(harness.lines(1000)))
        harness.rdkafka("assign", self.broker.kafka(), "assigned", 1000)

    def test_offsets_by_time_across_segments(self):
        self.broker.create_topic("times-segments", segment_bytes=16384)
        harness.rdkafka("times", self.broker.kafka(), "times-segments")
        page = self.broker.page("/v1/partitions")["partitions"]
        self.assertGreater([one["segments"] for one in page if one["topic"] == "times-segments"][0], 5)

    def test_topics_are_made_and_deleted_by_the_admin_api(self):
        harness.rdkafka("admin", self.broker.kafka(), "admin")
        self.assertFalse([name for name in os.listdir(self.broker.data) if name.startswith("admin-")])

    def test_a_topic_may_take_larger_records(self):
        self.broker.create_topic("larger", max_message_bytes=30_000_000)
        self.assertEqual(harness.rdkafka("one", self.broker.kafka(), "larger", 20_000_000), "NO_ERROR\n")


if __name__ == "__main__":
    harness.main()
