#!/usr/bin/env python3
"""What retention removes, and that it stays removed."""

import os
import struct
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import kafka_wire  # noqa: E402

OFFSET_OUT_OF_RANGE = 1


class RetentionTest(unittest.TestCase):
    def start(self):
        broker = harness.Broker(harness.scratch("retention"), 2, ["--retention_check_ms=50"])
        self.addCleanup(broker.kill)
        return broker.start()

    def log_start(self, broker, topic="t"):
        return next(page["log_start"] for page in broker.page("/v1/partitions")["partitions"]
                    if page["topic"] == topic)

    def fill(self, broker, count=60, timestamp_ms=None):
        timestamp_ms = timestamp_ms or int(time.time() * 1000)
        with kafka_wire.Connection(broker.kafka_port()) as peer:
            for _ in range(count):
                sent = kafka_wire.batch([b"x" * 4000], timestamp_ms)
                self.assertEqual(peer.produce_batch("t", 0, sent)[0], 0)

    def check_start(self, broker, start):
        with kafka_wire.Connection(broker.kafka_port()) as peer:
            self.assertEqual(peer.fetch("t", [(0, start - 1)])[0][1], OFFSET_OUT_OF_RANGE)
            _, error, watermark, batches = peer.fetch("t", [(0, start)])[0]
            self.assertEqual((error, watermark), (0, 60))
            self.assertEqual(next(kafka_wire.walk(batches))[0], start)

    def test_bytes(self):
        broker = self.start()
        broker.create_topic("t", 1, segment_bytes=16384, retention_bytes=50000)
        self.fill(broker)
        start = harness.wait_for(lambda: (found := self.log_start(broker)) > 40 and found,
                                 "old segments to go")
        self.check_start(broker, start)
        broker.kill()
        broker.start()
        self.assertGreaterEqual(self.log_start(broker), start)
        self.check_start(broker, self.log_start(broker))

    def test_time(self):
        broker = self.start()
        broker.create_topic("t", 1, segment_bytes=16384, retention_ms=60000)
        self.fill(broker, 40, int(time.time() * 1000) - 120_000)
        harness.wait_for(lambda: self.log_start(broker) == 40, "all of it to expire")
        self.fill(broker, 20)
        self.check_start(broker, 40)
        self.assertEqual(broker.stop(), 0)
        broker.start()
        self.check_start(broker, 40)

    def delete(self, broker, before):
        with kafka_wire.Connection(broker.kafka_port()) as peer:
            reply = peer.call(kafka_wire.delete_records("t", 0, before))
        return struct.unpack(">qh", reply[-10:])  # low watermark, error

    def test_delete_records(self):
        broker = self.start()
        broker.create_topic("t", 1, segment_bytes=16384)
        self.fill(broker)
        self.assertEqual(self.delete(broker, 61), (-1, OFFSET_OUT_OF_RANGE))
        self.assertEqual(self.delete(broker, 31), (31, 0))
        broker.kill()
        broker.start()
        self.assertEqual(self.log_start(broker), 31)
        self.check_start(broker, 31)
        self.assertEqual(self.delete(broker, 5), (31, 0))
        self.assertEqual(self.delete(broker, -1), (60, 0))
        self.assertEqual(broker.stop(), 0)
        broker.start()
        self.assertEqual(self.log_start(broker), 60)


if __name__ == "__main__":
    harness.main()
