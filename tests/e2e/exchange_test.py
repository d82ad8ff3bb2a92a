#!/usr/bin/env python3
"""Written through one protocol, read through the other, byte for byte."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402


class ExchangeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = harness.Broker(harness.scratch("exchange"), 2)
        cls.addClassCleanup(cls.broker.kill)
        cls.broker.start()
        cls.records = harness.lines(20_000, length=90)
        cls.file = os.path.join(cls.broker.root, "records.txt")
        with open(cls.file, "wb") as file:
            file.write(harness.text(cls.records))

    def native_to_kafka(self, codec):
        topic = "native-" + codec
        self.broker.create_topic(topic)
        self.broker.ringtail("produce", topic, self.file, "--compression", codec)
        found = harness.kcat(self.broker.kafka(), "-C", "-t", topic, "-e", "-q", "-X", "check.crcs=true")
        self.assertTrue(found == harness.text(self.records))

    def kafka_to_native(self, codec):
        topic = "kafka-" + codec
        self.broker.create_topic(topic)
        harness.kcat(self.broker.kafka(), "-P", "-t", topic, "-z", codec, "-l", self.file)
        found = self.broker.ringtail("consume", topic, "--count", str(len(self.records)))
        self.assertTrue(found == harness.text(self.records))

    def test_keys_and_headers_from_native_to_kafka(self):
        self.broker.create_topic("native-shapes")
        self.broker.ringtail("produce", "native-shapes", "-k", ":", "-H", "host=web1", "-H", "empty=",
                             stdin=b"alice:hello\nbob:\n")
        found = harness.kcat(self.broker.kafka(), "-C", "-t", "native-shapes", "-e", "-q",
                             "-f", "%k=%s[%h]\n")
        self.assertEqual(found, b"alice=hello[host=web1,empty=]\nbob=[host=web1,empty=]\n")

    def test_keys_headers_and_nulls_from_kafka_to_native(self):
        self.broker.create_topic("kafka-shapes")
        harness.kcat(self.broker.kafka(), "-P", "-t", "kafka-shapes", "-K:", "-Z", "-H", "h=1",
                     stdin=b"k:v\n:v\nk:\n")
        found = [harness.json.loads(line) for line in self.broker.ringtail(
            "consume", "kafka-shapes", "--format", "json").splitlines()]
        self.assertEqual([(one["key"], one["value"], one["headers"]) for one in found],
                         [("k", "v", [{"name": "h", "value": "1"}]),
                          (None, "v", [{"name": "h", "value": "1"}]),
                          ("k", None, [{"name": "h", "value": "1"}])])


def _add_cases():
    for codec in harness.CODECS:
        def there(self, codec=codec):
            self.native_to_kafka(codec)

        def back(self, codec=codec):
            self.kafka_to_native(codec)
        setattr(ExchangeTest, f"test_written_natively_read_by_kcat_{codec}", there)
        setattr(ExchangeTest, f"test_written_by_kcat_read_natively_{codec}", back)


_add_cases()

if __name__ == "__main__":
    harness.main()
