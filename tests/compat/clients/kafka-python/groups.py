"""Groups of kafka-python: members, and what its admin client says of groups."""

import kafka
import kafka.errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor

import loop

ASSIGNORS = {"range": RangePartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}


class Member(kafka.ConsumerRebalanceListener):
    def __init__(self, request):
        if request["protocol"] != "classic":
            raise loop.Unsupported("a group protocol other than the classic one")
        self._topic, self._owned, self._revoked = request["topic"], set(), []
        self._consumer = kafka.KafkaConsumer(
            bootstrap_servers=request["brokers"], group_id=request["group"], enable_auto_commit=False,
            auto_offset_reset="earliest", fetch_max_wait_ms=50, heartbeat_interval_ms=300,
            session_timeout_ms=request["session_timeout_ms"], reconnect_backoff_max_ms=500,
            group_instance_id=request["instance_id"],
            partition_assignment_strategy=(ASSIGNORS[request["assignor"]],))
        self._consumer.subscribe([self._topic], listener=self)

    def on_partitions_assigned(self, assigned):
        self._owned |= {one.partition for one in assigned}

    def on_partitions_revoked(self, revoked):
        self._owned -= {one.partition for one in revoked}
        self._revoked += [one.partition for one in revoked]

    def poll(self, ms):
        batches = self._consumer.poll(ms)
        revoked, self._revoked = self._revoked, []
        return [one for batch in batches.values() for one in batch], sorted(self._owned), revoked

    def commit(self, offsets):
        self._consumer.commit(offsets_of(self._topic, offsets))

    def close(self):
        self._consumer.close(autocommit=False)


def offsets_of(topic, offsets):
    return {kafka.TopicPartition(topic, partition): kafka.OffsetAndMetadata(offset, "", -1)
            for partition, offset in offsets}


def list_groups(client):
    return [one["group_id"] for one in client.list_groups()]


def describe(client, group):
    """The group's state, and the partitions of each member."""
    found = client.describe_groups([group])[group]
    if found["error"]:
        raise loop.ClientError(None, found["error"])
    return found["group_state"], [
        [partition for topic in member["member_assignment"]["assigned_partitions"]
         for partition in topic["partitions"]] for member in found["members"]]


def offsets(client, group, topic):
    found = client.list_group_offsets(group)[group]
    return [[part.partition, one.offset, None] for part, one in found.items() if part.topic == topic]


def _check(errors):
    for error in errors.values():
        if error is not kafka.errors.NoError:
            raise error()


def set_offsets(client, group, wanted):
    _check(client.alter_group_offsets(group, wanted))


def delete_offsets(client, group, topic, partitions):
    _check(client.delete_group_offsets(group, [kafka.TopicPartition(topic, one) for one in partitions]))


def delete(client, group):
    outcome = client.delete_groups([group])[group]  # "OK", or the name of an error
    if outcome != "OK":
        raise getattr(kafka.errors, outcome)()
