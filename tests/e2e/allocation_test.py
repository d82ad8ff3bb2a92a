#!/usr/bin/env python3
"""What a request takes from the heap after warm-up: counted in the shipped program by a preloaded library."""

import mmap
import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import kafka_wire as wire  # noqa: E402

COUNTER = os.path.abspath("tests/e2e/libcount_allocations.so")
WARM = 1500
MEASURED = 6000
# What a segment, an index (an entry for each 4 KiB of a partition) or a journal file needs now and then.
ALLOWED_PER_REQUEST = 0.05
PARTITIONS = 6


class Counted(harness.Broker):
    """A broker whose allocations are counted."""

    def __init__(self, root, **options):
        self.count_file = os.path.join(root, "allocations")
        super().__init__(root, env={"LD_PRELOAD": COUNTER, "COUNT_ALLOCATIONS_FILE": self.count_file},
                         **options)

    def allocations(self):
        with open(self.count_file, "rb") as file:
            return struct.unpack("=Q", file.read(8))[0]

    def show(self, count):
        """The next allocations, with their callers, go to the log."""
        with open(self.count_file, "r+b") as file, mmap.mmap(file.fileno(), 16) as counters:
            counters[8:16] = struct.pack("=q", count)


def produce(topic, partitions, correlation):
    """Produce version 3 of one record to each of the partitions."""
    body = struct.pack(">hhii", -1, -1, 30000, 1) + wire.string(topic) + struct.pack(">i", len(partitions))
    for index in partitions:
        batch = wire.batch([b"v" * 100])
        body += struct.pack(">ii", index, len(batch)) + batch
    return wire.request(wire.PRODUCE, 3, correlation, body)


def fetch(topic, offsets, session, epoch, correlation, wait_ms=0):
    """Fetch version 7 of (index, offset) pairs."""
    body = struct.pack(">iiiibii", -1, wait_ms, 1, 64 << 10, 0, session, epoch)
    body += struct.pack(">i", 1 if offsets else 0)
    if offsets:
        body += wire.string(topic) + struct.pack(">i", len(offsets))
        for index, offset in offsets:
            body += struct.pack(">iqqi", index, offset, -1, 4096)
    return wire.request(wire.FETCH, 7, correlation, body + struct.pack(">i", 0))


class AllocationTest(unittest.TestCase):
    def measure(self, what, ask):
        """ask(i) sends the i-th request and takes its reply."""
        for i in range(WARM):
            ask(i)
        show = int(os.environ.get("SHOW_ALLOCATIONS", "0"))
        self.broker.show(show)
        before = self.broker.allocations()
        for i in range(WARM, WARM + MEASURED):
            ask(i)
        each = (self.broker.allocations() - before) / MEASURED
        self.broker.show(0)
        print(f"allocations per request: {each:8.4f}  {what}, {self.broker.cores} cores", flush=True)
        with self.subTest(what):
            self.assertLess(each, ALLOWED_PER_REQUEST, self.broker.log() if show else "")

    def run_all(self, cores):
        self.broker = Counted(harness.scratch("allocation"), cores=cores)
        self.addCleanup(self.broker.kill)
        self.broker.start()
        self.broker.create_topic("t", PARTITIONS)
        port = self.broker.kafka_port(0)
        with wire.Connection(port) as producer, wire.Connection(port) as consumer:
            self.producer, self.consumer = producer, consumer
            self.produces()
            self.fetches()
            self.waits()

    def produce(self, partitions, i):
        self.producer.send(produce("t", partitions, i))
        self.assertEqual(self.producer.reply()[0], i)

    def fetch(self, offsets, session=0, epoch=-1, wait_ms=0):
        """Returns (session id, high watermark of the first partition that is told)."""
        self.consumer.send(fetch("t", offsets, session, epoch, 1, wait_ms))
        return self.fetched()

    def fetched(self):
        reply = self.consumer.reply()[1]
        error, session, topics = struct.unpack_from(">hii", reply, 4)
        self.assertEqual(error, 0)
        # After the topic's name (1 character): count, index, error, high watermark.
        return session, struct.unpack_from(">q", reply, 27)[0] if topics else None

    def produces(self):
        every = list(range(PARTITIONS))
        self.measure("produce to 1 partition", lambda i: self.produce([0], i))
        self.measure(f"produce to {PARTITIONS} partitions", lambda i: self.produce(every, i))

    def fetches(self):
        def offsets(i):
            return [(p, i % 100) for p in range(PARTITIONS)]
        self.measure(f"fetch of {PARTITIONS} partitions", lambda i: self.fetch(offsets(i)))
        session, _ = self.fetch(offsets(0), epoch=0)
        self.assertGreater(session, 0)
        self.measure("fetch of a session's changes",
                     lambda i: self.fetch([(i % PARTITIONS, i % 100)], session, i + 1))

    def waits(self):
        ends = [self.fetch([(p, 0)])[1] for p in range(PARTITIONS)]

        def wait(i):
            self.consumer.send(fetch("t", list(enumerate(ends)), 0, -1, 1, wait_ms=30000))
            self.produce([i % PARTITIONS], i)
            ends[i % PARTITIONS] += 1
            self.fetched()
        self.measure("fetch that waits, with the produce that wakes it", wait)

    def test_one_core(self):
        self.run_all(1)

    def test_two_cores(self):
        self.run_all(2)


if __name__ == "__main__":
    harness.main()
