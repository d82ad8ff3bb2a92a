#!/usr/bin/env python3
"""What was acknowledged, after kill -9 under load and after a file system was shut down without
flushing its log (what a power cut leaves): every acknowledged batch is compared, byte by byte.

A kill loses no page cache, so it proves nothing about the journal; the forced shutdown does, and
the same with page_cache durability must lose something, or this test is broken.

POWER_CUT_ROUNDS, KILL_ROUNDS: how often (tools/dev soak).
"""

import ctypes
import fcntl
import functools
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import kafka_wire  # noqa: E402

os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"  # mkfs, losetup
PARTITIONS = 4
# Small, so that a round laps the journal.
JOURNAL = ["--journal_file_bytes=1MiB", "--journal_bytes_max=4MiB", "--journal_sync_age_ms=300"]
SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN: _IOR('X', 125, __u32)
NO_LOG_FLUSH = 2
UMOUNT_DETACH = 2
CLONE_NEWNS = 0x20000
ROUND_BYTES = 512 << 20  # of a device, for each round
LARGE_BYTES_MAX = 80 << 20  # of a producer's larger batches in a round; then it goes on with small ones
SMALL_BYTES = 4096


def batches(seed):
    """Of all sizes, up to what is synced in place instead of journaled."""
    rng = random.Random(seed)
    return [kafka_wire.batch([rng.randbytes(size)])
            for size in (10, 50, 200, 1000, 3000, 9000, 20_000, 60_000, 200_000, 700_000)]


BATCHES = batches(7)


class Load:
    """Producers, one connection each, that keep what was acknowledged until the broker is gone."""

    def __init__(self, broker, acked, seed):
        self.acked = acked  # {(partition, base offset): batch}
        self.port = broker.kafka_port()
        self.stop = False
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(number, seed), daemon=True)
                        for number in range(PARTITIONS)]
        for thread in self.threads:
            thread.start()

    def run(self, number, seed):
        rng = random.Random(seed * 100 + number)
        large_left = LARGE_BYTES_MAX
        small = [each for each in BATCHES if len(each) <= SMALL_BYTES]
        try:
            with kafka_wire.Connection(self.port, timeout=10) as peer:
                while not self.stop:
                    sent = rng.choice(BATCHES if large_left > 0 else small)
                    if len(sent) > SMALL_BYTES:
                        large_left -= len(sent)
                    error, offset = peer.produce_batch("t", number, sent)
                    if error == 0:
                        with self.lock:
                            self.acked[number, offset] = sent
        except OSError:
            pass  # the broker is gone, or the disk is

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join(15)


def missing(broker, acked):
    """Acknowledged batches that are not there, or not as they were sent."""
    lost = []
    for partition in range(PARTITIONS):
        found = {}
        log = kafka_wire.fetch_all(broker.kafka_port(), "t", partition)
        for start, _, batch in kafka_wire.walk(log):
            found[start] = batch
        for (number, offset), sent in acked.items():
            # What the broker writes into a batch, its offset and epoch, is not under the CRC.
            if number == partition and found.get(offset, b"")[17:] != sent[17:]:
                lost.append((number, offset))
    return lost


class KillTest(unittest.TestCase):
    def test_kill_under_load_loses_nothing_acknowledged(self):
        rng = random.Random(1)
        acked = {}
        root = harness.scratch("kill")
        broker = harness.Broker(root, 2, JOURNAL)
        self.addCleanup(broker.kill)
        broker.start()
        broker.create_topic("t", PARTITIONS)
        for number in range(int(os.environ.get("KILL_ROUNDS", "5"))):
            load = Load(broker, acked, number)
            time.sleep(rng.uniform(0.2, 0.8))
            broker.kill()
            load.end()
            if rng.random() < 0.5:
                # Again while it recovers.
                process = subprocess.Popen(broker.command(), stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL)
                time.sleep(rng.uniform(0.0, 0.12))
                process.kill()
                process.wait()
            broker.cores = rng.randint(1, 4)
            broker.start()
            self.assertEqual(missing(broker, acked), [])
        self.assertGreater(len(acked), 50)


@functools.cache
def own_mount_namespace():
    """So that no sandbox of another test gets a copy of a mount, which would keep a file system
    that was shut down alive behind its umount: the next mount would be the same dead one."""
    if ctypes.CDLL(None).unshare(CLONE_NEWNS) != 0:
        return  # nor may it mount, then: the test is skipped
    subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)


class Device:
    """A file system on a loop device of its own."""

    def __init__(self, kind, rounds):
        own_mount_namespace()
        self.root = harness.scratch("device")
        self.image = os.path.join(self.root, "image")
        self.mount_point = os.path.join(self.root, "mnt")
        os.mkdir(self.mount_point)
        with open(self.image, "wb") as file:
            file.truncate((rounds + 1) * ROUND_BYTES)
        options = {"ext4": ["-q", "-F"], "xfs": ["-q", "-f"]}[kind]
        subprocess.run(["mkfs." + kind, *options, self.image], check=True, capture_output=True)
        self.loop = subprocess.run(["losetup", "--find", "--show", self.image], check=True,
                                   capture_output=True, text=True).stdout.strip()
        self.mounted = False
        self.mount()

    def mount(self):
        subprocess.run(["mount", self.loop, self.mount_point], check=True, capture_output=True)
        self.mounted = True

    def unmount(self):
        harness.wait_for(lambda: subprocess.run(["umount", self.mount_point],
                                                capture_output=True, check=False).returncode == 0,
                         "the file system is no longer in use")
        self.mounted = False

    def shut_down(self):
        fd = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def close(self):
        if self.mounted:
            ctypes.CDLL(None).umount2(self.mount_point.encode(), UMOUNT_DETACH)
        subprocess.run(["losetup", "-d", self.loop], check=False, capture_output=True)
        shutil.rmtree(self.root, ignore_errors=True)


def device(test, kind, rounds):
    if os.geteuid() != 0 or shutil.which("losetup") is None or shutil.which("mkfs." + kind) is None:
        test.skipTest(f"making a file system of its own takes root, losetup and mkfs.{kind}")
    try:
        made = Device(kind, rounds)
    except subprocess.CalledProcessError as error:
        test.skipTest(f"no {kind} on a loop device here: {error.stderr}")
    test.addCleanup(made.close)
    return made


class PowerCutTest(unittest.TestCase):
    def rounds(self, kind, durability, count):
        """How many acknowledged batches were lost."""
        disk = device(self, kind, count)
        acked = {}
        broker = harness.Broker(disk.mount_point, 2, [*JOURNAL, "--durability=" + durability])
        self.addCleanup(broker.kill)
        broker.start()
        broker.create_topic("t", PARTITIONS)
        lost = 0
        for number in range(count):
            load = Load(broker, acked, number)
            time.sleep(0.7)
            disk.shut_down()
            broker.kill()
            load.end()
            disk.unmount()
            disk.mount()
            broker.start()
            gone = missing(broker, acked)
            lost += len(gone)
            for key in gone:
                del acked[key]
        self.assertGreater(len(acked) + lost, 20)
        broker.kill()
        disk.unmount()
        return lost

    def test_ext4(self):
        self.assertEqual(self.rounds("ext4", "journal", int(os.environ.get("POWER_CUT_ROUNDS", "3"))), 0)

    def test_xfs(self):
        self.assertEqual(self.rounds("xfs", "journal", int(os.environ.get("POWER_CUT_ROUNDS", "3"))), 0)

    def test_page_cache_loses_something(self):
        self.assertGreater(self.rounds("ext4", "page_cache", 1), 0, "this test cuts nothing")


if __name__ == "__main__":
    harness.main()
