#!/usr/bin/env python3
"""Kafka's command-line tools as a driver: driver.py LIB, where LIB has their jars. Each operation runs
the program that bin/kafka-*.sh would run.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../python"))
sys.dont_write_bytecode = True
import groups  # noqa: E402
import loop  # noqa: E402

DEADLINE_S = 85
PRODUCER, CONSUMER = "org.apache.kafka.tools.ConsoleProducer", "org.apache.kafka.tools.consumer.ConsoleConsumer"
TOPICS, CONFIGS = "org.apache.kafka.tools.TopicCommand", "kafka.admin.ConfigCommand"
OFFSETS, DELETE_RECORDS = "org.apache.kafka.tools.GetOffsetShell", "org.apache.kafka.tools.DeleteRecordsCommand"

# Between the parts of a record; no record has them.
KEY_END, HEADERS_END, HEADER_END, NAME_END, NULL = "~key~", "~headers~", "~header~", "~name~", "~null~"
PART_END, RECORD_END = "~part~", "~record~"

# How the console consumer prints a record.
FORMATTER = [arg for setting in (
    f"key.separator={PART_END}", f"line.separator={RECORD_END}", f"headers.separator={HEADER_END}",
    f"null.literal={NULL}", "print.timestamp=true", "print.partition=true", "print.offset=true",
    "print.headers=true", "print.key=true", "print.value=true") for arg in ("--property", setting)]

# The tools tell errors by the names of exceptions.
CODES = {"UnknownTopicOrPartitionException": 3, "does not exist as expected": 3, "RecordTooLargeException": 10,
         "InvalidTopicException": 17, "TopicExistsException": 36, "InvalidPartitionsException": 37,
         "InvalidConfigurationException": 40}


class Tools:
    def __init__(self, lib):
        self._java = ["java", "-Xlog:disable", "-Xlog:all=error:stderr", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m",
                      "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", lib + "/*"]
        self._lib = lib
        self._groups = groups.Groups(self._run)
        self._members = {}

    def code_of(self, _):
        return None

    def _archive(self, tool):
        return os.path.join(self._lib, "..", tool + ".jsa")

    def _run(self, tool, request, *args, stdin=b""):
        # The classes of a tool's first run are kept as the JVM laid them out: later ones start faster.
        archive = self._archive(tool)
        classes = "SharedArchiveFile" if os.path.exists(archive) else "ArchiveClassesAtExit"
        done = subprocess.run([self._java[0], f"-XX:{classes}={archive}", *self._java[1:], tool,
                               "--bootstrap-server", request["brokers"], *args],
                              input=stdin, capture_output=True, timeout=DEADLINE_S, check=False)
        errors = done.stderr.decode(errors="replace")
        if done.returncode != 0 or "ERROR" in errors:  # the console producer ends with 0 all the same
            said = done.stdout[-2000:].decode(errors="replace") + errors
            code = next((number for name, number in CODES.items() if name in said), None)
            raise loop.ClientError(code, errors[:1500] + done.stdout[-500:].decode(errors="replace"))
        return done.stdout

    def op_hello(self, _):
        [jar] = [name for name in os.listdir(self._lib) if name.startswith("kafka-tools-4")]
        return {"version": re.search(r"kafka-tools-([0-9.]+)\.jar", jar).group(1)}

    def op_produce(self, request):
        properties = {"acks": request["acks"], "enable.idempotence": str(request["idempotent"]).lower(),
                      "linger.ms": 5, "delivery.timeout.ms": 60_000,
                      "request.timeout.ms": 10_000}
        if "batch_bytes" in request:
            properties["batch.size"] = request["batch_bytes"]
        if "request_max_bytes" in request:
            properties["max.request.size"] = request["request_max_bytes"]
        reader = {"parse.key": "true", "parse.headers": "true", "key.separator": KEY_END,
                  "headers.delimiter": HEADERS_END, "headers.separator": HEADER_END,
                  "headers.key.separator": NAME_END, "null.marker": NULL}
        args = ["--topic", request["topic"], "--compression-codec", request["codec"]]
        for name, value in properties.items():
            args += ["--producer-property", f"{name}={value}"]
        for name, value in reader.items():
            args += ["--property", f"{name}={value}"]
        text = b"".join(self._line(one) for one in request["records"])
        self._run(PRODUCER, request, *args, stdin=text)
        return {"offsets": None}

    @staticmethod
    def _line(one):
        def part(data):
            return NULL.encode() if data is None else loop.decode(data)
        headers = HEADER_END.encode().join(name.encode() + NAME_END.encode() + part(value)
                                           for name, value in one["h"])
        return b"".join([headers or NULL.encode(), HEADERS_END.encode(), part(one["k"]),
                         KEY_END.encode(), part(one["v"]), b"\n"])

    def op_consume(self, request):
        found = []
        for partition, first, end in request["ranges"]:
            if first < end:
                found += self._read(request, partition, first, end - first)
        return {"records": found}

    def _read(self, request, partition, first, count):
        properties = {"fetch.max.wait.ms": 50}
        if "fetch_max_bytes" in request:
            properties["fetch.max.bytes"] = request["fetch_max_bytes"]
            properties["max.partition.fetch.bytes"] = request["partition_max_bytes"]
        args = ["--topic", request["topic"], "--partition", str(partition), "--offset", str(first),
                "--max-messages", str(count), "--timeout-ms", "60000"]
        for name, value in properties.items():
            args += ["--consumer-property", f"{name}={value}"]
        found, _ = self._parse(self._run(CONSUMER, request, *args, *FORMATTER))
        if len(found) != count:
            raise loop.ClientError(None, f"expected {count} records, came {len(found)}")
        return found

    def _parse(self, data):
        """The whole records of an output of FORMATTER, and what comes after them."""
        *whole, rest = data.split(RECORD_END.encode())
        found = []
        for one in whole:
            time, partition, offset, headers, key, value = one.split(PART_END.encode())
            partition, offset, time = (int(part.split(b":")[1]) for part in (partition, offset, time))
            found.append(loop.record(partition, offset, time, self._part(key), self._part(value),
                                     self._headers(headers)))
        return found, rest

    @staticmethod
    def _part(data):
        return None if data == NULL.encode() else data

    def _headers(self, text):
        if text == b"NO_HEADERS":
            return []
        parts = [part.split(b":", 1) for part in text.split(HEADER_END.encode())]
        return [(name.decode(), self._part(value)) for name, value in parts]

    def op_group_open(self, request):
        command = [*self._java, CONSUMER, "--bootstrap-server", request["brokers"], *FORMATTER]
        command[1:1] = [f"-Dorg.slf4j.simpleLogger.log.{name}=info" for name in groups.LOGGERS]
        if os.path.exists(self._archive(CONSUMER)):
            command[1:1] = [f"-XX:SharedArchiveFile={self._archive(CONSUMER)}"]
        self._members[request["handle"]] = groups.open_member(command, self._parse, request)
        return {}

    def op_group_poll(self, request):
        return self._members[request["handle"]].poll(request["ms"])

    def op_group_close(self, request):
        return self._members.pop(request["handle"]).close()

    def op_group_list(self, request):
        return {"groups": self._groups.names(request)}

    def op_group_describe(self, request):
        return {"state": self._groups.state(request), "members": self._groups.members(request)}

    def op_group_offsets(self, request):
        return {"offsets": self._groups.offsets(request)}

    def op_group_set_offsets(self, request):
        self._groups.set_offsets(request)
        return {}

    def op_group_delete_offsets(self, request):
        self._groups.delete_offsets(request)
        return {}

    def op_group_delete(self, request):
        self._groups.delete(request)
        return {}

    def op_offsets(self, request):
        place = f"{request['topic']}:{request['partition']}"
        at = {"earliest": -2, "latest": -1}.get(request["at"], request["at"])
        said = self._run(OFFSETS, request, "--topic-partitions", place, "--time", str(at)).decode()
        found = re.search(re.escape(place) + r":(\d+)", said)
        return {"offset": int(found.group(1)) if found else -1}

    def op_list_topics(self, request):
        return {"topics": self._run(TOPICS, request, "--list").decode().split()}

    def op_partitions(self, request):
        said = self._run(TOPICS, request, "--describe", "--topic", request["topic"]).decode()
        return {"partitions": int(re.search(r"PartitionCount: (\d+)", said).group(1))}

    def op_create_topic(self, request):
        configs = [arg for name, value in request["configs"].items() for arg in ("--config", f"{name}={value}")]
        self._run(TOPICS, request, "--create", "--topic", request["topic"], "--replication-factor", "1",
                  "--partitions", str(request["partitions"]), *configs)
        return {}

    def op_delete_topic(self, request):
        self._run(TOPICS, request, "--delete", "--topic", request["topic"])
        return {}

    def op_add_partitions(self, request):
        self._run(TOPICS, request, "--alter", "--topic", request["topic"], "--partitions", str(request["total"]))
        return {}

    def op_delete_records(self, request):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"version": 1, "partitions": [{"topic": request["topic"], "partition": request["partition"],
                                                     "offset": request["before"]}]}, file)
            file.flush()
            said = self._run(DELETE_RECORDS, request, "--offset-json-file", file.name).decode()
        return {"low": int(re.search(r"low_watermark: (\d+)", said).group(1))}

    def op_describe_config(self, request):
        said = self._run(CONFIGS, request, "--entity-type", "topics", "--entity-name", request["topic"],
                         "--describe", "--all").decode()
        return {"configs": dict(re.findall(r"^\s+([a-z.]+)=(\S*) sensitive=", said, re.M))}

    def op_incremental_alter(self, request):
        args = ["--entity-type", "topics", "--entity-name", request["topic"], "--alter"]
        if request["set"]:
            args += ["--add-config", ",".join(f"{name}={value}" for name, value in request["set"].items())]
        if request["delete"]:
            args += ["--delete-config", ",".join(request["delete"])]
        self._run(CONFIGS, request, *args)
        return {}


if __name__ == "__main__":
    loop.serve(Tools(sys.argv[1]))
