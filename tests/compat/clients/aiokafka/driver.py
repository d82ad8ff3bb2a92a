#!/usr/bin/env python3
"""aiokafka as a driver."""

import asyncio
import os
import sys
import threading

import aiokafka
import aiokafka.admin
import aiokafka.errors

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../python"))
sys.dont_write_bytecode = True
import groups  # noqa: E402
import loop  # noqa: E402

DEADLINE_S = 60


def check(code, message=""):
    if code:
        raise loop.ClientError(code, message or aiokafka.errors.for_code(code).__name__)


def _record(one):
    return loop.record(one.partition, one.offset, one.timestamp, one.key, one.value, one.headers)


class AioKafka:
    """Operations are coroutines on one event loop. It has a thread of its own: members of groups send
    their heartbeats between operations."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._producers = {}
        self._members = {}
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def __getattr__(self, name):
        coroutine = getattr(type(self), name.replace("op_", "do_", 1), None) if name[:3] == "op_" else None
        if coroutine is None:
            raise AttributeError(name)
        return lambda request: asyncio.run_coroutine_threadsafe(coroutine(self, request), self._loop).result()

    def code_of(self, error):
        code = getattr(error, "errno", None)
        return code if isinstance(code, int) and code >= 1 else None

    async def do_hello(self, _):
        return {"version": aiokafka.__version__}

    async def _producer(self, request):
        config = {"bootstrap_servers": request["brokers"], "linger_ms": 5,
                  "compression_type": None if request["codec"] == "none" else request["codec"],
                  "acks": "all" if request["acks"] == "all" else int(request["acks"]),
                  "enable_idempotence": request["idempotent"], "request_timeout_ms": DEADLINE_S * 1000}
        if "batch_bytes" in request:
            config["max_batch_size"] = request["batch_bytes"]
        if "request_max_bytes" in request:
            config["max_request_size"] = config["max_batch_size"] = request["request_max_bytes"]
        key = str(sorted(config.items(), key=str))
        if key not in self._producers:
            self._producers[key] = aiokafka.AIOKafkaProducer(**config)
            await self._producers[key].start()
        return self._producers[key]

    async def do_produce(self, request):
        producer = await self._producer(request)
        futures = [await producer.send(request["topic"], partition=one["p"], key=loop.decode(one["k"]),
                                       value=loop.decode(one["v"]), headers=loop.headers_of(one),
                                       timestamp_ms=one["t"]) for one in request["records"]]
        sent = await asyncio.wait_for(asyncio.gather(*futures), DEADLINE_S)
        return {"offsets": None if request["acks"] == "0" else [one.offset for one in sent]}

    async def do_consume(self, request):
        config = {"bootstrap_servers": request["brokers"], "enable_auto_commit": False,
                  "fetch_max_wait_ms": 50}
        if "fetch_max_bytes" in request:
            config["fetch_max_bytes"] = request["fetch_max_bytes"]
            config["max_partition_fetch_bytes"] = request["partition_max_bytes"]
        consumer = await self._started(config)
        try:
            return {"records": await self._read(consumer, request)}
        finally:
            await consumer.stop()

    @staticmethod
    async def _started(config):
        """Only the first connection is not tried again by the library."""
        for _ in range(100):
            consumer = aiokafka.AIOKafkaConsumer(**config)
            try:
                await consumer.start()
                return consumer
            except aiokafka.errors.KafkaConnectionError:
                await consumer.stop()
                await asyncio.sleep(0.1)
        raise AssertionError("no connection in time")

    @staticmethod
    async def _read(consumer, request):
        ranges = [one for one in request["ranges"] if one[1] < one[2]]
        ends = {partition: end for partition, _, end in ranges}
        parts = {part: aiokafka.TopicPartition(request["topic"], part) for part in ends}
        consumer.assign(list(parts.values()))
        for partition, first, _ in ranges:
            consumer.seek(parts[partition], first)
        found = []
        while ends:
            one = await asyncio.wait_for(consumer.getone(*[parts[part] for part in ends]), DEADLINE_S)
            if one.offset < ends.get(one.partition, 0):
                found.append(_record(one))
                if one.offset + 1 == ends[one.partition]:
                    del ends[one.partition]
        return found

    async def do_group_open(self, request):
        self._members[request["handle"]] = groups.Member(request)
        await self._members[request["handle"]].start()
        return {}

    async def do_group_poll(self, request):
        records, owned, revoked = await self._members[request["handle"]].poll(request["ms"])
        return {"records": [_record(one) for one in records], "owned": owned, "revoked": revoked}

    async def do_group_commit(self, request):
        await self._members[request["handle"]].commit(request["offsets"])
        return {}

    async def do_group_close(self, request):
        await self._members.pop(request["handle"]).close()
        return {"records": []}

    async def do_group_list(self, request):
        return {"groups": await self._admin(request, groups.list_groups)}

    async def do_group_describe(self, request):
        state, members = await self._admin(request, lambda client: groups.describe(client, request["group"]))
        return {"state": state, "members": members}

    async def do_group_offsets(self, request):
        return {"offsets": await self._admin(
            request, lambda client: groups.offsets(client, request["group"], request["topic"]))}

    async def do_offsets(self, request):
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=request["brokers"])
        await consumer.start()
        try:
            part = aiokafka.TopicPartition(request["topic"], request["partition"])
            consumer.assign([part])
            if request["at"] == "earliest":
                return {"offset": (await consumer.beginning_offsets([part]))[part]}
            if request["at"] == "latest":
                return {"offset": (await consumer.end_offsets([part]))[part]}
            found = (await consumer.offsets_for_times({part: request["at"]}))[part]
            return {"offset": -1 if found is None else found.offset}
        finally:
            await consumer.stop()

    @staticmethod
    async def _admin(request, work):
        client = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=request["brokers"])
        await client.start()
        try:
            return await work(client)
        finally:
            await client.close()

    async def do_list_topics(self, request):
        return {"topics": await self._admin(request, lambda client: client.list_topics())}

    async def do_partitions(self, request):
        [topic] = await self._admin(request, lambda client: client.describe_topics([request["topic"]]))
        check(topic["error_code"])
        return {"partitions": len(topic["partitions"])}

    async def do_create_topic(self, request):
        wanted = aiokafka.admin.NewTopic(request["topic"], request["partitions"], 1,
                                         topic_configs=request["configs"])
        answer = await self._admin(request, lambda client: client.create_topics([wanted]))
        check(*answer.topic_errors[0][1:3])
        return {}

    async def do_delete_topic(self, request):
        answer = await self._admin(request, lambda client: client.delete_topics([request["topic"]]))
        check(answer.topic_error_codes[0][1])
        return {}

    async def do_add_partitions(self, request):
        wanted = {request["topic"]: aiokafka.admin.NewPartitions(request["total"])}
        await self._admin(request, lambda client: client.create_partitions(wanted))
        return {}

    async def do_delete_records(self, request):
        part = aiokafka.TopicPartition(request["topic"], request["partition"])
        wanted = {part: aiokafka.admin.RecordsToDelete(request["before"])}
        return {"low": (await self._admin(request, lambda client: client.delete_records(wanted)))[part]}

    @staticmethod
    def _resource(request, configs=None):
        return aiokafka.admin.config_resource.ConfigResource(
            aiokafka.admin.config_resource.ConfigResourceType.TOPIC, request["topic"], configs)

    async def do_describe_config(self, request):
        [answer] = await self._admin(request, lambda client: client.describe_configs([self._resource(request)]))
        [resource] = answer.resources
        check(resource[0], resource[1])
        return {"configs": {entry[0]: entry[1] for entry in resource[4]}}

    async def do_alter_config(self, request):
        [answer] = await self._admin(request, lambda client: client.alter_configs(
            [self._resource(request, request["configs"])]))
        check(*answer.resources[0][:2])
        return {}


if __name__ == "__main__":
    loop.serve(AioKafka())
