#!/usr/bin/env python3
"""Makes a set of golden data directories: see README.md.

    tools/dev build && cd bazel-bin && ../tests/e2e/golden_data/make.py ../tests/e2e/golden_data/v1
"""

import glob
import os
import random
import shutil
import sys
import tarfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import golden  # noqa: E402
import harness  # noqa: E402
import kafka_wire  # noqa: E402

# Entries stay live until a clean stop: nothing is synced behind them.
FLAGS = ["--journal_file_bytes=256KiB", "--journal_bytes_max=1MiB", "--journal_sync_age_ms=3600000"]
TOPICS = {  # partitions, configs
    "plain": (3, {}),
    "cached": (2, {"ringtail_durability": "page_cache"}),
    "zipped": (2, {}),
    "trimmed": (1, {"segment_bytes": 16384}),
    "cached-trimmed": (1, {"segment_bytes": 16384, "ringtail_durability": "page_cache"}),
    "large": (1, {}),
    "gone": (1, {}),
    "empty": (1, {}),
}
CUT = ("plain", "zipped", "trimmed")  # topics of which a power cut takes what was not synced


def produce(broker, seed):
    """Some of everything."""
    rng = random.Random(seed)
    words = [b"%x" % rng.getrandbits(24) for _ in range(40)]

    def lines(count):
        return b"".join(b"key-%d:%s %s\n" % (i, rng.choice(words), rng.choice(words) * 4)
                        for i in range(count))

    with kafka_wire.Connection(broker.kafka_port()) as peer:
        for topic in ("plain", "cached", "trimmed", "cached-trimmed", "gone"):
            if topic == "gone" and seed > 2:
                continue
            for number in range(TOPICS[topic][0]):
                for _ in range(6):
                    values = [rng.choice(words) * rng.randint(1, 30) for _ in range(rng.randint(1, 9))]
                    error, _ = peer.produce(topic, number, values)
                    assert error == 0, error
    for topic in ("trimmed", "cached-trimmed"):  # more than a segment
        broker.ringtail("produce", topic, "-k", ":", "--batch-bytes", "4096", stdin=lines(800))
    for number, codec in enumerate(harness.CODECS):
        options = ["-P", "-t", "zipped", "-p", str(number % 2), "-K", ":", "-H", "codec=" + codec,
                   "-X", "enable.idempotence=true"]
        harness.kcat(broker.kafka(), *options, *(["-z", codec] if codec != "none" else []),
                     stdin=lines(60))
        broker.ringtail("produce", "plain", "-k", ":", "-z", codec, stdin=lines(20))
    with kafka_wire.Connection(broker.kafka_port()) as peer:  # synced in place, not journaled
        error, _ = peer.produce("large", 0, [b"%d" % seed * 600_000])
        assert error == 0, error


def trim(broker):
    with kafka_wire.Connection(broker.kafka_port()) as peer:
        for topic in ("trimmed", "cached-trimmed"):
            found = golden.batches(broker, topic, 0)
            _, last, _ = found[len(found) // 3]
            assert peer.call(kafka_wire.delete_records(topic, 0, last + 1))[-2:] == b"\0\0"
            assert peer.produce(topic, 0, [b"an entry that tells the start"])[0] == 0


def cut(data, sizes):
    """What a power cut may leave of the segments: nothing of what the last run wrote."""
    for topic in CUT:
        for path in glob.glob(os.path.join(data, topic + "-*", "*.log")):
            before = sizes.get(os.path.relpath(path, data))
            if before is None:
                os.unlink(path)
            else:
                os.truncate(path, before)


def pack(broker, path):
    data = shutil.copytree(broker.data, os.path.join(harness.scratch("pack"), "data"))
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for name in sorted(glob.glob(data + "/**", recursive=True, include_hidden=True)):
            if os.path.isfile(name) and os.path.basename(name) != ".reserve":
                archive.add(name, os.path.relpath(name, data), filter=owner)


def owner(info):
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = "root"
    return info


def main(out):
    os.makedirs(out)
    broker = harness.Broker(harness.scratch("golden"), 2, FLAGS).start()
    for name, (partitions, configs) in TOPICS.items():
        broker.create_topic(name, partitions, retention_ms=-1, **configs)
    produce(broker, 1)
    broker.restart(cores=3)  # each start is another leader epoch
    produce(broker, 2)
    broker.kill()
    broker.cores = 2
    broker.start()
    sizes = {os.path.relpath(path, broker.data): os.path.getsize(path)
             for path in glob.glob(broker.data + "/*/*.log")}
    produce(broker, 3)
    trim(broker)
    broker.ringtail("topic", "delete", "gone")
    listing = golden.listing(broker)
    broker.kill()
    cut(broker.data, sizes)
    pack(broker, os.path.join(out, "cut_off.tar.xz"))
    broker.start()
    assert golden.listing(broker) == listing
    assert broker.stop() == 0
    pack(broker, os.path.join(out, "clean.tar.xz"))
    with open(os.path.join(out, "listing.jsonl"), "w", encoding="ascii") as file:
        file.write(golden.text(listing))


if __name__ == "__main__":
    main(sys.argv[1])
