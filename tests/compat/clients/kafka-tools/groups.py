"""Groups with Kafka's command-line tools: a member is a kafka-console-consumer.sh, the rest is
kafka-consumer-groups.sh.
"""

import re
import tempfile

import loop
import member

GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
ASSIGNORS = {"range": "org.apache.kafka.clients.consumer.RangeAssignor",
             "cooperative-sticky": "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"}

# The tool tells errors by the names of exceptions.
CODES = {"GroupNotEmptyException": 68, "GroupSubscribedToTopicException": 86}

# What logs a consumer's partitions, of a group of the classic protocol and of the consumer protocol.
LOGGERS = ["org.apache.kafka.clients.consumer.internals." + name
           for name in ("ConsumerRebalanceListenerInvoker", "ConsumerMembershipManager")]
ASSIGNED = r"(?:Adding newly assigned partitions:|Added partitions \(assigned - owned\):) (.*)"
REVOKED = r"(?:(?:Revoke|Lost) previously assigned partitions|Revoked partitions \(owned - assigned\):) (.*)"
PARTITION = r"-(\d+)(?=[,\]])"


def open_member(command, parse, request):
    """`command` runs the console consumer, whose LOGGERS log at the level `info`."""
    properties = {"auto.offset.reset": "earliest", "fetch.max.wait.ms": 50}
    if request["instance_id"]:
        properties["group.instance.id"] = request["instance_id"]
    if request["protocol"] == "consumer":
        properties["group.protocol"] = "consumer"
    else:
        properties.update({"partition.assignment.strategy": ASSIGNORS[request["assignor"]],
                           "session.timeout.ms": request["session_timeout_ms"], "heartbeat.interval.ms": 300})
    options = [arg for name, value in properties.items() for arg in ("--consumer-property", f"{name}={value}")]
    return member.Member([*command, "--topic", request["topic"], "--group", request["group"], *options], parse,
                         ASSIGNED, REVOKED, PARTITION)


class Groups:
    """`run` runs a tool and returns what it has printed."""

    def __init__(self, run):
        self._run = run

    def _command(self, request, *args):
        said = self._run(GROUPS, request, *args).decode()
        if re.search(r"(^|\s)Error: ", said):
            raise loop.ClientError(next((code for name, code in CODES.items() if name in said), None), said[:1500])
        return said

    def _described(self, request, *args):
        """The rows under the headings of a table: {heading: value}, a list of them."""
        said = self._command(request, "--describe", "--group", request["group"], *args)
        lines = [line.split() for line in said.splitlines() if line.strip()]
        heads = next((i for i, words in enumerate(lines) if words[0] == "GROUP"), len(lines))
        return [dict(zip(lines[heads], words)) for words in lines[heads + 1:] if words[0] == request["group"]]

    def names(self, request):
        return self._command(request, "--list").split()

    def state(self, request):
        said = self._command(request, "--describe", "--group", request["group"], "--state")
        return re.search(r"\s([A-Z][A-Za-z]+)\s+\d+\s*$", said.strip()).group(1)

    def members(self, request):
        """As lists of partitions, which are told as topic:0,1;"""
        rows = self._described(request, "--members", "--verbose")
        return [[int(number) for number in re.findall(r"\d+", row["CURRENT-ASSIGNMENT"].split(":")[1])]
                for row in rows]

    def offsets(self, request):
        return [[int(row["PARTITION"]), int(row["CURRENT-OFFSET"]), int(row["LAG"])]
                for row in self._described(request, "--offsets")
                if row["TOPIC"] == request["topic"] and row["CURRENT-OFFSET"] != "-"]

    def set_offsets(self, request):
        with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
            file.writelines(f"{request['topic']},{partition},{offset}\n"
                            for partition, offset in request["offsets"])
            file.flush()
            self._command(request, "--reset-offsets", "--group", request["group"], "--from-file", file.name,
                          "--execute")

    def delete_offsets(self, request):
        partitions = ",".join(map(str, request["forget"]))
        self._command(request, "--delete-offsets", "--group", request["group"], "--topic",
                      f"{request['topic']}:{partitions}")

    def delete(self, request):
        self._command(request, "--delete", "--group", request["group"])
