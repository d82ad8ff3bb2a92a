#!/usr/bin/env python3
"""An application on librdkafka (rdkafka_client.cc): records of every shape, errors, ids, times, topics."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402

ACKS = ("0", "1", "all")


class RdkafkaTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.brokers = {}
        for advertise in ("cores", "broker"):
            broker = harness.Broker(harness.scratch("rdkafka"), 2, ["--advertise=" + advertise])
            cls.addClassCleanup(broker.kill)
            cls.brokers[advertise] = broker.start()
        cls.broker = cls.brokers["cores"]

    def round_trip(self, advertise, codec, acks):
        """Each way to advertise is entered by the other kind of port; kcat_test enters by all."""
        broker = self.brokers[advertise]
        topic = f"{codec}-{acks}"
        broker.create_topic(topic)
        core = None if advertise == "cores" else 1
        harness.rdkafka("roundtrip", broker.kafka(core), topic, codec, acks)

    def test_an_idempotent_producer_has_offsets_without_gap_or_repetition(self):
        self.broker.create_topic("idempotent")
        harness.rdkafka("idempotent", self.broker.kafka(), "idempotent", 20_000)
        page = self.broker.page("/v1/partitions")["partitions"]
        self.assertEqual([one["producers"] for one in page if one["topic"] == "idempotent"], [1])

    def test_a_consumer_that_assigns_needs_no_group(self):
        self.broker.create_topic("assigned")
        self.broker.ringtail("produce", "assigned", stdin=harness.text(harness.lines(1000)))
        harness.rdkafka("assign", self.broker.kafka(), "assigned", 1000)

    def test_offsets_by_time(self):
        self.broker.create_topic("times")
        harness.rdkafka("times", self.broker.kafka(), "times")

    def test_offsets_by_time_across_segments(self):
        self.broker.create_topic("times-segments", segment_bytes=16384)
        harness.rdkafka("times", self.broker.kafka(), "times-segments")
        page = self.broker.page("/v1/partitions")["partitions"]
        self.assertGreater([one["segments"] for one in page if one["topic"] == "times-segments"][0], 5)

    def test_topics_are_made_and_deleted_by_the_admin_api(self):
        harness.rdkafka("admin", self.broker.kafka(), "admin")
        self.assertFalse([name for name in os.listdir(self.broker.data) if name.startswith("admin-")])

    def test_a_record_of_one_megabyte(self):
        self.broker.create_topic("large")
        self.assertEqual(harness.rdkafka("one", self.broker.kafka(), "large", 1_000_000), "NO_ERROR\n")

    def test_a_record_over_max_message_bytes_is_refused_as_too_large(self):
        self.broker.create_topic("too-large")
        self.assertEqual(harness.rdkafka("one", self.broker.kafka(), "too-large", 2_000_000),
                         "MSG_SIZE_TOO_LARGE\n")

    def test_a_topic_may_take_larger_records(self):
        self.broker.create_topic("larger", max_message_bytes=30_000_000)
        self.assertEqual(harness.rdkafka("one", self.broker.kafka(), "larger", 20_000_000), "NO_ERROR\n")


def _add_cases():
    for advertise in ("cores", "broker"):
        for codec in harness.CODECS:
            for acks in ACKS:
                def case(self, advertise=advertise, codec=codec, acks=acks):
                    self.round_trip(advertise, codec, acks)
                setattr(RdkafkaTest, f"test_advertise_{advertise}_{codec}_acks_{acks}", case)


_add_cases()

if __name__ == "__main__":
    harness.main()
