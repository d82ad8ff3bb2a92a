"""Groups of aiokafka: members, and what its admin client says of groups."""

import aiokafka
import aiokafka.errors
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocol

import loop


class Member(aiokafka.ConsumerRebalanceListener):
    def __init__(self, request):
        if request["assignor"] != "range" or request["protocol"] != "classic":
            raise loop.Unsupported(f"assignor {request['assignor']}, protocol {request['protocol']}")
        self._topic, self._owned, self._revoked = request["topic"], set(), []
        self._consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=request["brokers"], group_id=request["group"], enable_auto_commit=False,
            auto_offset_reset="earliest", fetch_max_wait_ms=50, heartbeat_interval_ms=300,
            session_timeout_ms=request["session_timeout_ms"], group_instance_id=request["instance_id"],
            partition_assignment_strategy=(RangePartitionAssignor,))
        self._consumer.subscribe([self._topic], listener=self)

    async def start(self):
        await self._consumer.start()

    def on_partitions_assigned(self, assigned):
        self._owned = {one.partition for one in assigned}

    def on_partitions_revoked(self, revoked):
        self._owned -= {one.partition for one in revoked}
        self._revoked += [one.partition for one in revoked]

    async def poll(self, ms):
        batches = await self._consumer.getmany(timeout_ms=ms)
        revoked, self._revoked = self._revoked, []
        return [one for batch in batches.values() for one in batch], sorted(self._owned), revoked

    async def commit(self, offsets):
        await self._consumer.commit({aiokafka.TopicPartition(self._topic, partition): offset
                                     for partition, offset in offsets})

    async def close(self):
        await self._consumer.stop()


async def list_groups(client):
    return [one[0] for one in await client.list_consumer_groups()]


async def describe(client, group):
    """The group's state, and the partitions of each member; the answer of the broker, as fields in order."""
    [answer] = await client.describe_consumer_groups([group])
    error, _, state, _, _, members = answer.groups[0][:6]
    if error:
        raise aiokafka.errors.for_code(error)(group)
    return state, [[one.partition for one in ConsumerProtocol.ASSIGNMENT.decode(member[-1]).partitions()]
                   for member in members]


async def offsets(client, group, topic):
    found = await client.list_consumer_group_offsets(group)
    return [[part.partition, one.offset, None] for part, one in found.items() if part.topic == topic]
