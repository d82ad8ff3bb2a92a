"""Groups of confluent-kafka-python: members, and what its AdminClient says of groups."""

import confluent_kafka

DEADLINE_S = 60


class Member:
    def __init__(self, request):
        config = {"bootstrap.servers": request["brokers"], "group.id": request["group"],
                  "enable.auto.commit": False, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 50,
                  "check.crcs": True, "group.protocol": request["protocol"]}
        if request["instance_id"]:
            config["group.instance.id"] = request["instance_id"]
        if request["protocol"] == "classic":
            config["partition.assignment.strategy"] = request["assignor"]
            config["session.timeout.ms"] = request["session_timeout_ms"]
            config["heartbeat.interval.ms"] = 300
        self._topic, self._owned, self._revoked = request["topic"], set(), []
        self._consumer = confluent_kafka.Consumer(config)
        self._consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke,
                                 on_lost=self._on_revoke)

    def _on_assign(self, _, partitions):
        self._owned |= {one.partition for one in partitions}

    def _on_revoke(self, _, partitions):
        self._owned -= {one.partition for one in partitions}
        self._revoked += [one.partition for one in partitions]

    def poll(self, ms):
        messages = []
        message = self._consumer.poll(ms / 1000)
        while message is not None:
            if not message.error():
                messages.append(message)
            elif message.error().code() > 0:  # below are the library's own: it connects again
                raise confluent_kafka.KafkaException(message.error())
            message = self._consumer.poll(0)
        revoked, self._revoked = self._revoked, []
        return messages, sorted(self._owned), revoked

    def commit(self, offsets):
        self._consumer.commit(offsets=partitions_of(self._topic, offsets), asynchronous=False)

    def close(self):
        self._consumer.close()


def partitions_of(topic, offsets):
    return [confluent_kafka.TopicPartition(topic, partition, offset) for partition, offset in offsets]


def _result(futures):
    [future] = futures.values()
    return future.result(DEADLINE_S)


def list_groups(client):
    return [one.group_id for one in client.list_consumer_groups().result(DEADLINE_S).valid]


def describe(client, group):
    """The group's state as Kafka spells it, and the partitions of each member."""
    found = _result(client.describe_consumer_groups([group]))
    state = "".join(word.capitalize() for word in found.state.name.split("_"))
    return state, [[one.partition for one in member.assignment.topic_partitions] for member in found.members]


def offsets(client, group):
    return _result(client.list_consumer_group_offsets(
        [confluent_kafka.ConsumerGroupTopicPartitions(group)])).topic_partitions


def set_offsets(client, group, partitions):
    wanted = confluent_kafka.ConsumerGroupTopicPartitions(group, partitions)
    for one in _result(client.alter_consumer_group_offsets([wanted])).topic_partitions:
        if one.error:
            raise confluent_kafka.KafkaException(one.error)


def delete(client, group):
    _result(client.delete_consumer_groups([group]))
