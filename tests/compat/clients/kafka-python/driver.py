#!/usr/bin/env python3
"""kafka-python as a driver."""

import logging
import os
import re
import sys
import time

import kafka
import kafka.admin
import kafka.errors

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../python"))
sys.dont_write_bytecode = True
import groups  # noqa: E402
import loop  # noqa: E402

DEADLINE_S = 60
BROKER_ERROR_MIN = 1  # below are the library's own


class KafkaPython:
    def __init__(self):
        self._producers = {}
        self._admins = {}
        self._members = {}

    def code_of(self, error):
        code = getattr(error, "errno", None)
        return code if isinstance(code, int) and code >= BROKER_ERROR_MIN else None

    def op_hello(self, _):
        return {"version": kafka.__version__}

    def _producer(self, request):
        config = {"bootstrap_servers": request["brokers"], "linger_ms": 5,
                  "compression_type": None if request["codec"] == "none" else request["codec"],
                  "acks": "all" if request["acks"] == "all" else int(request["acks"]),
                  "enable_idempotence": request["idempotent"],
                  "delivery_timeout_ms": DEADLINE_S * 1000, "request_timeout_ms": 10_000,
                  "reconnect_backoff_max_ms": 500}
        if not request["idempotent"]:
            config["max_in_flight_requests_per_connection"] = 1
        if "batch_bytes" in request:
            config["batch_size"] = request["batch_bytes"]
        if "request_max_bytes" in request:
            config["max_request_size"] = request["request_max_bytes"]
        key = str(sorted(config.items(), key=str))
        if key not in self._producers:
            self._producers[key] = kafka.KafkaProducer(**config)
        return self._producers[key]

    def op_produce(self, request):
        producer = self._producer(request)
        futures = [producer.send(request["topic"], partition=one["p"], key=loop.decode(one["k"]),
                                 value=loop.decode(one["v"]), headers=loop.headers_of(one),
                                 timestamp_ms=one["t"]) for one in request["records"]]
        producer.flush(DEADLINE_S)
        offsets = [future.get(DEADLINE_S).offset for future in futures]
        return {"offsets": None if request["acks"] == "0" else offsets}

    def op_consume(self, request):
        config = {"bootstrap_servers": request["brokers"], "enable_auto_commit": False,
                  "fetch_max_wait_ms": 50, "reconnect_backoff_max_ms": 500}
        if "fetch_max_bytes" in request:
            config["fetch_max_bytes"] = request["fetch_max_bytes"]
            config["max_partition_fetch_bytes"] = request["partition_max_bytes"]
        consumer = kafka.KafkaConsumer(**config)
        ends = {}
        parts = {part: kafka.TopicPartition(request["topic"], part) for part, _, _ in request["ranges"]}
        consumer.assign(list(parts.values()))
        for partition, first, end in request["ranges"]:
            consumer.seek(parts[partition], first)
            if first < end:
                ends[partition] = end
        found = []
        give_up = time.monotonic() + DEADLINE_S
        while ends:
            if time.monotonic() > give_up:
                raise AssertionError("no record in time")
            for batch in consumer.poll(1000).values():
                for one in batch:
                    give_up = time.monotonic() + DEADLINE_S
                    if one.partition in ends and one.offset < ends[one.partition]:
                        found.append(self._record(one))
                        if one.offset + 1 == ends[one.partition]:
                            del ends[one.partition]
        consumer.close()
        return {"records": found}

    @staticmethod
    def _record(one):
        return loop.record(one.partition, one.offset, one.timestamp, one.key, one.value, one.headers)

    def op_group_open(self, request):
        self._members[request["handle"]] = groups.Member(request)
        return {}

    def op_group_poll(self, request):
        records, owned, revoked = self._members[request["handle"]].poll(request["ms"])
        return {"records": [self._record(one) for one in records], "owned": owned, "revoked": revoked}

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
        return {"offsets": groups.offsets(self._admin(request), request["group"], request["topic"])}

    def op_group_set_offsets(self, request):
        groups.set_offsets(self._admin(request), request["group"],
                           groups.offsets_of(request["topic"], request["offsets"]))
        return {}

    def op_group_delete_offsets(self, request):
        groups.delete_offsets(self._admin(request), request["group"], request["topic"], request["forget"])
        return {}

    def op_group_delete(self, request):
        groups.delete(self._admin(request), request["group"])
        return {}

    def op_offsets(self, request):
        consumer = kafka.KafkaConsumer(bootstrap_servers=request["brokers"])
        part = kafka.TopicPartition(request["topic"], request["partition"])
        if request["at"] == "earliest":
            offset = consumer.beginning_offsets([part])[part]
        elif request["at"] == "latest":
            offset = consumer.end_offsets([part])[part]
        else:
            found = consumer.offsets_for_times({part: request["at"]})[part]
            offset = -1 if found is None else found.offset
        consumer.close()
        return {"offset": offset}

    def _admin(self, request):
        if request["brokers"] not in self._admins:
            self._admins[request["brokers"]] = kafka.KafkaAdminClient(bootstrap_servers=request["brokers"])
        return self._admins[request["brokers"]]

    def op_list_topics(self, request):
        return {"topics": list(self._admin(request).list_topics())}

    def op_partitions(self, request):
        [topic] = self._admin(request).describe_topics([request["topic"]])
        return {"partitions": len(topic["partitions"])}

    def op_create_topic(self, request):
        self._admin(request).create_topics({request["topic"]: {
            "num_partitions": request["partitions"], "replication_factor": 1,
            "configs": request["configs"]}})
        return {}

    def op_delete_topic(self, request):
        self._admin(request).delete_topics([request["topic"]])
        return {}

    def op_add_partitions(self, request):
        self._admin(request).create_partitions({request["topic"]: request["total"]})
        return {}

    def op_delete_records(self, request):
        part = kafka.TopicPartition(request["topic"], request["partition"])
        answer = self._admin(request).delete_records({part: request["before"]})[part]
        return {"low": answer["low_watermark"]}

    @staticmethod
    def _resource(request, configs):
        return kafka.admin.ConfigResource("topic", request["topic"], configs)

    def op_describe_config(self, request):
        answer = self._admin(request).describe_configs([self._resource(request, None)],
                                                       config_filter="all")
        return {"configs": {name: config["value"]
                            for name, config in answer["topic"][request["topic"]].items()}}

    def _alter(self, request, configs, incremental):
        answer = self._admin(request).alter_configs([self._resource(request, configs)],
                                                    incremental=incremental)
        outcome = answer["topic"][request["topic"]]
        if outcome != "OK":  # an error as text: [Error 40] ...
            found = re.match(r"\[Error (\d+)\]", outcome)
            raise loop.ClientError(int(found.group(1)) if found else None, outcome)
        return {}

    def op_alter_config(self, request):
        return self._alter(request, request["configs"], False)

    def op_incremental_alter(self, request):
        configs = {name: ("SET", value) for name, value in request["set"].items()}
        configs.update({name: ("DELETE", None) for name in request["delete"]})
        return self._alter(request, configs, True)


if __name__ == "__main__":
    logging.basicConfig(level=os.environ.get("COMPAT_LOG", "WARNING"))
    loop.serve(KafkaPython())
