#!/usr/bin/env python3
"""Consumer groups with Debian's kcat: members come and go, offsets outlive the broker."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402

PARTITIONS = 6


class Member:
    """A kcat in a group; what it reads goes to a file, one record a line."""

    def __init__(self, broker, group, topic, *args):
        self.out = tempfile.NamedTemporaryFile(dir=os.environ.get("TEST_TMPDIR"))
        self.err = tempfile.NamedTemporaryFile(dir=os.environ.get("TEST_TMPDIR"))
        self.process = subprocess.Popen(
            ["kcat", "-b", broker.kafka(), "-u", "-f", "%p %s\n", "-X", "auto.offset.reset=earliest",
             "-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=200", *args, "-G", group, topic],
            stdout=self.out, stderr=self.err, stdin=subprocess.DEVNULL)

    def lines(self):
        with open(self.out.name, "rb") as file:
            return file.read().split(b"\n")[:-1]  # the last may not be whole yet

    def records(self):
        return [line.split(b" ", 1)[1] for line in self.lines()]

    def log(self):
        with open(self.err.name, encoding="utf-8", errors="replace") as file:
            return file.read()

    def partitions_assigned(self):
        """By what it says of its rebalances; None before the first."""
        assigned = None
        for line in self.log().splitlines():
            if "incremental assignment" in line:
                assigned = (assigned or 0) + line.count("[")
            elif "incremental revoke" in line:
                assigned -= line.count("[")
            elif "assigned:" in line:
                assigned = line.count("[")
        return assigned

    def stop(self):
        """As Ctrl-C: commits and leaves the group."""
        self.process.terminate()
        self.process.wait(harness.DEADLINE_S)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class GroupsTest(unittest.TestCase):

    def setUp(self):
        self.broker = harness.Broker(harness.scratch("groups"), 2,
                                     ["--group_initial_rebalance_delay_ms=100"]).start()
        self.addCleanup(self.broker.kill)
        self.broker.create_topic("t", PARTITIONS)

    def member(self, *args, group="g"):
        member = Member(self.broker, group, "t", *args)
        self.addCleanup(member.kill)
        return member

    def produce(self, records):
        harness.kcat(self.broker.kafka(), "-P", "-t", "t", "-X", "sticky.partitioning.linger.ms=0",
                     stdin=harness.text(records))

    def test_a_group_goes_on_where_it_was(self):
        first, second = harness.lines(1000), harness.lines(1000, seed=7)
        self.produce(first)
        reader = self.member()
        harness.wait_for(lambda: len(reader.records()) == 1000, "all records")
        self.assertEqual(sorted(reader.records()), sorted(first))
        reader.stop()
        for how in ("restart", "kill"):
            with self.subTest(how=how):
                if how == "restart":
                    self.broker.restart()
                else:
                    self.broker.kill()
                    self.broker.start()
                self.produce(second)
                reader = self.member()
                harness.wait_for(lambda: len(reader.records()) >= 1000, "the records after them")
                reader.stop()
                self.assertEqual(sorted(reader.records()), sorted(second))

    def test_members_share_the_partitions(self):
        one = self.member()
        harness.wait_for(lambda: one.partitions_assigned() == PARTITIONS, "one has them all")
        two = self.member()
        harness.wait_for(lambda: one.partitions_assigned() == two.partitions_assigned() == PARTITIONS // 2,
                         "both have half of them")
        records = harness.lines(2000)
        self.produce(records)
        harness.wait_for(lambda: len(one.records()) + len(two.records()) == len(records), "all records")
        self.assertEqual(sorted(one.records() + two.records()), sorted(records))
        two.stop()
        harness.wait_for(lambda: one.partitions_assigned() == PARTITIONS, "one has them all again")

    def test_a_member_that_dies_is_missed(self):
        one = self.member()
        two = self.member()
        harness.wait_for(lambda: one.partitions_assigned() == two.partitions_assigned() == PARTITIONS // 2,
                         "both have half of them")
        two.kill()
        harness.wait_for(lambda: one.partitions_assigned() == PARTITIONS, "its session has ended")

    def test_cooperative_members(self):
        args = ("-X", "partition.assignment.strategy=cooperative-sticky")
        one = self.member(*args)
        harness.wait_for(lambda: one.partitions_assigned() == PARTITIONS, "one has them all")
        two = self.member(*args)
        records = harness.lines(2000)
        harness.wait_for(lambda: one.partitions_assigned() == two.partitions_assigned() == PARTITIONS // 2,
                         "both have half of them")
        self.assertNotIn("% Group g rebalanced (", one.log(), "it gave up half, not all")
        self.produce(records)
        harness.wait_for(lambda: len(one.records()) + len(two.records()) >= len(records), "all records")
        self.assertEqual(sorted(set(one.records() + two.records())), sorted(records))

    def test_a_static_member_comes_back_without_a_rebalance(self):
        static = ("-X", "group.instance.id=two")
        one = self.member("-X", "group.instance.id=one")
        two = self.member(*static)
        harness.wait_for(lambda: one.partitions_assigned() == two.partitions_assigned() == PARTITIONS // 2,
                         "both have half of them")
        before = one.log()
        two.kill()
        two = self.member(*static)
        harness.wait_for(lambda: two.partitions_assigned() == PARTITIONS // 2, "it has its own again")
        self.assertEqual(one.log(), before)

    def test_the_command_line(self):
        broker = self.broker
        records = harness.lines(1000)
        self.produce(records)
        reader = self.member()
        harness.wait_for(lambda: len(reader.records()) == 1000, "all records")
        describe = lambda: json.loads(broker.ringtail("group", "describe", "g", "--json"))  # noqa: E731
        self.assertEqual(len(describe()["members"][0]["partitions"]), PARTITIONS)
        self.assertIn("has members", broker.try_ringtail("group", "delete", "g").text)
        reader.stop()
        self.assertEqual(broker.ringtail("group", "list").split(), [b"g", b"Empty", b"classic"])
        self.assertEqual(sum(each["lag"] for each in describe()["offsets"]), 0)
        broker.ringtail("group", "reset-offsets", "g", "t", "--to", "beginning")
        self.assertEqual(sum(each["lag"] for each in describe()["offsets"]), 1000)
        page = [group for group in broker.page("/v1/groups")["groups"] if group["group"] == "g"][0]
        self.assertEqual(sum(each["lag"] for each in page["offsets"]), 1000)
        lags = [float(line.split()[-1]) for line in broker.http("/metrics")[1].splitlines()
                if line.startswith('ringtail_group_lag{group="g"')]
        self.assertEqual(sum(lags), 1000)
        reader = self.member()
        harness.wait_for(lambda: len(reader.records()) == 1000, "all records once more")
        reader.stop()
        broker.ringtail("group", "delete", "g")
        self.assertEqual(broker.ringtail("group", "list"), b"")


if __name__ == "__main__":
    harness.main()
