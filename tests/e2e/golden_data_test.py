#!/usr/bin/env python3
"""Directories that earlier versions left are opened, for ever; what later ones write is refused by
name, and nothing is changed (golden_data/README.md)."""

import glob
import hashlib
import os
import struct
import sys
import tarfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import golden  # noqa: E402
import harness  # noqa: E402
import kafka_wire  # noqa: E402

SETS = sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                     "golden_data", "v*")))
NEWEST = SETS[-1]
IDEMPOTENT_WINDOW = 5  # batches of a producer that are remembered


def unpack(folder, name, cores=2):
    """A broker over a copy, not started yet."""
    broker = harness.Broker(harness.scratch("golden"), cores,
                            ["--journal_file_bytes=1MiB", "--journal_bytes_max=4MiB"])
    with tarfile.open(os.path.join(folder, name + ".tar.xz")) as archive:
        archive.extractall(broker.data)
    return broker


class GoldenDataTest(unittest.TestCase):
    def expected(self, folder):
        with open(os.path.join(folder, "listing.jsonl"), encoding="ascii") as file:
            found = golden.parse(file.read())
        self.assertGreater(sum(len(each["batches"]) for each in found.values()), 100)
        return found

    def opens(self, name, cores):
        for folder in SETS:
            with self.subTest(os.path.basename(folder)):
                expected = self.expected(folder)
                broker = unpack(folder, name, cores)
                self.addCleanup(broker.kill)
                broker.start()
                self.assertEqual(golden.listing(broker), expected)
                self.knows_its_producers(broker, expected)
                self.assertEqual(golden.listing(broker), expected)
                self.goes_on(broker, expected)

    def knows_its_producers(self, broker, expected):
        """A producer that sends its last batch again is told where it is."""
        asked = 0
        for name, partition in expected.items():
            topic, number = name.rsplit("-", 1)
            last = {}
            for each in golden.batches(broker, topic, int(number)):
                row = golden.describe(*each)
                if row["producer"][0] >= 0:
                    last[row["producer"][0]] = each
            with kafka_wire.Connection(broker.kafka_port()) as peer:
                for base, _, batch in last.values():
                    self.assertEqual(peer.produce_batch(topic, int(number), batch), (0, base), name)
                    asked += 1
        self.assertGreater(asked, 10)

    def goes_on(self, broker, expected):
        for name, partition in expected.items():
            topic, number = name.rsplit("-", 1)
            with kafka_wire.Connection(broker.kafka_port()) as peer:
                self.assertEqual(peer.produce(topic, int(number), [b"and on"]),
                                 (0, partition["log_end"]))
        broker.restart()
        for name, partition in golden.listing(broker).items():
            self.assertEqual(partition["batches"][:-1], expected[name]["batches"])
        self.assertEqual(broker.stop(), 0)
        verified = harness.execute([harness.RINGTAIL, "log", "verify", broker.data])
        self.assertEqual(verified.rc, 0, verified.text)

    def test_one_that_was_stopped(self):
        self.opens("clean", 2)

    def test_one_that_was_cut_off(self):
        self.opens("cut_off", 2)

    def test_one_that_was_cut_off_on_fewer_cores(self):
        self.opens("cut_off", 1)

    def test_one_that_was_cut_off_on_more_cores(self):
        self.opens("cut_off", 5)


def with_crc(data, at, begin, end):
    """A little-endian CRC32C of [begin, end) put at `at`."""
    struct.pack_into("<I", data, at, kafka_wire.crc32c(data[begin:end]))
    return data


def later_manifest(data):
    struct.pack_into("<I", data, 8, 3)
    return with_crc(data, 4, 8, 64)


def later_journal(data):
    struct.pack_into("<I", data, 8, 3)
    return with_crc(data, 4, 8, 4096)


def later_checkpoint(data):
    struct.pack_into("<I", data, 8, 3)
    records, held = struct.unpack_from("<II", data, 24)
    return with_crc(data, 4, 8, 64 + 64 * records + 16 * held)


def later_catalog(data):
    assert data[16:18] == b"\x08\x01", "format_version comes first"
    data[17] = 2
    return with_crc(data, 8, 16, len(data))


def replaced(before, after):
    def change(data):
        assert before in data
        return bytearray(data.replace(before, after, 1))
    return change


def later_snapshot(data):
    struct.pack_into(">h", data, 0, 2)
    return data


class VersionTest(unittest.TestCase):
    def state(self, broker):
        """{file: digest} of all that a start may not change."""
        found = {}
        for path in glob.glob(broker.data + "/**", recursive=True, include_hidden=True):
            if os.path.isfile(path) and os.path.basename(path) != ".lock":
                with open(path, "rb") as file:
                    found[os.path.relpath(path, broker.data)] = hashlib.sha256(file.read()).digest()
        return found

    def later(self, broker, pattern, change):
        paths = glob.glob(os.path.join(broker.data, pattern))
        changed = 0
        for path in paths:
            with open(path, "rb") as file:
                data = file.read()
            with open(path, "wb") as file:
                after = change(bytearray(data))
                changed += after != data
                file.write(after)
        self.assertGreater(changed, 0, pattern)

    def refused(self, name, pattern, change, *words):
        with self.subTest(pattern, data=name):
            broker = unpack(NEWEST, name)
            self.later(broker, pattern, change)
            before = self.state(broker)
            done = harness.execute(broker.command())
            self.assertEqual(done.rc, 1, done.text)
            for word in (os.path.basename(pattern).split("*")[-1], *words):
                self.assertIn(word, done.text)
            self.assertEqual(self.state(broker), before)

    def test_files_of_the_whole_directory(self):
        for name in ("clean", "cut_off"):
            self.refused(name, "journal/MANIFEST", later_manifest, "version 3, this program knows 2")
            self.refused(name, "journal/core-0000/checkpoint.*", later_checkpoint,
                         "version 3, this program knows 2")
            self.refused(name, "catalog", later_catalog, "version 2, this program knows 1")
            self.refused(name, "meta.properties", replaced(b"version=1", b"version=2"), "version")
            self.refused(name, "recovery-point-offset-checkpoint", replaced(b"0\n", b"1\n"),
                         "not version 0")
        self.refused("cut_off", "journal/core-0000/*.journal", later_journal,
                     "version 3, this program knows 2")

    def test_files_of_a_partition(self):
        """Its identity closes it alone; what the batches tell, too, is made again from them."""
        broker = unpack(NEWEST, "cut_off")
        self.addCleanup(broker.kill)
        self.later(broker, "plain-1/partition.metadata", replaced(b"version: 0", b"version: 1"))
        self.later(broker, "plain-2/leader-epoch-checkpoint", replaced(b"0\n", b"1\n"))
        self.later(broker, "zipped-1/*.snapshot", later_snapshot)
        before = self.state(broker)
        broker.start()
        pages = {f"{page['topic']}-{page['partition']}": page
                 for page in broker.partition_pages()}
        self.assertEqual([name for name, page in pages.items() if page["status"] != "ok"],
                         ["plain-1"])
        self.assertIn("not version 0", pages["plain-1"]["reason"])
        after = self.state(broker)
        for name, digest in before.items():
            if name.startswith("plain-1/"):
                self.assertEqual(after.get(name), digest, name)


if __name__ == "__main__":
    harness.main()
