#!/usr/bin/env python3
"""A file system that fills up, for real: appends are refused with the right error while reads go on,
and go on by themselves when there is space again; a start on a full disk loses nothing."""

import errno
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import disks  # noqa: E402
import harness  # noqa: E402
import kafka_wire  # noqa: E402
from load import SMALL_JOURNAL, Load  # noqa: E402

STORAGE_ERROR = 56
PARTITIONS = 2
REFUSALS = 30  # in a row, of batches of all sizes: it is full
DEVICE_BYTES = 320 << 20  # XFS takes no smaller ones
LEFT_BYTES = 40 << 20  # for the broker; something else has the rest


class FullDiskTest(unittest.TestCase):
    def start(self, kind, percent_for_root=0):
        self.disk = disks.device(self, kind, DEVICE_BYTES)
        if percent_for_root > 0:
            subprocess.run(["tune2fs", "-m", str(percent_for_root), self.disk.loop], check=True,
                           capture_output=True)
        self.broker = harness.Broker(self.disk.mount_point, 2,
                                     SMALL_JOURNAL)
        self.addCleanup(self.broker.kill)
        self.broker.start()
        for topic in ("t", "victim"):
            self.broker.create_topic(topic, PARTITIONS, segment_bytes=1 << 20, retention_ms=-1)
        self.filler = os.path.join(self.disk.mount_point, "filler")
        free = os.statvfs(self.disk.mount_point)
        with open(self.filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_bsize - LEFT_BYTES)
        self.loads = []

    def load(self, topic="t", bytes_max=250_000):
        load = Load(self.broker, topic, PARTITIONS, seed=len(self.loads), bytes_max=bytes_max)
        self.addCleanup(load.end)
        self.loads.append(load)
        return load

    def fill(self):
        load = self.load()
        harness.wait_for(lambda: min(load.refusals) > REFUSALS, "the disk is full")
        self.assertEqual(set(load.errors), {STORAGE_ERROR})
        return load

    def goes_on(self):
        """Small batches, so that no partition takes all the space before another looks for it."""
        load = self.load(bytes_max=1000)
        harness.wait_for(lambda: min(load.acks) > 2, "appends go on")
        load.end()

    def all_there(self):
        for load in self.loads:
            self.assertEqual(load.missing(self.broker), [])

    def fill_up(self):
        """What partitions had been given ahead is given back when the disk is low: once more, then."""
        for _ in range(20):
            self.fill().end()
            native = self.broker.try_ringtail("--timeout", "1", "produce", "t",
                                              stdin=os.urandom(200_000).hex().encode())
            if native.rc != 0:
                return native
        self.fail("there is always some space")

    def producers_are_told(self):
        native = self.fill_up()
        self.assertIn("DISK_FULL", native.text)
        kafka = harness.execute(["kcat", "-b", self.broker.kafka(), "-P", "-t", "t", "-p", "0",
                                 "-X", "message.timeout.ms=1000"],
                                stdin=os.urandom(200_000).hex().encode())
        self.assertNotEqual(kafka.rc, 0, kafka.text)

    def trim(self, topic):
        """DeleteRecords of all that is there."""
        with kafka_wire.Connection(self.broker.kafka_port()) as peer:
            for number in range(PARTITIONS):
                body = peer.call(kafka_wire.delete_records(topic, number, -1))
                self.assertEqual(body[-2:], b"\0\0")

    def fill_and_go_on(self, kind):
        self.start(kind)
        victim = self.load("victim")
        harness.wait_for(lambda: sum(len(each) for each in list(victim.acked.values())) > 10 << 20,
                         "some of it is the victim's")
        victim.end()
        self.producers_are_told()
        self.all_there()
        self.assertEqual(self.broker.http("/healthz")[0], 200)
        self.broker.ringtail("topic", "delete", "victim")
        self.loads.remove(victim)
        self.goes_on()
        self.fill().end()
        self.all_there()
        self.trim("t")
        self.loads = []
        self.goes_on()
        return self.fill()

    def start_when_full(self):
        """The reserve is for this: it serves, and closes no partition, be it that appends wait."""
        self.broker.start()
        for page in self.broker.partition_pages():
            if page["status"] != "ok":
                self.assertIn("the disk has", page["reason"])

    def start_without_reserve(self):
        """Others have taken that, too: it says so, or closes what it has no space to write again."""
        with open(self.filler + "2", "wb") as file:
            for piece in (1 << 20, 4096):
                try:
                    while True:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, piece)
                except OSError as error:
                    self.assertEqual(error.errno, errno.ENOSPC)
        try:
            self.broker.start()
        except AssertionError:
            self.assertIn("No space left on device", self.broker.log().splitlines()[-1])
        self.broker.kill()
        os.unlink(self.filler)
        os.unlink(self.filler + "2")

    def killed_when_full(self, load):
        self.broker.kill()
        load.end()
        self.start_when_full()
        self.all_there()
        again = self.load()
        self.broker.kill()
        again.end()
        self.start_when_full()
        self.all_there()
        self.broker.kill()
        self.start_without_reserve()
        self.start_when_full()
        self.all_there()
        self.goes_on()
        self.all_there()
        self.assertEqual(self.broker.stop(), 0)
        verified = harness.execute([harness.RINGTAIL, "log", "verify", self.broker.data])
        self.assertEqual(verified.rc, 0, verified.text)

    def test_ext4(self):
        self.killed_when_full(self.fill_and_go_on("ext4"))

    def test_xfs(self):
        self.killed_when_full(self.fill_and_go_on("xfs"))

    def test_what_the_file_system_keeps_for_root_is_left_to_it(self):
        self.start("ext4", percent_for_root=20)
        self.fill().end()
        free = os.statvfs(self.disk.mount_point)
        self.assertGreater((free.f_bfree - free.f_bavail) * free.f_frsize, DEVICE_BYTES // 8)
        self.all_there()


if __name__ == "__main__":
    harness.main()
