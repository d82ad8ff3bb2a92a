#!/usr/bin/env python3
"""kcat as a driver: each operation is one or more runs of the program."""

import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../python"))
sys.dont_write_bytecode = True
import loop  # noqa: E402
import member  # noqa: E402

# Between the parts of a record, in both directions; no record has them.
KEY_END, RECORD_END, HEADERS_END = "\x1e=key=\x1e", "\x1e=end=\x1e", b"\x1e=headers=\x1e"
FORMAT = "%p %o %T %K %S\\n%k%s%h" + HEADERS_END.decode()
DEADLINE_S = 80
CODES = {"Broker: Message size too large": 10, "Broker: Unknown topic or partition": 3}


def run(request, *args, stdin=b""):
    done = subprocess.run(["kcat", "-b", request["brokers"], *args], input=stdin, capture_output=True,
                          timeout=DEADLINE_S, check=False)
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace")
        code = next((number for said, number in CODES.items() if said in text), None)
        raise loop.ClientError(code, text[-2000:])
    return done.stdout


class Kcat:
    def __init__(self):
        self._members = {}

    def code_of(self, _):
        return None

    def op_hello(self, _):
        text = subprocess.run(["kcat", "-V"], capture_output=True, check=True).stdout.decode()
        version = re.search(r"Version (\S+) ", text).group(1)
        return {"version": f"{version} (librdkafka {re.search(r'librdkafka ([0-9.]+)', text).group(1)})"}

    def op_produce(self, request):
        """Records of one kind that follow each other in a partition go in one run: headers and the
        partition are options of kcat, and so is whether empty means null."""
        run_of, kind = [], None
        for one in sorted(request["records"], key=lambda one: one["p"]):
            its_kind = self._kind(one)
            if run_of and its_kind != kind:
                self._produce(request, run_of, kind)
                run_of = []
            run_of.append(one)
            kind = its_kind
        self._produce(request, run_of, kind)
        return {"offsets": None}

    @staticmethod
    def _kind(one):
        """With -Z, each empty part is sent as null. Without, a line without KEY_END has no key."""
        empty = one["k"] == "" or one["v"] == ""
        if one["v"] is None and one["k"] == "":
            raise loop.Unsupported("an empty key with a null value: -Z means both")
        return ("null" if one["v"] is None else "empty" if empty else "any", one["p"],
                tuple((name, value) for name, value in one["h"]))

    def _produce(self, request, records, kind):
        how, partition, headers = kind
        args = ["-P", "-E", "-t", request["topic"], "-p", str(partition), "-z", request["codec"],
                "-X", "acks=" + request["acks"], "-X", "message.timeout.ms=60000"]
        if how == "null":
            args.append("-Z")
        if request["idempotent"]:
            args += ["-X", "enable.idempotence=true"]
        if "batch_bytes" in request:
            args += ["-X", f"batch.size={request['batch_bytes']}"]
        if "request_max_bytes" in request:
            args += ["-X", f"message.max.bytes={request['request_max_bytes']}"]
        for name, value in headers:
            name = os.fsencode(name)
            args += ["-H", name if value is None else name + b"=" + loop.decode(value)]
        text = b"".join(self._line(one, how) for one in records)
        run(request, *args, "-K", KEY_END, "-D", RECORD_END, stdin=text)

    @staticmethod
    def _line(one, how):
        """Lines of no bytes are passed over: a null key is one that is empty wherever -Z is given."""
        key = (loop.decode(one["k"]) or b"") + KEY_END.encode() if one["k"] is not None or how == "null" else b""
        return key + (loop.decode(one["v"]) or b"") + RECORD_END.encode()

    def op_consume(self, request):
        found = []
        for partition, first, end in request["ranges"]:
            found += self._read(request, partition, first, end - first)
        return {"records": found}

    def _read(self, request, partition, first, count):
        args = ["-C", "-E", "-q", "-t", request["topic"], "-p", str(partition), "-o", str(first),
                "-c", str(count), "-X", "check.crcs=true", "-X", "fetch.wait.max.ms=20"]
        if "fetch_max_bytes" in request:
            args += ["-X", f"fetch.max.bytes={request['fetch_max_bytes']}",
                     "-X", f"message.max.bytes={request['fetch_max_bytes']}",
                     "-X", f"fetch.message.max.bytes={request['partition_max_bytes']}"]
        return self._parse(run(request, *args, "-f", FORMAT))[0]

    def _parse(self, data):
        """The whole records of an output in FORMAT, and what comes after them."""
        found, position = [], 0
        while (line_end := data.find(b"\n", position)) >= 0:
            number, offset, time_ms, key_bytes, value_bytes = map(int, data[position:line_end].split())
            parts_end = line_end + 1 + max(key_bytes, 0) + max(value_bytes, 0)
            end = data.find(HEADERS_END, parts_end)
            if end < 0:
                break
            key, value_at = self._part(data, line_end + 1, key_bytes)
            value, headers_at = self._part(data, value_at, value_bytes)
            found.append(loop.record(number, offset, time_ms, key, value,
                                     self._headers(data[headers_at:end])))
            position = end + len(HEADERS_END)
        return found, data[position:]

    @staticmethod
    def _part(data, position, count):
        """Length -1 is null."""
        if count < 0:
            return None, position
        return data[position:position + count], position + count

    @staticmethod
    def _headers(text):
        if not text:
            return []
        parts = [part.split(b"=", 1) for part in text.split(b",")]
        return [(name.decode(), None if value == b"NULL" else value) for name, value in parts]

    def op_group_open(self, request):
        """kcat commits by itself; it says on standard error which partitions it has got and given up."""
        settings = {"partition.assignment.strategy": request["assignor"], "auto.offset.reset": "earliest",
                    "session.timeout.ms": request["session_timeout_ms"], "heartbeat.interval.ms": 300,
                    "fetch.wait.max.ms": 50}
        if request["instance_id"]:
            settings["group.instance.id"] = request["instance_id"]
        options = [arg for name, value in settings.items() for arg in ("-X", f"{name}={value}")]
        self._members[request["handle"]] = member.Member(
            ["kcat", "-b", request["brokers"], "-u", "-E", "-f", FORMAT, *options, "-G", request["group"],
             request["topic"]],
            self._parse, r"(?:assigned|incremental assignment.*\)): (.*)",
            r"(?:revoked|incremental revoke.*\)): (.*)", r"\[(\d+)\]")
        return {}

    def op_group_poll(self, request):
        return self._members[request["handle"]].poll(request["ms"])

    def op_group_close(self, request):
        return self._members.pop(request["handle"]).close()

    def op_offsets(self, request):
        at = {"earliest": -2, "latest": -1}.get(request["at"], request["at"])
        said = run(request, "-Q", "-t", f"{request['topic']}:{request['partition']}:{at}").decode()
        return {"offset": int(re.search(r"offset (-?\d+)", said).group(1))}

    @staticmethod
    def _metadata(request):
        return json.loads(run(request, "-L", "-J"))["topics"]

    def op_list_topics(self, request):
        return {"topics": [one["topic"] for one in self._metadata(request)]}

    def op_partitions(self, request):
        return {"partitions": next(len(one["partitions"]) for one in self._metadata(request)
                                   if one["topic"] == request["topic"])}


if __name__ == "__main__":
    loop.serve(Kcat())
