#!/usr/bin/env python3
"""`ringtail import kafka-dir` of a directory that Kafka 4.1.1 left (golden_data/README.md)."""

import glob
import hashlib
import os
import shutil
import sys
import tarfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import kafka_wire  # noqa: E402

ARCHIVE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden_data", "kafka-4.1.1",
                       "log_dir.tar.xz")
LINE = "%t %p %o %T %k %h %s\n"
FIRST_SEGMENT = "00000000000000000000.log"


def digest(root):
    """Names, sizes, times and bytes of all files."""
    total = hashlib.sha256()
    for path in sorted(glob.glob(os.path.join(root, "**"), recursive=True, include_hidden=True)):
        info = os.stat(path)
        total.update(f"{path} {info.st_size} {info.st_mtime_ns}\n".encode())
        if os.path.isfile(path):
            with open(path, "rb") as file:
                total.update(file.read())
    return total.hexdigest()


def segments(root, partition):
    """The bytes of all, one behind the other."""
    paths = sorted(glob.glob(os.path.join(root, partition, "*.log")))
    return b"".join(open(path, "rb").read() for path in paths)


class ImportTest(unittest.TestCase):
    def setUp(self):
        self.root = harness.scratch("import")
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(self.root)
        self.kafka = os.path.join(self.root, "data")
        os.mkdir(os.path.join(self.root, "ringtail"))
        self.broker = harness.Broker(os.path.join(self.root, "ringtail"))
        self.addCleanup(self.broker.kill)
        self.target = self.broker.data

    def run_import(self, *args, source=None):
        return harness.execute([harness.RINGTAIL, "import", "kafka-dir", source or self.kafka,
                                "--to", self.target, *args])

    def refused(self, *parts, args=()):
        """Nothing is left, nothing was touched, and it says what was expected and what came."""
        before = digest(self.kafka)
        done = self.run_import(*args)
        self.assertEqual(done.rc, 1, done.text)
        for part in ("expected", *parts):
            self.assertIn(part, done.text)
        self.assertEqual(os.listdir(os.path.dirname(self.target)), [])
        self.assertEqual(digest(self.kafka), before)

    def expect_kafkas_records(self):
        for path in glob.glob(os.path.join(self.root, "records", "*")):
            topic, partition = os.path.basename(path).rsplit("-", 1)
            with open(path, "rb") as file:
                self.assertEqual(self.consume(topic, partition), file.read(), path)

    def consume(self, topic, partition):
        return harness.kcat(self.broker.kafka(), "-C", "-e", "-q", "-t", topic, "-p",
                            str(partition), "-o", "beginning", "-f", LINE)

    def test_topics_come_over_as_they_are(self):
        before = digest(self.kafka)
        done = self.run_import("--except", "committed")
        self.assertEqual(done.rc, 0, done.text)
        for part in ("events: 2 partitions", "left out: __consumer_offsets: Kafka's own",
                     "trimmed-0: offsets 50 to 180", "retention.ms=-1"):
            self.assertIn(part, done.text)
        self.assertEqual(digest(self.kafka), before)
        for name in ("events-0", "events-1", "compacted-0", "trimmed-0"):
            self.assertEqual(segments(self.target, name), segments(self.kafka, name), name)
        verified = harness.execute([harness.RINGTAIL, "log", "verify", self.target])
        self.assertEqual(verified.rc, 0, verified.text)
        self.broker.start()
        self.expect_kafkas_records()
        # A later start knows the directory by its own journal.
        self.broker.restart()
        self.expect_kafkas_records()
        ids = []
        for root in (self.kafka, self.target):
            with open(os.path.join(root, "events-0", "partition.metadata"), "rb") as file:
                ids.append(file.read().split())
        self.assertEqual(ids[0], ids[1])

    def test_it_goes_on_where_kafka_ended(self):
        self.assertEqual(self.run_import("--topic", "events").rc, 0)
        self.broker.start()
        before = self.consume("events", 0)
        base, _, last = list(kafka_wire.walk(segments(self.kafka, "events-0")))[-1]
        # A producer that Kafka knew is known: what it sends again is told where it lies.
        with kafka_wire.Connection(self.broker.kafka_port()) as connection:
            self.assertEqual(connection.produce_batch("events", 0, last), (0, base))
        self.assertEqual(self.consume("events", 0), before)
        harness.kcat(self.broker.kafka(), "-P", "-t", "events", "-p", "0", "-X",
                     "enable.idempotence=true", stdin=b"new\n")
        self.assertEqual(self.broker.stop(), 0)
        self.broker.start()
        self.assertIn(b"events 0 90 ", self.consume("events", 0)[len(before):])

    def test_what_compaction_took_between_segments_is_told(self):
        for path in glob.glob(os.path.join(self.kafka, "events-0", "0" * 18 + "30.*")):
            os.remove(path)
        done = self.run_import("--topic", "events")
        self.assertEqual(done.rc, 0, done.text)
        self.assertIn("1 gaps between segments, the first at offsets 30 to 59", done.text)
        with open(os.path.join(self.root, "records", "events-0"), "rb") as file:
            records = file.readlines()
        for _ in range(2):
            self.broker.start()
            self.assertEqual(self.consume("events", 0), b"".join(records[:30] + records[60:]))
            self.assertEqual(self.broker.stop(), 0)

    def test_a_dry_run_writes_nothing(self):
        done = self.run_import("--dry-run", "--topic", "events")
        self.assertEqual(done.rc, 0, done.text)
        self.assertIn("events: 2 partitions", done.text)
        self.assertNotIn("trimmed", done.text)
        self.assertEqual(os.listdir(os.path.dirname(self.target)), [])

    def test_what_a_cut_off_run_left_goes_with_the_next(self):
        stage = self.target + ".importing"
        os.makedirs(os.path.join(stage, "events-0"))
        with open(os.path.join(stage, "events-0", FIRST_SEGMENT), "wb") as file:
            file.write(b"half")
        self.assertEqual(self.run_import("--topic", "events").rc, 0)
        self.assertEqual(os.listdir(os.path.dirname(self.target)),
                         [os.path.basename(self.target)])

    def test_transactions_are_refused(self):
        self.refused("committed-0: expected no transactions", "offset 0", "--except committed")

    def test_a_damaged_batch_is_named(self):
        path = os.path.join(self.kafka, "events-1", FIRST_SEGMENT)
        with open(path, "r+b") as file:
            file.seek(200)
            byte = file.read(1)[0]
            file.seek(200)
            file.write(bytes([byte ^ 1]))
        self.refused(f"{path} at ", "the CRC does not match", args=("--topic", "events"))

    def test_a_directory_that_was_not_closed_is_refused(self):
        os.remove(os.path.join(self.kafka, ".kafka_cleanshutdown"))
        self.refused(".kafka_cleanshutdown", "kafka-server-stop.sh")

    def test_what_is_no_directory_of_kafka_is_refused(self):
        os.remove(os.path.join(self.kafka, "meta.properties"))
        self.refused("a log directory of Kafka 4", "there is none")

    def test_tiered_storage_is_refused(self):
        with open(os.path.join(self.kafka, "log-start-offset-checkpoint"), "w",
                  encoding="ascii") as file:
            file.write("0\n1\nevents 0 3\n")
        first = os.path.join(self.kafka, "events-0", FIRST_SEGMENT)
        os.remove(first)
        self.refused("from offset 3", "tiered storage")

    def test_a_missing_partition_is_refused(self):
        shutil.rmtree(os.path.join(self.kafka, "events-0"))
        self.refused("events: expected partitions 0 to 1; 0 is missing")

    def test_a_directory_in_use_is_no_target(self):
        os.makedirs(self.target)
        with open(os.path.join(self.target, "kept"), "wb"):
            pass
        done = self.run_import()
        self.assertEqual(done.rc, 1)
        self.assertIn("expected a directory that is not there yet, or empty", done.text)
        self.assertEqual(os.listdir(self.target), ["kept"])

    def test_a_target_in_no_directory_is_told(self):
        self.target = os.path.join(self.target, "absent", "data")
        done = self.run_import()
        self.assertEqual(done.rc, 1)
        self.assertIn("expected the directory that it is made in", done.text)

    def test_names_that_are_not_there_are_told(self):
        for args, what in ((("--topic", "absent"), "there is no topic absent"),
                           (("--topic", "__consumer_offsets"), "this is Kafka's own")):
            done = self.run_import(*args)
            self.assertEqual(done.rc, 1)
            self.assertIn(what, done.text)


if __name__ == "__main__":
    harness.main()
