"""Clients, brokers and cells: what compat.py (all clients) and compat_test.py (Debian's) share."""

import contextlib
import fnmatch
import json
import os
import random
import re
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
sys.dont_write_bytecode = True
import driver  # noqa: E402
import harness  # noqa: E402
import records as R  # noqa: E402
import scenarios  # noqa: E402
import group_scenarios  # noqa: E402,F401 - they are added to those of scenarios

REFERENCE = "librdkafka"  # writes what a scenario wants a client to find
# A member does not wait long for others.
GROUP_FLAGS = ("--group_initial_rebalance_delay_ms=100", "--consumer_group_heartbeat_interval_ms=500")
PASS, FAIL, NOT_APPLICABLE, PENDING = "pass", "fail", "n/a", "pending"


def reason_for(patterns, ident):
    """What {pattern (fnmatch): reason} says of a scenario, or None."""
    return next((reason for pattern, reason in patterns.items()
                 if fnmatch.fnmatchcase(ident, pattern)), None)


class Result:
    def __init__(self, outcome, why="", seconds=0.0):
        self.outcome, self.why, self.seconds = outcome, why, seconds


class Client:
    """A client of matrix.json. `places` fills the {here}, {bin} and {out} of its command."""

    def __init__(self, entry, root, places):
        self.name = entry["name"]
        self.entry = entry
        self.cannot_write = entry.get("cannot_write", {})
        self.cannot_read = entry.get("cannot_read", {})
        self.lacks = entry.get("lacks", {})
        command = [part.format(**places) for part in entry["run"]]
        self.main = driver.Driver(self.name, command, os.path.join(root, self.name + ".log"))
        self.second = driver.Driver(self.name + " (second)", command,
                                    os.path.join(root, self.name + "-second.log"))

    def not_applicable(self, ident):
        """The reason why a scenario is none for this client, or None."""
        return reason_for(self.entry.get("not_applicable", {}), ident)

    def close(self):
        self.main.close()
        self.second.close()


class FixedPorts(harness.Broker):
    """A broker that comes back on the ports it had, as clients expect it."""

    PER_PROTOCOL = 4  # the shared port and one a core, rounded up

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.first_port = None

    def command(self, *flags):
        given = [flag for flag in super().command(*flags) if "_port=0" not in flag]
        return given + [f"--kafka_port={self.first_port}", "--admin_port=0",
                        f"--native_port={self.first_port + self.PER_PROTOCOL}"]

    def start(self):
        if self.first_port is not None:
            return super().start()
        for _ in range(20):
            self.first_port = self._free_range()
            with contextlib.suppress(AssertionError):
                return super().start()
        raise AssertionError("no range of free ports")

    def _free_range(self):
        """Below the ports that the kernel gives to connections: one of those could take it meanwhile."""
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            lowest = int(file.read().split()[0])
        while True:
            first = random.randrange(max(1024, lowest - 15_000), lowest - 2 * self.PER_PROTOCOL)
            with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
                for port in range(first, first + 2 * self.PER_PROTOCOL):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                return first


class Cell:
    """What a scenario works with: one client and a broker."""

    def __init__(self, suite, client, ident):
        self.client, self.driver = client, client.main
        self._suite, self._ident, self._topics = suite, ident, 0
        self.broker = suite.broker
        self.reference = suite.reference
        self._own = None

    def own_broker(self):
        """A broker that the scenario may stop and kill."""
        self._own = self.broker = FixedPorts(self._suite.scratch(self.name()), 2, GROUP_FLAGS).start()
        return self._own

    def name(self):
        self._topics += 1
        return re.sub(r"[^a-z0-9-]", "-", f"{self.client.name}-{self._ident}-{self._topics}".lower())

    def topic(self, partitions=1, **configs):
        """A new topic, made by the command line."""
        name = self.name()
        configs.setdefault("retention_ms", -1)
        self.broker.create_topic(name, partitions, **configs)
        return name

    def partition(self, topic, number=0):
        for one in self.broker.page("/v1/partitions")["partitions"]:
            if one["topic"] == topic and one["partition"] == number:
                return one
        raise AssertionError(f"{topic}-{number} is not on /v1/partitions")

    def able(self, wanted):
        """Of these records the ones that the client can write, and read again."""
        cannot = set(self.client.cannot_write) | set(self.client.cannot_read)
        return [one for one in wanted if not one.needs & cannot]

    def ask(self, op, **arguments):
        return self.driver.ask(op, brokers=self.broker.kafka(), **arguments)

    def produce_arguments(self, topic, wanted, **options):
        arguments = {"codec": "none", "acks": "all", "idempotent": False, **options}
        return dict(arguments, brokers=self.broker.kafka(), topic=topic,
                    records=[one.to_json() for one in wanted])

    def produce(self, topic, wanted, **options):
        return self.driver.ask("produce", **self.produce_arguments(topic, wanted, **options))

    def seed(self, topic, wanted, **options):
        """Records that another client wrote before."""
        return self._suite.reference.ask("produce", **self.produce_arguments(topic, wanted, **options))

    def consume_arguments(self, topic, ranges, **options):
        return dict(options, brokers=self.broker.kafka(), topic=topic,
                    ranges=[[partition, first, end] for partition, (first, end) in ranges.items()])

    def consume(self, topic, ranges, **options):
        """The records of {partition: (first offset, end offset)}, each partition in its order."""
        answer = self.driver.ask("consume", **self.consume_arguments(topic, ranges, **options))
        return [R.Record.from_json(one) for one in answer["records"]]

    def close(self):
        if self._own is not None:
            self._own.kill()


class Suite:
    """The brokers and drivers of one run."""

    def __init__(self, root, places, names=None):
        with open(os.path.join(HERE, "matrix.json"), encoding="utf-8") as file:
            self.matrix = json.load(file)
        self.clients = {entry["name"]: Client(entry, root, places) for entry in self.matrix["clients"]
                        if names is None or entry["name"] in names or entry["name"] == REFERENCE}
        self.reference = self.clients[REFERENCE].second
        self._root = root
        self.run_pending = False
        self.broker = harness.Broker(self.scratch("shared"), 2, GROUP_FLAGS)
        self._written = {}  # writer -> [(topic, partition, records)], or the Exception

    def scratch(self, name):
        """A new directory for a broker, below the run's."""
        path = os.path.join(self._root, name)
        os.makedirs(path)
        return path

    def start(self):
        self.broker.start()

    def close(self):
        for client in self.clients.values():
            client.close()
        self.broker.kill()

    def pending(self, client, ident):
        """Why the broker cannot pass a scenario yet, or None."""
        if self.run_pending:
            return None
        return (reason_for(self.matrix.get("pending", {}), ident)
                or reason_for(client.entry.get("pending", {}), ident))

    def run(self, client, ident):
        """One cell of clients x scenarios."""
        reason = client.not_applicable(ident)
        if reason:
            return Result(NOT_APPLICABLE, reason)
        reason = self.pending(client, ident)
        if reason:
            return Result(PENDING, reason)
        cell = Cell(self, client, ident)
        return self._attempt(cell, lambda: scenarios.SCENARIOS[ident][0](cell))

    def _attempt(self, cell, function):
        since = time.monotonic()
        result = Result(PASS)
        try:
            function()
        except (AssertionError, driver.Refused, driver.Unsupported, OSError, KeyError) as error:
            result = Result(FAIL, f"{type(error).__name__}: {error}"[:6000])
        finally:
            for one in (cell.client.main, cell.client.second, self.reference):
                # An answer yet to come would be taken for that of the next operation, and members that
                # were not closed go on.
                if one.busy or result.outcome == FAIL:
                    one.kill()
            cell.close()
        result.seconds = time.monotonic() - since
        return result

    def run_exchange(self, writer, reader):
        """One cell of writers x readers: what `writer` wrote in every codec, as `reader` sees it."""
        cell = Cell(self, reader, "exchange")
        return self._attempt(cell, lambda: self._read_exchange(cell, writer))

    def _read_exchange(self, cell, writer):
        if writer.name not in self._written:
            self._written[writer.name] = self._write_exchange(writer)
        written = self._written[writer.name]
        if isinstance(written, Exception):
            raise AssertionError(f"{writer.name} could not write: {written}")
        for topic in sorted({topic for topic, _, _ in written}):
            parts = {partition: wanted for name, partition, wanted in written if name == topic}
            found = cell.consume(topic, {number: (0, len(wanted)) for number, wanted in parts.items()})
            for number, wanted in parts.items():
                self._compare(cell, [one for one in found if one.partition == number], wanted,
                              f"{writer.name}'s {topic}-{number} read by {cell.client.name}")

    @staticmethod
    def _compare(cell, found, wanted, what):
        scenarios.expect([one.offset for one in found], list(range(len(wanted))), what + ", offsets")
        pairs = [(a, b) for a, b in zip(found, wanted) if not b.needs & set(cell.client.cannot_read)]
        R.expect_same([a for a, _ in pairs], [b for _, b in pairs], what)
        for a, b in pairs:  # the clock of a writer that sets no times: all readers see the same
            b.time_ms = b.time_ms if b.time_ms is not None else a.time_ms

    def _write_exchange(self, writer):
        cell = Cell(self, writer, "exchange")
        written = []
        shared = None if "partitions" in writer.cannot_write else cell.topic(len(scenarios.CODECS))
        for number, codec in enumerate(scenarios.CODECS):
            if writer.not_applicable(f"{codec}-acks-all"):
                continue
            wanted = [one for one in R.of_every_shape() if not one.needs & set(writer.cannot_write)]
            topic, partition = (shared, number) if shared else (cell.topic(), 0)
            for one in wanted:
                one.partition = partition
                if "times" in writer.cannot_write:
                    one.time_ms = None
            try:
                cell.produce(topic, wanted, codec=codec)
            except (AssertionError, driver.Refused, driver.Unsupported) as error:
                return error
            written.append((topic, partition, wanted))
        return written
