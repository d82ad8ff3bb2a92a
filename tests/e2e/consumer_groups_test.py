#!/usr/bin/env python3
"""Consumer groups of KIP-848, by their heartbeats: Debian's clients are too old for them."""

import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import kafka_wire  # noqa: E402

PARTITIONS = 6
UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH, INVALID_REGULAR_EXPRESSION = 25, 110, 128


class Member:
    """A client that does as KIP-848 says: gives up first, tells, and then takes what is new."""

    def __init__(self, broker, name, group="g", topics=("t",), regex=None, instance=None):
        self.broker, self.name, self.group, self.instance = broker, name, group, instance
        self.topics, self.regex = topics, regex
        self.epoch = 0
        self.owned = {}
        self.assigned = {}

    def send(self, **fields):
        with kafka_wire.Connection(self.broker.kafka_port()) as connection:
            return kafka_wire.parse_consumer_heartbeat(connection.call(kafka_wire.consumer_heartbeat(
                self.group, self.name, self.epoch, instance=self.instance, **fields)))

    def beat(self):
        """One heartbeat; its error."""
        joins = dict(topics=self.topics, regex=self.regex, rebalance_timeout_ms=60000) if self.epoch == 0 else {}
        reply = self.send(owned=self.owned, **joins)
        if reply["error"] in (UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH):
            self.epoch, self.owned = 0, {}
        elif reply["error"] == 0:
            self.epoch = reply["epoch"]
            if reply["assignment"] is not None:
                self.assigned = reply["assignment"]
                kept = {topic: [each for each in partitions if each in self.owned.get(topic, [])]
                        for topic, partitions in self.assigned.items()}
                gives_up = sum(map(len, kept.values())) < sum(map(len, self.owned.values()))
                self.owned = kept if gives_up else self.assigned
        return reply["error"]

    def count(self):
        return sum(map(len, self.owned.values()))

    def leave(self, epoch=-1):
        self.epoch = epoch
        reply = self.send()
        self.epoch, self.owned = 0, {}
        return reply["error"]


def settle(members, partitions=PARTITIONS):
    """Heartbeats until all are in one epoch, have what they are assigned, and each partition has one owner."""
    def settled():
        for member in members:
            member.beat()
        owned = [(topic, each) for member in members for topic, all_of in member.owned.items() for each in all_of]
        return (len({member.epoch for member in members}) == 1 and len(owned) == len(set(owned)) == partitions and
                all(member.owned == member.assigned for member in members))
    harness.wait_for(settled, "every partition has an owner")


class ConsumerGroupsTest(unittest.TestCase):

    def setUp(self):
        self.broker = harness.Broker(harness.scratch("consumer_groups"), 2,
                                     ["--consumer_group_session_timeout_ms=3000"]).start()
        self.addCleanup(self.broker.kill)
        self.broker.create_topic("t", PARTITIONS)
        with kafka_wire.Connection(self.broker.kafka_port()) as connection:
            connection.call(kafka_wire.find_coordinator("g"))  # makes __consumer_offsets

    def describe(self, group="g"):
        return json.loads(self.broker.ringtail("group", "describe", group, "--json"))

    def test_members_share_the_partitions(self):
        one, two = Member(self.broker, "one"), Member(self.broker, "two")
        settle([one])
        settle([one, two])
        self.assertEqual((one.count(), two.count()), (3, 3))
        self.assertEqual(one.leave(), 0)
        settle([two])

    def test_a_member_that_dies_is_missed(self):
        one, two = Member(self.broker, "one"), Member(self.broker, "two")
        settle([one, two])
        settle([two])  # waits for the session of the other
        self.assertEqual(two.count(), PARTITIONS)

    def test_a_killed_broker_forgets_nothing(self):
        one, two = Member(self.broker, "one"), Member(self.broker, "two", instance="two")
        settle([one, two])
        before = self.describe()
        self.broker.kill()
        self.broker.start()
        harness.wait_for(lambda: self.describe()["state"] == "Stable", "the group is read")
        self.assertEqual(self.describe(), before)
        epoch = one.epoch
        self.assertEqual((one.beat(), two.beat()), (0, 0))
        self.assertEqual(one.epoch, epoch)

    def test_expressions_follow_the_topics(self):
        one = Member(self.broker, "one", topics=None, regex="orders-.*")
        self.assertEqual(one.beat(), 0)
        self.broker.create_topic("orders-eu", 2)
        settle([one], 2)
        self.broker.create_topic("orders-us", 1)
        settle([one], 3)
        self.assertEqual(Member(self.broker, "two", topics=None, regex="(").beat(), INVALID_REGULAR_EXPRESSION)

    def test_new_partitions_are_assigned(self):
        one = Member(self.broker, "one")
        settle([one])
        self.broker.ringtail("topic", "alter", "t", "--partitions", "8")
        settle([one], 8)

    def test_the_command_line(self):
        one = Member(self.broker, "one")
        settle([one])
        listed = self.broker.ringtail("group", "list").split()
        self.assertEqual(listed, [b"g", b"Stable", b"consumer"])
        found = self.describe()
        self.assertEqual((found["type"], found["protocol"], found["epoch"]), ("consumer", "uniform", one.epoch))
        self.assertEqual(found["members"][0]["epoch"], one.epoch)
        self.assertEqual(len(found["members"][0]["partitions"]), PARTITIONS)
        self.assertIn("has members", self.broker.try_ringtail("group", "delete", "g").text)
        page = self.broker.page("/v1/groups")["groups"][0]
        self.assertEqual((page["group"], page["type"], page["members"]), ("g", "consumer", 1))
        one.leave()
        self.broker.ringtail("group", "reset-offsets", "g", "t", "--to", "beginning")
        self.assertEqual(len(self.describe()["offsets"]), PARTITIONS)
        self.broker.ringtail("group", "delete", "g")
        self.assertEqual(self.broker.ringtail("group", "list"), b"")


if __name__ == "__main__":
    harness.main()
