#!/usr/bin/env python3
"""confluent-kafka-python as a driver."""

import os
import sys

import confluent_kafka
from confluent_kafka import admin

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../python"))
sys.dont_write_bytecode = True
import groups  # noqa: E402
import loop  # noqa: E402

DEADLINE_S = 60


class Confluent:
    def __init__(self):
        self._producers = {}
        self._admins = {}
        self._members = {}

    def code_of(self, error):
        first = error.args[0] if error.args else None
        return first.code() if isinstance(first, confluent_kafka.KafkaError) else None

    def op_hello(self, _):
        return {"version": f"{confluent_kafka.__version__} (librdkafka {confluent_kafka.libversion()[0]})"}

    def _producer(self, request):
        config = {"bootstrap.servers": request["brokers"], "compression.type": request["codec"],
                  "acks": request["acks"], "enable.idempotence": request["idempotent"],
                  "linger.ms": 5, "message.timeout.ms": DEADLINE_S * 1000}
        if "batch_bytes" in request:
            config["batch.size"] = request["batch_bytes"]
        if "request_max_bytes" in request:
            config["message.max.bytes"] = request["request_max_bytes"]
        key = str(sorted(config.items()))
        if key not in self._producers:
            self._producers[key] = confluent_kafka.Producer(config)
        return self._producers[key]

    def op_produce(self, request):
        producer = self._producer(request)
        offsets = [None] * len(request["records"])

        def report(i):
            def on_delivery(error, message):
                offsets[i] = error or message.offset()
            return on_delivery
        for i, one in enumerate(request["records"]):
            more = {} if one["t"] is None else {"timestamp": one["t"]}
            while True:
                try:
                    producer.produce(request["topic"], key=loop.decode(one["k"]),
                                     value=loop.decode(one["v"]), headers=loop.headers_of(one),
                                     partition=one["p"], on_delivery=report(i), **more)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        producer.flush(DEADLINE_S)
        for offset in offsets:
            if isinstance(offset, confluent_kafka.KafkaError):
                raise confluent_kafka.KafkaException(offset)
        return {"offsets": None if request["acks"] == "0" else offsets}

    def op_consume(self, request):
        config = {"bootstrap.servers": request["brokers"], "group.id": "none",
                  "enable.auto.commit": False, "check.crcs": True, "fetch.wait.max.ms": 50}
        if "fetch_max_bytes" in request:
            config["fetch.max.bytes"] = config["message.max.bytes"] = request["fetch_max_bytes"]
            config["max.partition.fetch.bytes"] = request["partition_max_bytes"]
        consumer = confluent_kafka.Consumer(config)
        ends = {partition: end for partition, first, end in request["ranges"] if first < end}
        consumer.assign([confluent_kafka.TopicPartition(request["topic"], partition, first)
                         for partition, first, end in request["ranges"] if first < end])
        found = []
        while ends:
            message = consumer.poll(DEADLINE_S)
            if message is None:
                raise AssertionError("no record in time")
            if message.error():
                if message.error().code() < 0 or message.error().code() == 30:
                    continue  # it connects again; 30 is about the group, which is only named
                raise confluent_kafka.KafkaException(message.error())
            partition = message.partition()
            if partition in ends and message.offset() < ends[partition]:
                found.append(self._record(message))
                if message.offset() + 1 == ends[partition]:
                    del ends[partition]
        consumer.close()
        return {"records": found}

    @staticmethod
    def _record(message):
        return loop.record(message.partition(), message.offset(), message.timestamp()[1], message.key(),
                           message.value(), message.headers())

    def op_group_open(self, request):
        self._members[request["handle"]] = groups.Member(request)
        return {}

    def op_group_poll(self, request):
        messages, owned, revoked = self._members[request["handle"]].poll(request["ms"])
        return {"records": [self._record(one) for one in messages], "owned": owned, "revoked": revoked}

    def op_group_commit(self, request):
        self._members[request["handle"]].commit(request["offsets"])
        return {}

    def op_group_close(self, request):
        self._members.pop(request["handle"]).close()
        return {"records": []}

    def op_group_list(self, request):
        return {"groups": groups.list_groups(self._admin(request))}

    def op_group_describe(self, request):
        state, members = groups.describe(self._admin(request), request["group"])
        return {"state": state, "members": members}

    def op_group_offsets(self, request):
        return {"offsets": [[one.partition, one.offset, None]
                            for one in groups.offsets(self._admin(request), request["group"])
                            if one.topic == request["topic"]]}

    def op_group_set_offsets(self, request):
        groups.set_offsets(self._admin(request), request["group"],
                           groups.partitions_of(request["topic"], request["offsets"]))
        return {}

    def op_group_delete(self, request):
        groups.delete(self._admin(request), request["group"])
        return {}

    def _admin(self, request):
        if request["brokers"] not in self._admins:
            self._admins[request["brokers"]] = admin.AdminClient({"bootstrap.servers": request["brokers"]})
        return self._admins[request["brokers"]]

    @staticmethod
    def _result(futures):
        [future] = futures.values()
        return future.result(DEADLINE_S)

    def op_offsets(self, request):
        place = {"earliest": admin.OffsetSpec.earliest(), "latest": admin.OffsetSpec.latest()}.get(
            request["at"]) or admin.OffsetSpec.for_timestamp(request["at"])
        partition = confluent_kafka.TopicPartition(request["topic"], request["partition"])
        return {"offset": self._result(self._admin(request).list_offsets({partition: place})).offset}

    def op_list_topics(self, request):
        return {"topics": list(self._admin(request).list_topics(timeout=DEADLINE_S).topics)}

    def op_partitions(self, request):
        topics = confluent_kafka.TopicCollection([request["topic"]])
        return {"partitions": len(self._result(self._admin(request).describe_topics(topics)).partitions)}

    def op_create_topic(self, request):
        wanted = admin.NewTopic(request["topic"], request["partitions"], 1, config=request["configs"])
        self._result(self._admin(request).create_topics([wanted]))
        return {}

    def op_delete_topic(self, request):
        self._result(self._admin(request).delete_topics([request["topic"]]))
        return {}

    def op_add_partitions(self, request):
        wanted = admin.NewPartitions(request["topic"], request["total"])
        self._result(self._admin(request).create_partitions([wanted]))
        return {}

    def op_delete_records(self, request):
        before = confluent_kafka.TopicPartition(request["topic"], request["partition"], request["before"])
        return {"low": self._result(self._admin(request).delete_records([before])).low_watermark}

    @staticmethod
    def _resource(request, **options):
        return admin.ConfigResource(admin.ConfigResource.Type.TOPIC, request["topic"], **options)

    def op_describe_config(self, request):
        entries = self._result(self._admin(request).describe_configs([self._resource(request)]))
        return {"configs": {name: entry.value for name, entry in entries.items()}}

    def op_alter_config(self, request):
        wanted = self._resource(request, set_config=request["configs"])
        self._result(self._admin(request).alter_configs([wanted]))
        return {}

    def op_incremental_alter(self, request):
        operation = admin.AlterConfigOpType
        entries = [admin.ConfigEntry(name, value, incremental_operation=operation.SET)
                   for name, value in request["set"].items()]
        entries += [admin.ConfigEntry(name, None, incremental_operation=operation.DELETE)
                    for name in request["delete"]]
        wanted = self._resource(request, incremental_configs=entries)
        self._result(self._admin(request).incremental_alter_configs([wanted]))
        return {}


if __name__ == "__main__":
    loop.serve(Confluent())
