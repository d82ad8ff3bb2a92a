#!/usr/bin/env python3
"""The command line against the broker: what each command prints, and what it says when it cannot."""

import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402


class CliTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = harness.Broker(harness.scratch("cli"), 2)
        cls.addClassCleanup(cls.broker.kill)
        cls.broker.start()

    def topic(self, partitions=1, records=()):
        """A topic of this case's own."""
        name = self._testMethodName.removeprefix("test_")[:60]
        self.broker.create_topic(name, partitions)
        if records:
            self.broker.ringtail("produce", name, stdin=harness.text(records))
        return name

    def run_json(self, *args):
        return json.loads(self.broker.ringtail(*args))

    def fails(self, *args, stdin=b"", saying):
        done = self.broker.try_ringtail(*args, stdin=stdin)
        self.assertNotEqual(done.rc, 0, done.text)
        for words in saying:
            self.assertIn(words, done.err.decode())

    def test_topics_are_created_listed_described_and_deleted(self):
        name = "lifecycle"
        created = self.broker.ringtail("topic", "create", name, "--partitions", "3",
                                       "--config", "segment.bytes=1048576").decode()
        self.assertIn("created topic lifecycle", created)
        self.assertRegex(self.broker.ringtail("topic", "list").decode(), r"lifecycle +3 partitions")
        found = self.run_json("topic", "describe", name, "--json")
        self.assertEqual([one["leader"] for one in found["partitions"]].count(-1), 0)
        self.assertEqual(len(found["partitions"]), 3)
        self.assertEqual(found["configs"]["segment.bytes"], {"value": "1048576", "is_default": False})
        self.assertTrue(found["configs"]["max.message.bytes"]["is_default"])
        self.assertIn("segment.bytes", self.broker.ringtail("topic", "describe", name).decode())
        self.assertIn("deleted topic lifecycle", self.broker.ringtail("topic", "delete", name).decode())
        names = [one["name"] for one in self.run_json("topic", "list", "--json")]
        self.assertNotIn(name, names)

    def test_a_topic_that_exists_is_not_made_again(self):
        name = self.topic()
        self.fails("topic", "create", name, saying=["TOPIC_EXISTS", "ringtail topic describe " + name])

    def test_a_topic_that_does_not_exist_is_told_with_the_next_step(self):
        for command in (["produce", "absent"], ["consume", "absent"], ["topic", "describe", "absent"],
                        ["topic", "delete", "absent"], ["bench", "consume", "absent"]):
            # It is told at once, not when the time is up.
            self.fails("--timeout", "1000", *command, stdin=b"x\n", saying=["absent"])
        self.fails("produce", "absent", saying=["ringtail topic create absent"])

    def test_an_unknown_or_bad_config_names_what_is_known(self):
        self.fails("topic", "create", "bad", "--config", "no.such=1", saying=["no.such", "segment.bytes"])
        self.fails("topic", "create", "bad", "--config", "segment.bytes=x", saying=["segment.bytes", "integer"])

    def test_a_bad_name_is_refused(self):
        self.fails("topic", "create", "a/b", saying=["topic name"])

    def test_no_broker_at_the_address_is_told_with_the_next_step(self):
        done = harness.execute([harness.RINGTAIL, "-b", "127.0.0.1:1", "--timeout", "1", "topic", "list"])
        self.assertEqual(done.rc, 1)
        self.assertIn("127.0.0.1:1", done.text)

    def test_the_address_may_stand_in_the_environment(self):
        name = self.topic()
        out = harness.check([harness.RINGTAIL, "topic", "list"],
                            env={"RINGTAIL_BOOTSTRAP": self.broker.native()})
        self.assertIn(name, out.decode())

    def test_lines_go_there_and_come_back(self):
        records = harness.lines(10_000) + [b"", b" spaces ", "sch\u00f6n".encode()]
        name = self.topic(records=records)
        self.assertEqual(self.broker.ringtail("consume", name), harness.text(records))

    def test_a_file_is_produced(self):
        name = self.topic()
        path = os.path.join(self.broker.root, "lines.txt")
        with open(path, "wb") as file:
            file.write(b"first\nsecond, without an end")
        self.broker.ringtail("produce", name, path)
        self.assertEqual(self.broker.ringtail("consume", name), b"first\nsecond, without an end\n")

    def test_keys_headers_and_formats(self):
        name = self.topic()
        self.broker.ringtail("produce", name, "--key-separator", "=>", "-H", "host=web1",
                             stdin=b"alice=>hello\nbob=>hi=>there\n")
        self.assertEqual(self.broker.ringtail("consume", name), b"hello\nhi=>there\n")
        self.assertEqual(self.broker.ringtail("consume", name, "--format", "key-value"),
                         b"alice\thello\nbob\thi=>there\n")
        found = [json.loads(line) for line in
                 self.broker.ringtail("consume", name, "--format", "json").splitlines()]
        self.assertEqual([(one["offset"], one["key"], one["value"]) for one in found],
                         [(0, "alice", "hello"), (1, "bob", "hi=>there")])
        self.assertEqual(found[0]["headers"], [{"name": "host", "value": "web1"}])
        self.fails("produce", name, "-k", "=>", stdin=b"no separator\n", saying=["line 1"])
        self.fails("consume", name, "--format", "xml", saying=["value, key-value or json"])

    def test_a_key_always_goes_to_the_same_partition(self):
        name = self.topic(partitions=4)
        for _ in range(3):
            self.broker.ringtail("produce", name, "-k", ":", stdin=b"a:1\nb:1\nc:1\nd:1\ne:1\n")
        homes = {}
        for line in self.broker.ringtail("consume", name, "--format", "json").splitlines():
            record = json.loads(line)
            homes.setdefault(record["key"], set()).add(record["partition"])
        self.assertEqual([len(home) for home in homes.values()], [1] * 5)
        self.assertGreater(len(set.union(*homes.values())), 1)

    def test_consuming_from_beginning_end_and_an_offset(self):
        records = harness.lines(100)
        name = self.topic(records=records)

        def read(*args):
            return self.broker.ringtail("consume", name, *args).splitlines()
        self.assertEqual(read("--from", "beginning"), records)
        self.assertEqual(read("--from", "offset:97"), records[97:])
        self.assertEqual(read("--from", "end"), [])
        self.assertEqual(read("--count", "3"), records[:3])
        self.assertEqual(read("--from", "time:0", "--count", "1"), records[:1])
        self.fails("consume", name, "--from", "middle", saying=["offset:N"])

    def test_following_sees_what_is_produced_later(self):
        name = self.topic()
        with subprocess.Popen([harness.RINGTAIL, "-b", self.broker.native(), "consume", name, "--follow",
                               "--count", "2"], stdout=subprocess.PIPE) as consumer:
            self.broker.ringtail("produce", name, stdin=b"one\n")
            self.assertEqual(consumer.stdout.readline(), b"one\n", "at once, not at the end")
            self.broker.ringtail("produce", name, stdin=b"two\n")
            self.assertEqual(consumer.communicate(timeout=harness.DEADLINE_S)[0], b"two\n")
            self.assertEqual(consumer.returncode, 0)

    def test_acks_and_batch_sizes(self):
        records = harness.lines(3000)
        for acks in ("all", "leader", "none"):
            for size in ("1024", "64KiB"):
                name = f"acks-{acks}-{size}"
                self.broker.create_topic(name)
                self.broker.ringtail("produce", name, "--acks", acks, "--batch-bytes", size,
                                     stdin=harness.text(records))
                found = self.broker.ringtail("consume", name, "--follow", "--count", str(len(records)))
                self.assertEqual(found, harness.text(records), name)
        self.fails("produce", "acks-all-1024", "--acks", "2", saying=["all"])

    def test_a_record_that_is_too_large_is_told(self):
        name = self.topic()
        self.fails("produce", name, stdin=b"x" * 3_000_000, saying=["line 1", "at most"])

    def test_bench_produce_and_consume(self):
        name = self.topic(partitions=2)
        sent = self.run_json("bench", "produce", name, "--records", "20000", "--record-bytes", "500", "--json")
        self.assertEqual((sent["records"], sent["failed"], sent["bytes"]), (20000, 0, 10_000_000))
        self.assertEqual(sent["latency_us"]["count"], 20000)
        for options in ([], ["--decode"]):
            got = self.run_json("bench", "consume", name, "--json", "--records", "20000", *options)
            self.assertEqual(got["records"], 20000)
            self.assertGreater(got["records_per_second"], 0)
        self.assertIn("20,000 records", self.broker.ringtail("bench", "consume", name).decode())

    def test_bench_latency_is_open_loop_at_its_rate(self):
        name = self.topic()
        found = self.run_json("bench", "latency", name, "--rate", "500", "--seconds", "1", "--json")
        self.assertEqual((found["records"], found["rate"], found["failed"]), (500, 500.0, 0))
        latency = found["latency_us"]
        points = [latency[name] for name in ("p50", "p90", "p99", "p99.9", "p99.99", "max")]
        self.assertEqual(points, sorted(points))
        self.assertGreater(points[0], 0)

    def test_top_shows_what_the_broker_does(self):
        broker = self.broker
        address = "127.0.0.1:%d" % broker.ports["admin"]
        broker.create_topic("watched")
        load = subprocess.Popen([harness.RINGTAIL, "-b", broker.native(), "bench", "produce", "watched",
                                 "--rate", "200", "--seconds", "60"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            shown = harness.wait_for(lambda: self.looks(address, "watched-0"), "the topic is in use")
        finally:
            load.kill()
            load.wait()
        for part in ("ringtail 0.", "busy %", "frames/s", "batches/write", "sendfile/s", "records/s"):
            self.assertIn(part, shown)

    @staticmethod
    def looks(address, wanted):
        shown = harness.check([harness.RINGTAIL, "top", "--admin", address, "--interval", "0.2",
                               "--count", "1"]).decode()
        return shown if wanted in shown else None

    def test_top_says_where_it_found_no_broker(self):
        done = harness.execute([harness.RINGTAIL, "top", "--admin", "127.0.0.1:1", "--count", "1"])
        self.assertEqual(done.rc, 1)
        self.assertIn("no answer from 127.0.0.1:1", done.text)
        done = harness.execute([harness.RINGTAIL, "top", "--admin", "nowhere"])
        self.assertIn("expected host:port", done.text)

    def test_help_teaches_by_example(self):
        for command in ([], ["topic", "create"], ["produce"], ["consume"], ["log", "dump"],
                        ["bench", "produce"], ["bench", "latency"], ["bench", "consume"]):
            text = harness.check([harness.RINGTAIL, *command, "--help"]).decode()
            self.assertRegex(text, r"Examples?:", command)
            self.assertIn("  ringtail ", text)

    def test_an_unknown_command_is_refused(self):
        done = harness.execute([harness.RINGTAIL, "prodcue", "t"])
        self.assertNotEqual(done.rc, 0)
        self.assertIn("--help", done.text)


class DumpTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = harness.Broker(harness.scratch("dump"))
        cls.addClassCleanup(cls.broker.kill)
        cls.broker.start()
        cls.broker.create_topic("t", 1, segment_bytes=65536)
        cls.records = harness.lines(5000, length=90)
        cls.broker.ringtail("produce", "t", "--batch-bytes", "8000", "--compression", "zstd",
                            stdin=harness.text(cls.records))
        cls.broker.create_topic("u")
        cls.broker.ringtail("produce", "u", "--batch-bytes", "8000", stdin=harness.text(cls.records))
        assert cls.broker.stop() == 0

    def files(self, topic, suffix):
        folder = os.path.join(self.broker.data, topic + "-0")
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(suffix))

    def test_every_batch_of_a_stopped_directory(self):
        out = harness.check([harness.RINGTAIL, "log", "dump", "--json", *self.files("u", ".log")])
        batches = [json.loads(line) for line in out.splitlines()]
        self.assertGreater(len(batches), 10)
        text = harness.check([harness.RINGTAIL, "log", "dump", *self.files("u", ".log")]).decode()
        self.assertIn("5,000 records", text)

    def test_every_record(self):
        out = harness.check([harness.RINGTAIL, "log", "dump", "--records", "--json",
                             *self.files("u", ".log")]).decode()
        for record in (self.records[0], self.records[-1]):
            self.assertIn(record.decode(), out)

    def test_indexes(self):
        for suffix in (".index", ".timeindex"):
            out = harness.check([harness.RINGTAIL, "log", "dump", *self.files("u", suffix)]).decode()
            self.assertRegex(out, r"[1-9]\d* entries")

    def test_several_segments(self):
        files = self.files("t", ".log")
        text = harness.check([harness.RINGTAIL, "log", "dump", *files]).decode()
        self.assertEqual(text.count(" batches, "), len(files))

    def test_damage_is_found_and_ends_with_1(self):
        path = os.path.join(self.broker.root, "0" * 20 + ".log")
        with open(self.files("u", ".log")[0], "rb") as file:
            data = bytearray(file.read())
        data[len(data) // 2] ^= 1
        with open(path, "wb") as file:
            file.write(data)
        done = harness.execute([harness.RINGTAIL, "log", "dump", path])
        self.assertEqual(done.rc, 1)
        self.assertRegex(done.text, "(?i)crc")


if __name__ == "__main__":
    harness.main()
