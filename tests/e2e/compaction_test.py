#!/usr/bin/env python3
"""Topics with cleanup.policy=compact: what a client reads, before and after kill -9."""

import os
import random
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import kafka_wire  # noqa: E402

INVALID_RECORD = 87
KEYS = 20
ROUNDS = 60


class CompactionTest(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(7)  # what codecs cannot shrink to one segment

    def start(self):
        # Checkpoints follow the journal's syncs, and compaction follows those.
        broker = harness.Broker(harness.scratch("compaction"), 2,
                                ["--compaction_check_ms=50", "--journal_sync_age_ms=50"])
        self.addCleanup(broker.kill)
        return broker.start()

    def produce(self, broker, topic, lines, codec="none"):
        harness.kcat(broker.kafka(), "-P", "-t", topic, "-p", "0", "-K", ":", "-Z", "-z", codec,
                     stdin=harness.text(lines))

    def consume(self, broker, topic):
        """[(offset, key, value)], -1 for the length of a null value."""
        out = harness.kcat(broker.kafka(), "-C", "-t", topic, "-p", "0", "-e", "-q", "-X", "check.crcs=true",
                           "-f", "%o %k %S %s\\n")
        return [line.split(b" ", 3) for line in out.splitlines()]

    def fill(self, broker, topic, codec):
        state = {}
        for number in range(ROUNDS):
            lines = []
            for key in range(KEYS):
                name = b"key%d" % key
                deleted = (number + key) % 17 == 0
                value = b"" if deleted else b"%d." % number + self.random.randbytes(60).hex().encode()
                lines.append(name + b":" + value)
                state[name] = None if deleted else value
            self.produce(broker, topic, lines, codec)
        return state

    def partition(self, broker, topic):
        return next(page for page in broker.page("/v1/partitions")["partitions"] if page["topic"] == topic)

    def check(self, broker, topic, state):
        found = {}
        offsets = [int(offset) for offset, _, _, _ in self.consume(broker, topic)]
        self.assertEqual(offsets, sorted(set(offsets)))
        for _, key, size, value in self.consume(broker, topic):
            found[key] = None if size == b"-1" else value
        self.assertEqual({key: value for key, value in found.items() if value is not None},
                         {key: value for key, value in state.items() if value is not None})
        return len(offsets)

    def test_of_each_key_the_latest_stays(self):
        broker = self.start()
        for codec in ("none", "zstd"):
            topic = "t-" + codec
            broker.create_topic(topic, 1, cleanup_policy="compact", segment_bytes=16384,
                                min_cleanable_dirty_ratio="0.2")
            state = self.fill(broker, topic, codec)
            before = KEYS * ROUNDS
            # What is in the active segment stays as it is.
            harness.wait_for(lambda: self.check(broker, topic, state) < before / 2,
                             "old records to go")
            self.assertEqual(self.partition(broker, topic)["log_end"], before)
            broker.kill()
            broker.start()
            self.check(broker, topic, state)
            self.assertEqual(self.partition(broker, topic)["log_end"], before)
            self.produce(broker, topic, [b"key1:after"])
            state[b"key1"] = b"after"
            self.check(broker, topic, state)

    def test_a_record_without_a_key_is_refused(self):
        broker = self.start()
        broker.create_topic("keys", 1, cleanup_policy="compact")
        with kafka_wire.Connection(broker.kafka_port()) as peer:
            self.assertEqual(peer.produce_batch("keys", 0, kafka_wire.batch([b"x"]))[0], INVALID_RECORD)


if __name__ == "__main__":
    harness.main()
