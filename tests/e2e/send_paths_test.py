#!/usr/bin/env python3
"""How fetched bytes leave: each path by its counters, and what is not in the page cache."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import kafka_wire  # noqa: E402

TOPIC_BYTES = 40 << 20
RECORD_BYTES = 4000
# Far above a turn of a busy machine, far below what reading 40 MiB from a disk takes.
STALL_REPORT = "--stall_report_ms=250"


def drop_from_page_cache(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def is_resident(fd, size):
    buffer = bytearray(1 << 20)
    for position in range(0, size, len(buffer)):
        try:
            got = os.preadv(fd, [buffer], position, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        if got < min(len(buffer), size - position):
            return False
    return True


# What the kernel reads ahead of a cold reader depends on how a file came to be: in large writes, and
# not synced while it grew.
PAGE_CACHE = "--durability=page_cache"


class SendPathTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = harness.scratch("send")
        with harness.Broker(cls.root, 1, [PAGE_CACHE]) as broker:
            broker.create_topic("t", 1)
            broker.ringtail("bench", "produce", "t", "--records", str(TOPIC_BYTES // RECORD_BYTES),
                            "--record-bytes", str(RECORD_BYTES), "--batch-bytes", "200000")
            broker.stop()
            with open(broker.segment("t"), "rb") as file:
                cls.log = file.read()
        assert len(cls.log) > TOPIC_BYTES

    def start(self, path, *flags):
        broker = harness.Broker(self.root, 1, ["--send_path=" + path, STALL_REPORT, PAGE_CACHE, *flags])
        self.addCleanup(broker.kill)
        return broker.start()

    def fetch_and_count(self, broker):
        """What one reader of everything added to the sender's counters."""
        before = broker.core_pages()[0]["sender"]
        self.assertTrue(kafka_wire.fetch_all(broker.kafka_port(), "t") == self.log,
                        "the bytes of the log")
        after = broker.core_pages()[0]["sender"]
        self.assertEqual(set(after["fallbacks"]), {"not_resident", "no_pipe", "unsupported", "map_failed"})
        difference = {}
        for group in ("file_bytes", "fallbacks"):
            difference[group] = {name: after[group][name] - before[group][name] for name in after[group]}
        difference["cold_reads"] = after["cold_reads"] - before["cold_reads"]
        self.assertEqual(sum(difference["file_bytes"].values()), len(self.log))
        return difference

    def warm(self, broker):
        # Again and again: pages that an uncached read has left behind go when they are read once more, and
        # now and then a few are missing after a whole read for no reason that can be seen.
        with open(broker.segment("t"), "rb") as file:
            for _ in range(20):
                file.seek(0)
                self.assertTrue(file.read() == self.log)
                if is_resident(file.fileno(), len(self.log)):
                    return
        self.fail("the segment does not stay in the page cache")

    def hot_path(self, path):
        broker = self.start(path)
        self.warm(broker)
        counts = self.fetch_and_count(broker)
        self.assertGreaterEqual(counts["file_bytes"][path], 0.99 * len(self.log), counts)
        if counts["file_bytes"][path] == len(self.log):
            self.assertEqual(sum(counts["fallbacks"].values()), 0, counts)
        else:
            self.assertGreater(sum(counts["fallbacks"].values()), 0, counts)
        self.assertEqual(broker.stop(), 0)

    def test_auto_sends_every_byte_by_some_path(self):
        broker = self.start("auto")
        self.warm(broker)
        counts = self.fetch_and_count(broker)
        self.assertEqual(sum(counts["fallbacks"].values()), 0, "a rule does not fall back")
        self.assertGreaterEqual(counts["file_bytes"]["sendfile"], 0.99 * len(self.log),
                                "what is hot and large")

    def test_splice(self):
        self.hot_path("splice")

    def test_sendfile(self):
        self.hot_path("sendfile")

    def test_mapped(self):
        self.hot_path("mapped")

    def test_send_zc(self):
        self.hot_path("send_zc")

    def test_copy(self):
        self.hot_path("copy")

    def cold(self, path):
        broker = self.start(path)
        drop_from_page_cache(broker.segment("t"))
        counts = self.fetch_and_count(broker)
        self.assertEqual(broker.total("loop", "stalls"), 0)
        return counts

    def test_a_cold_segment_is_read_through_the_ring(self):
        counts = self.cold("auto")
        # How much the kernel reads ahead of it, which then leaves as what is hot does, is its choice.
        self.assertGreater(counts["cold_reads"], 0, counts)
        self.assertGreater(counts["file_bytes"]["copy"], 0, counts)

    def test_sendfile_falls_back_on_a_cold_segment_and_says_why(self):
        counts = self.cold("sendfile")
        self.assertGreater(counts["fallbacks"]["not_resident"], 0, counts)
        self.assertGreater(counts["cold_reads"], 0, counts)

    def test_mapped_falls_back_on_a_cold_segment_and_says_why(self):
        counts = self.cold("mapped")
        self.assertGreater(counts["fallbacks"]["not_resident"], 0, counts)

    def test_splice_reads_a_cold_segment_without_a_stall(self):
        counts = self.cold("splice")
        self.assertGreaterEqual(counts["file_bytes"]["splice"], 0.99 * len(self.log), counts)

    def test_others_are_served_while_one_reads_a_cold_segment(self):
        broker = self.start("auto")
        broker.try_ringtail("topic", "create", "hot", "--partitions", "1")
        drop_from_page_cache(broker.segment("t"))
        with kafka_wire.Connection(broker.kafka_port()) as reader, \
                kafka_wire.Connection(broker.kafka_port()) as writer:
            for number in range(4):
                reader.send(kafka_wire.fetch("t", [(0, number * 2000)], number, max_bytes=8 << 20))
            for value in harness.lines(100):
                self.assertEqual(writer.produce("hot", 0, [value])[0], 0)
            for number in range(4):
                self.assertEqual(reader.reply()[0], number)
        self.assertEqual(broker.total("loop", "stalls"), 0)

    def test_many_slow_readers_hold_no_more_pipes_than_there_are(self):
        broker = self.start("splice")
        readers = [kafka_wire.Connection(broker.kafka_port(), receive_buffer=65536) for _ in range(24)]
        for reader in readers:
            self.addCleanup(reader.socket.close)
            reader.send(kafka_wire.fetch("t", [(0, 0)], max_bytes=4 << 20))
        harness.wait_for(lambda: broker.total("sender", "socket_waits") >= 24, "24 full sockets")
        self.assertTrue(kafka_wire.fetch_all(broker.kafka_port(), "t") == self.log)
        for reader in readers:
            batches = kafka_wire.parse_fetch(reader.reply()[1])[0][3]
            self.assertTrue(batches == self.log[:len(batches)] and len(batches) > 1 << 20)


if __name__ == "__main__":
    harness.main()
