#!/usr/bin/env python3
"""One, two and five cores: where partitions live, and that nothing crosses cores for clients that ask first."""

import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import kafka_wire  # noqa: E402

PARTITIONS = 10


class OnCores:
    """The cases of one number of cores; subclasses say how many."""

    cores = 0

    def setUp(self):
        self.broker = harness.Broker(harness.scratch("cores"), self.cores)
        self.addCleanup(self.broker.kill)
        self.broker.start()
        self.broker.create_topic("t", PARTITIONS)

    def metadata(self):
        return json.loads(harness.kcat(self.broker.kafka(), "-L", "-J", "-t", "t"))

    def produce_everywhere(self):
        for partition in range(PARTITIONS):
            records = harness.lines(200, seed=partition)
            harness.kcat(self.broker.kafka(), "-P", "-t", "t", "-p", str(partition),
                         stdin=harness.text(records))

    def test_the_ports_file_and_the_admin_page_name_every_core(self):
        self.assertEqual(len(self.broker.ports["cores"]), self.cores)
        ports = [self.broker.ports[name] for name in ("kafka", "native", "admin")]
        ports += [port for core in self.broker.ports["cores"] for port in core.values()]
        self.assertEqual(len(set(ports)), 3 + 2 * self.cores)
        self.assertEqual([core["core"] for core in self.broker.core_pages()],
                         list(range(self.cores)))

    def test_each_core_is_a_node_at_its_own_port(self):
        nodes = {node["id"]: node["name"] for node in self.metadata()["brokers"]}
        self.assertEqual(nodes, {core: self.broker.kafka(core) for core in range(self.cores)})

    def test_a_partitions_leader_is_the_node_of_its_core(self):
        leaders = {one["partition"]: one["leader"] for one in self.metadata()["topics"][0]["partitions"]}
        owners = {one["partition"]: one["core"] for one in self.broker.page("/v1/partitions")["partitions"]}
        self.assertEqual(leaders, owners)
        self.assertEqual(len(leaders), PARTITIONS)
        spread = [list(owners.values()).count(core) for core in range(self.cores)]
        self.assertLessEqual(max(spread) - min(spread), 1, "partitions are spread evenly")
        self.assertEqual([core["partitions"] for core in self.broker.core_pages()], spread)

    def test_clients_that_follow_metadata_never_hop(self):
        self.produce_everywhere()
        harness.kcat(self.broker.kafka(), "-C", "-t", "t", "-e", "-q")
        self.broker.ringtail("produce", "t", stdin=harness.text(harness.lines(1000)))
        consumed = self.broker.ringtail("consume", "t")
        self.assertEqual(len(consumed.splitlines()), PARTITIONS * 200 + 1000)
        self.assertGreater(self.broker.total("requests", "produce"), PARTITIONS)
        self.assertGreater(self.broker.total("requests", "fetch"), self.cores)
        self.assertEqual(self.broker.total("requests", "hops"), 0)

    def test_all_traffic_on_one_cores_port_hops_and_is_right(self):
        expected = {}
        with kafka_wire.Connection(self.broker.kafka_port(0)) as connection:
            for partition in range(PARTITIONS):
                values = harness.lines(50, seed=partition)
                self.assertEqual(connection.produce("t", partition, values), (0, 0))
                expected[partition] = values
            fetched = connection.fetch("t", [(partition, 0) for partition in range(PARTITIONS)])
        self.assertEqual([one[:3] for one in fetched], [(p, 0, 50) for p in range(PARTITIONS)])
        for partition, _, _, batches in fetched:
            with open(self.broker.segment("t", partition), "rb") as file:
                self.assertEqual(batches, file.read(len(batches)), "the log's own bytes")
            for value in expected[partition]:
                self.assertIn(value, batches)
        hops = self.broker.total("requests", "hops")
        if self.cores == 1:
            self.assertEqual(hops, 0)
        else:
            self.assertGreater(hops, 0)

    def test_a_fetch_waits_on_one_core_for_a_record_produced_on_another(self):
        with kafka_wire.Connection(self.broker.kafka_port(0)) as waiting:
            last = PARTITIONS - 1
            waiting.send(kafka_wire.fetch("t", [(p, 0) for p in range(PARTITIONS)], max_wait_ms=30_000))
            harness.wait_for(lambda: self.broker.total("requests", "fetch_waits") > 0, "a fetch that waits")
            harness.kcat(self.broker.kafka(), "-P", "-t", "t", "-p", str(last), stdin=b"news\n")
            fetched = {one[0]: one[3] for one in kafka_wire.parse_fetch(waiting.reply()[1])}
        self.assertIn(b"news", fetched[last])


class OneCoreTest(OnCores, unittest.TestCase):
    cores = 1


class TwoCoresTest(OnCores, unittest.TestCase):
    cores = 2


class FiveCoresTest(OnCores, unittest.TestCase):
    cores = 5


class AdvertiseBrokerTest(unittest.TestCase):
    def test_one_node_at_the_shared_port_serves_every_partition(self):
        with harness.Broker(harness.scratch("broker"), 2, ["--advertise=broker"]) as broker:
            broker.create_topic("t", 6)
            metadata = json.loads(harness.kcat(broker.kafka(), "-L", "-J", "-t", "t"))
            self.assertEqual(metadata["brokers"], [{"id": 0, "name": broker.kafka()}])
            self.assertEqual({one["leader"] for one in metadata["topics"][0]["partitions"]}, {0})
            records = harness.lines(3000)
            harness.kcat(broker.kafka(), "-P", "-t", "t", stdin=harness.text(records))
            found = harness.kcat(broker.kafka(), "-C", "-t", "t", "-e", "-q").splitlines()
            self.assertEqual(sorted(found), sorted(records))
            self.assertEqual(sorted(broker.ringtail("consume", "t").splitlines()), sorted(records))


if __name__ == "__main__":
    harness.main()
