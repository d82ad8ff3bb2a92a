#!/usr/bin/env python3
"""README's runbook, row by row, as an operator meets it: what the broker says where it does not start
or closes a partition, and that the advice works. Rows that have tests elsewhere: faulty_disk_test,
full_disk_test, log_tools_test, golden_data_test (versions)."""

import glob
import os
import shutil
import socket
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import golden  # noqa: E402
import harness  # noqa: E402
import kafka_wire  # noqa: E402
from log_tools_test import flip, rows, tool  # noqa: E402

STORAGE_ERROR = 56
RECORDS = 60
SMALL = ["--journal_file_bytes=1MiB", "--journal_bytes_max=4MiB"]
PARTITIONS = 3


class RunbookTest(unittest.TestCase):
    """Each test has a broker that was ended, and a whole copy of what it left."""

    def made(self, clean=False, cores=2):
        broker = harness.Broker(harness.scratch("runbook"), cores, SMALL)
        self.addCleanup(broker.kill)
        broker.start()
        broker.create_topic("t", PARTITIONS, segment_bytes=16384)
        with kafka_wire.Connection(broker.kafka_port()) as peer:
            for number in range(RECORDS):  # more than a segment of each
                self.assertEqual(peer.produce("t", number % PARTITIONS, [b"%4d" % number * 300])[0],
                                 0)
        self.listing = golden.listing(broker)
        if clean:
            self.assertEqual(broker.stop(), 0)
        else:
            broker.kill()
        self.copy = os.path.join(broker.root, "copy")
        shutil.copytree(broker.data, self.copy)
        return broker

    def refused(self, broker, *words, flags=(), rc=1):
        """It ends at once, saying so in its last line."""
        done = harness.execute(broker.command(*flags))
        self.assertEqual(done.rc, rc, done.text)
        for word in words:
            self.assertIn(word, done.text.strip().splitlines()[-1])

    def put_back(self, broker, name):
        path = os.path.join(broker.data, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        source = os.path.join(self.copy, name)
        (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, path)

    def whole(self, broker):
        """All records are there, and appends go on."""
        broker.start()
        self.assertEqual(golden.listing(broker), self.listing)
        self.assertEqual(self.append(broker), [0] * PARTITIONS)
        broker.kill()

    def append(self, broker):
        with kafka_wire.Connection(broker.kafka_port()) as peer:
            return [peer.produce("t", number, [b"more"])[0] for number in range(PARTITIONS)]

    def closed(self, broker):
        """Partitions that refuse appends, as the pages and a producer see them."""
        pages = {page["partition"]: page["status"] for page in
                 broker.partition_pages() if page["topic"] == "t"}
        found = [number for number in range(PARTITIONS) if pages.get(number) != "ok"]
        self.assertEqual([number for number, error in enumerate(self.append(broker))
                          if error == STORAGE_ERROR], found)
        return found

    # --- When it does not start.

    def test_the_directory_cannot_be_made_or_is_of_another_broker(self):
        broker = self.made()
        self.refused(broker, "belongs to broker 0", "--broker_id=0", flags=["--broker_id=7"])
        self.whole(broker)
        broker.data = "/proc/ringtail"
        self.refused(broker, "cannot make the data directory /proc/ringtail")

    def test_addresses_and_ports(self):
        broker = self.made()
        self.refused(broker, "is reachable from outside, and there is no authentication yet",
                     "--allow_unauthenticated", flags=["--listen=0.0.0.0"], rc=2)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.refused(broker, f"bind 127.0.0.1:{port}: Address already in use",
                         flags=[f"--kafka_port={port}"])
        self.refused(broker, "its ports", "overlap those of",
                     flags=["--kafka_port=9092", "--native_port=9093"], rc=2)
        self.whole(broker)

    def test_memlock(self):
        broker = self.made()
        command = [each for each in broker.command() if not each.startswith("--ports_file")]
        command[1] = "--data_dir=/tmp/ringtail-of-nobody"
        if os.geteuid() != 0:
            self.skipTest("only root can become a user whose memory is limited")
        done = harness.execute(["prlimit", "--memlock=0:0", "setpriv", "--reuid=65534",
                                "--clear-groups", *command])
        shutil.rmtree("/tmp/ringtail-of-nobody", ignore_errors=True)
        if done.rc == 127:
            self.skipTest(f"no other user here: {done.text}")  # in a sandbox
        self.assertEqual(done.rc, 1, done.text)
        self.assertIn("io_uring: Cannot allocate memory", done.text)
        self.assertIn("raise the memlock limit", done.text)

    def test_the_catalog_is_damaged(self):
        broker = self.made()
        path = os.path.join(broker.data, "catalog")
        flip(path, 30)
        self.refused(broker, "the catalog file is damaged", "restore `catalog` from a copy")
        # Without it: no topics, and their directories stay; with the copy they are there again.
        os.unlink(path)
        broker.start()
        self.assertEqual(broker.ringtail("topic", "list").split(), [])
        broker.kill()
        self.put_back(broker, "catalog")
        self.whole(broker)

    def test_the_manifest_is_missing_or_damaged(self):
        for damage in (os.unlink, lambda path: flip(path, 20)):
            broker = self.made()
            path = os.path.join(broker.data, "journal/MANIFEST")
            damage(path)
            self.refused(broker, "journal/MANIFEST", "put")
            self.put_back(broker, "journal/MANIFEST")
            self.whole(broker)

    def test_a_damaged_manifest_without_a_copy(self):
        broker = self.made()
        path = os.path.join(broker.data, "journal/MANIFEST")
        flip(path, 20)
        self.refused(broker, "journal/MANIFEST", flags=["--accept_journal_loss"])
        os.unlink(path)  # as the runbook says
        broker.flags = [*SMALL, "--accept_journal_loss"]
        broker.start()
        self.assertEqual(golden.listing(broker).keys(), self.listing.keys())

    def test_a_journal_is_gone(self):
        broker = self.made()
        shutil.rmtree(os.path.join(broker.data, "journal/core-0001"))
        self.refused(broker, "journal/core-0001 has no checkpoint of run 1",
                     "--accept_journal_loss")
        self.put_back(broker, "journal")
        self.whole(broker)

    def test_a_journal_is_gone_for_good(self):
        broker = self.made()
        shutil.rmtree(os.path.join(broker.data, "journal/core-0001"))
        broker.flags = [*SMALL, "--accept_journal_loss"]
        broker.start()
        self.assertNotEqual(self.closed(broker), [])
        self.assertIn("closed for appends", broker.log())
        self.assertEqual(broker.stop(), 0)

    def test_files_of_another_journal(self):
        broker, other = self.made(), harness.Broker(harness.scratch("other"), 2, SMALL).start()
        self.addCleanup(other.kill)
        other.kill()
        name = "journal/core-0000/0.journal"
        shutil.copy(os.path.join(other.data, name), os.path.join(broker.data, name))
        self.refused(broker, name, "belongs to another data directory")
        self.put_back(broker, name)
        self.whole(broker)

    def test_an_entry_of_a_later_version(self):
        broker = self.made()
        name = "journal/core-0000/0.journal"
        with open(os.path.join(broker.data, name), "r+b") as file:
            data = bytearray(file.read())
            frame = [one["position"] for one in rows(tool("journal", "--core", "0", "--json",
                                                          broker.data)) if one.get("entries")][-1]
            table = frame + struct.unpack_from("<I", data, frame + 52)[0]
            entries = struct.unpack_from("<I", data, frame + 44)[0]
            data[table + 20] = 9  # the type of the first entry
            struct.pack_into("<I", data, frame + 4, kafka_wire.crc32c(
                bytes(data[frame + 8:frame + 64] + data[table:table + 72 * entries])))
            file.seek(0)
            file.write(data)
        self.refused(broker, "an entry of type 9, which this version does not know",
                     "start the version that wrote it")
        self.put_back(broker, name)
        self.whole(broker)

    # --- When something is wrong.

    def opens_by_itself(self, broker, partition):
        """What was closed as files were missing is looked at again once they are back."""
        broker.start()
        self.assertEqual(self.closed(broker), [])
        name = f"t-{partition}"
        self.assertEqual(golden.listing(broker)[name]["batches"][:-1], self.listing[name]["batches"])
        broker.kill()

    def test_a_copy_of_a_partition_lies_beside_it(self):
        for clean in (False, True):
            broker = self.made(clean)
            twin = os.path.join(broker.data, "copy-0")
            shutil.copytree(os.path.join(broker.data, "t-0"), twin)
            broker.start()
            self.assertEqual(self.closed(broker), [0])
            self.assertIn("are of the same topic id", broker.log())
            broker.kill()
            shutil.rmtree(twin)
            broker.start()
            self.assertEqual(self.closed(broker), [])
            self.assertEqual(golden.listing(broker)["t-0"]["batches"][:-1],
                             self.listing["t-0"]["batches"])
            broker.kill()

    def test_the_directory_of_a_partition_is_missing(self):
        for clean in (False, True):
            for restored in (True, False):
                with self.subTest(clean=clean, restored=restored):
                    self.directory_missing(self.made(clean), restored)

    def directory_missing(self, broker, restored):
        shutil.rmtree(os.path.join(broker.data, "t-1"))
        for _ in range(2):
            broker.start()
            self.assertEqual(self.closed(broker), [1])
            self.assertIn("its directory is missing", broker.log())
            broker.kill()
        if restored:
            self.put_back(broker, "t-1")
            self.opens_by_itself(broker, 1)
            return
        broker.start()
        broker.ringtail("topic", "delete", "t")
        broker.create_topic("t", PARTITIONS)
        self.assertEqual(self.closed(broker), [])
        broker.kill()
        broker.start()
        self.assertEqual(self.closed(broker), [])
        broker.kill()

    def test_a_batch_below_the_proven_end_is_damaged(self):
        broker = self.made(clean=True)
        segment = max(glob.glob(broker.data + "/t-2/*.log"))
        last = [one for one in rows(tool("dump", "--json", segment)) if "position" in one][-1]
        flip(segment, last["position"] + 16)  # its magic
        broker.start()
        self.assertEqual(self.closed(broker), [2])
        self.assertIn("t-2", broker.log())
        self.assertEqual(broker.stop(), 0)
        verified = tool("verify", broker.data)
        self.assertEqual(verified.rc, 1)
        self.assertIn(f"bytes {last['position']} to", verified.text)
        self.put_back(broker, "t-2")
        broker.start()
        self.assertEqual(self.closed(broker), [])

    def test_indexes_and_epochs_are_made_again(self):
        broker = self.made(clean=True)
        path = broker.segment("t", 0).replace(".log", ".index")
        flip(path, 7)  # of an entry's position
        verified = tool("verify", broker.data)
        self.assertEqual((verified.rc, path in verified.text), (1, True), verified.text)
        os.unlink(path)
        os.unlink(os.path.join(broker.data, "t-0/leader-epoch-checkpoint"))
        self.whole(broker)
        self.assertEqual(tool("verify", broker.data).rc, 0)


if __name__ == "__main__":
    harness.main()
