#!/usr/bin/env python3
"""A broker with very many partitions: how long creating them, a start after a clean stop and one after
kill -9 take, and what they cost in memory and descriptors.

  perf/compare/many_partitions.py [--bin=bazel-bin] [--partitions=10000] [--topics=10] [--files=1024]

--files: the limit of descriptors, soft and hard. Exits 3 where a goal is not met. Works below
$RINGTAIL_PERF_DIR (default /var/tmp) and removes what it wrote. perf/README.md has the goals."""

import argparse
import os
import struct
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../../tests/e2e")]
import harness  # noqa: E402
import kafka_wire  # noqa: E402
from figures import Figures, measure, watched  # noqa: E402

# Descriptors within the limit, memory, start to ready after a clean stop and after kill -9; and
# creating 2,000 partitions.
GOALS = {"rss_mib": 200, "clean_start_s": 1.0, "killed_start_s": 3.0, "create_2000_s": 2.0}


def create_topic(peer, name, partitions):
    answer = peer.call(kafka_wire.create_topic(name, partitions, {}))
    error, = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(name))
    if error != 0:
        raise AssertionError(f"{name}: error {error}")


def produce_to_all(peer, topic, partitions, batch):
    """One Produce request, version 3, that names every partition."""
    parts = b"".join(struct.pack(">ii", index, len(batch)) + batch for index in range(partitions))
    body = (struct.pack(">hhii", -1, -1, 120_000, 1) + kafka_wire.string(topic) +
            struct.pack(">i", partitions) + parts)
    answer = peer.call(kafka_wire.request(kafka_wire.PRODUCE, 3, 1, body))
    at = 4 + 2 + len(topic) + 4
    for _ in range(partitions):
        index, error = struct.unpack_from(">ih", answer, at)
        if error != 0:
            raise AssertionError(f"{topic}-{index}: error {error}")
        at += 22


def note_process(figures, when):
    figures.note(when + "_rss_mib", figures.status_mib("VmRSS"))
    figures.note(when + "_descriptors", figures.descriptors())


def run(options, root):
    broker = harness.Broker(root, options.cores, options.flags, files_max=options.files)
    figures = Figures(broker, GOALS)
    each = options.partitions // options.topics
    names = [f"topic{number}" for number in range(options.topics)]
    batch = kafka_wire.batch([b"v" * 100])
    with watched(broker):
        figures.timed("first_start", broker.start)
        with kafka_wire.Connection(broker.kafka_port(), timeout=300) as peer:
            if options.partitions >= 4000:
                figures.timed("create_2000", create_topic, peer, "warm", 2000)
                broker.ringtail("topic", "delete", "warm", timeout=300)
            figures.timed("create_all", lambda: [create_topic(peer, name, each) for name in names])
            for name in ("first_pass", "second_pass"):
                figures.timed(name, lambda: [produce_to_all(peer, topic, each, batch)
                                             for topic in names])
            note_process(figures, "loaded")
        figures.timed("clean_stop", broker.stop)
        figures.timed("clean_start", broker.start)
        note_process(figures, "clean")
        with kafka_wire.Connection(broker.kafka_port(), timeout=300) as peer:
            for topic in names:
                produce_to_all(peer, topic, each, batch)
        broker.kill()
        figures.timed("killed_start", broker.start)
        note_process(figures, "killed")
        figures.note("rss_mib", max(value for name, value in figures.found.items()
                                    if name.endswith("_rss_mib")))
        served = broker.page("/v1/partitions")["partitions"]
        whole = [page for page in served if page["status"] == "ok" and page["high_watermark"] == 3]
        if len(whole) != each * options.topics:
            raise AssertionError(f"{len(whole)} of {each * options.topics} partitions are whole")
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--partitions", type=int, default=10_000)
    parser.add_argument("--topics", type=int, default=10)
    parser.add_argument("--files", type=int, default=1024)
    parser.add_argument("--cores", type=int, default=2)
    return measure(parser, "many", run)


if __name__ == "__main__":
    sys.exit(main())
