#!/usr/bin/env python3
"""Very many connections: what an idle one costs, and what happens when there is room for no more."""

import os
import resource
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import kafka_wire as wire  # noqa: E402

CONNECTIONS_MAX = 10_000
CONNECTIONS_MIN = 1_000
BYTES_EACH_MAX = 8 << 10
SPARE_FILES = 1_000


def metadata(topic, correlation=1):
    """Metadata version 1."""
    return wire.request(wire.METADATA, 1, correlation, struct.pack(">i", 1) + wire.string(topic))


def raise_file_limit(count):
    """How many open files this process and what it starts may have now."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, count), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return limit
        except (ValueError, PermissionError):
            pass
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class ConnectionsTest(unittest.TestCase):
    def start(self, **options):
        broker = harness.Broker(harness.scratch("connections"), **options)
        self.addCleanup(broker.kill)
        return broker.start()

    def connect(self, broker):
        connection = wire.Connection(broker.kafka_port())
        self.addCleanup(connection.socket.close)
        return connection

    def ask(self, connection):
        connection.send(wire.api_versions(5) + metadata("t", 6))
        self.assertEqual(connection.reply()[0], 5)
        self.assertEqual(connection.reply()[0], 6)

    def test_ten_thousand_idle_connections(self):
        # The broker gives at most half of its descriptors to connections.
        files = raise_file_limit(2 * CONNECTIONS_MAX + SPARE_FILES)
        connections = min(CONNECTIONS_MAX, (files - SPARE_FILES) // 2)
        if connections < CONNECTIONS_MIN:
            self.skipTest(f"needs {2 * CONNECTIONS_MIN + SPARE_FILES} open files")
        broker = self.start(cores=1, files_max=files)
        broker.create_topic("t")
        for _ in range(100):
            self.ask(self.connect(broker))
        before = broker.rss_anon_bytes()
        for _ in range(connections - 100):
            self.ask(self.connect(broker))

        def each():
            return (broker.rss_anon_bytes() - before) / (connections - 100)
        # What the last requests were read into is given back when the core is idle.
        harness.wait_for(lambda: each() <= BYTES_EACH_MAX, f"at most {BYTES_EACH_MAX} bytes for each")
        print(f"bytes per idle connection, of {connections}: {each():.0f}", flush=True)
        self.assertEqual(broker.total("listener", "connections"), connections)

    def test_without_room_for_more_those_that_are_open_are_served(self):
        broker = self.start(cores=1, files_max=300)
        broker.create_topic("t")
        held = []
        while True:
            connection = self.connect(broker)
            try:
                self.ask(connection)
            except (ConnectionError, OSError):
                break
            held.append(connection)
            self.assertLess(len(held), 300)
        self.assertGreater(len(held), 50)
        for _ in range(200):  # who comes now is turned away, again and again
            self.assertTrue(self.connect(broker).ends())
        for connection in held:
            self.ask(connection)
        self.assertIn("a further one", broker.log())
        self.assertLess(broker.log().count("a further one"), 20, "said once in a while")
        self.assertGreater(broker.total("listener", "refused"), 150)
        for connection in held[:10]:
            connection.socket.close()
        harness.wait_for(lambda: broker.total("listener", "connections") <= len(held) - 10, "room")
        self.ask(self.connect(broker))


if __name__ == "__main__":
    harness.main()
