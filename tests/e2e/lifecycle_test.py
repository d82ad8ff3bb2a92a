#!/usr/bin/env python3
"""Start, stop, kill and start again; what is refused, and what a service manager is told."""

import json
import os
import signal
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import kafka_wire  # noqa: E402
from rdkafka_load import Load, consume  # noqa: E402

PARTITIONS = 4


class KillTest(unittest.TestCase):
    def kill_under_load(self, cores, cores_after):
        broker = harness.Broker(harness.scratch("kill"), cores)
        self.addCleanup(broker.kill)
        broker.start()
        broker.create_topic("t", PARTITIONS)
        load = Load(broker, "t", PARTITIONS)
        try:
            harness.wait_for(lambda: load.count > 5000, "5000 acknowledged records")
            broker.kill()
        finally:
            acked = load.stop()
        broker.cores = cores_after
        broker.start()
        found = consume(broker, "t")
        for partition, values in acked.items():
            self.assertEqual(found[partition], [str(i) for i in range(len(found[partition]))],
                             "in order, once each")
            self.assertGreaterEqual(len(found[partition]), len(values), "all that was acknowledged")
        broker.ringtail("produce", "t", stdin=b"goes on\n")
        self.assertIn("goes on", sum(consume(broker, "t").values(), []))

    def test_nothing_acknowledged_is_lost_on_one_core(self):
        self.kill_under_load(1, 1)

    def test_nothing_acknowledged_is_lost_on_two_cores(self):
        self.kill_under_load(2, 2)

    def test_nothing_acknowledged_is_lost_when_more_cores_recover_it(self):
        self.kill_under_load(2, 5)

    def test_a_torn_tail_is_cut_and_said_so(self):
        with harness.Broker(harness.scratch("torn")) as broker:
            broker.create_topic("t")
            broker.ringtail("produce", "t", stdin=b"one\n")
            broker.ringtail("produce", "t", stdin=b"two\n")
            broker.kill()
            path = broker.segment("t")
            with open(path, "rb") as file:
                end = sum(len(each) for _, last, each in kafka_wire.walk(file.read()) if last >= 0 and any(each))
            with open(path, "r+b") as file:
                file.seek(end)
                file.write(kafka_wire.batch([b"torn" * 100])[:200])
            broker.start()
            self.assertEqual(broker.ringtail("consume", "t"), b"one\ntwo\n")
            self.assertRegex(broker.log(), "t-0: .*cut 200 bytes")


class RestartTest(unittest.TestCase):
    def setUp(self):
        self.broker = harness.Broker(harness.scratch("restart"), 1)
        self.addCleanup(self.broker.kill)
        self.broker.start()
        self.broker.create_topic("t", PARTITIONS)
        self.records = harness.lines(5000)
        self.broker.ringtail("produce", "t", stdin=harness.text(self.records))

    def all_records(self):
        return sorted(self.broker.ringtail("consume", "t").splitlines())

    def test_a_second_start_serves_the_same_data(self):
        before = consume(self.broker, "t")
        self.broker.restart()
        self.assertEqual(consume(self.broker, "t"), before)
        self.assertIn("stopped", self.broker.log())
        self.assertNotIn(" error ", self.broker.log())

    def test_other_numbers_of_cores_serve_the_same_data(self):
        for cores in (5, 2, 1):
            self.broker.restart(cores=cores)
            self.assertEqual(self.all_records(), sorted(self.records), f"{cores} cores")
            more = harness.lines(100, seed=cores)
            self.broker.ringtail("produce", "t", stdin=harness.text(more))
            self.records += more
            pages = self.broker.page("/v1/partitions")["partitions"]
            self.assertEqual({one["core"] for one in pages}, set(range(min(cores, PARTITIONS))))

    def test_sigint_stops_it_cleanly_too(self):
        self.assertEqual(self.broker.stop(signal.SIGINT), 0)
        self.assertIn("interrupted: stopping", self.broker.log())

    def test_deleted_topics_stay_deleted_and_their_files_are_gone(self):
        self.broker.ringtail("topic", "delete", "t")
        self.broker.restart()
        self.assertEqual(self.broker.ringtail("topic", "list"), b"")
        self.assertEqual([name for name in os.listdir(self.broker.data) if name.startswith("t-")], [])

    def test_a_topic_made_anew_is_empty(self):
        self.broker.ringtail("topic", "delete", "t")
        self.broker.create_topic("t", 1)
        self.assertEqual(self.broker.ringtail("consume", "t"), b"")
        self.broker.restart()
        self.assertEqual(self.broker.ringtail("consume", "t"), b"")

    def test_producing_goes_on_across_a_restart_with_an_idempotent_producer_id(self):
        self.broker.stop()
        self.broker.start()
        self.broker.create_topic("i")
        harness.rdkafka("idempotent", self.broker.kafka(), "i", 1000)

    def test_a_client_that_long_polls_does_not_hold_up_the_stop(self):
        with kafka_wire.Connection(self.broker.kafka_port()) as connection:
            self.broker.create_topic("empty")
            connection.send(kafka_wire.fetch("empty", [(0, 0)], max_wait_ms=300_000))
            harness.wait_for(lambda: self.broker.total("requests", "fetch_waits") > 0, "a fetch that waits")
            self.assertEqual(self.broker.stop(timeout=9), 0, "within less than the grace of 10 s")
            self.assertEqual(kafka_wire.parse_fetch(connection.reply()[1])[0][3], b"")
            self.assertTrue(connection.ends())

    def test_a_stop_under_load_is_clean_and_loses_nothing(self):
        self.broker.create_topic("load", PARTITIONS)
        load = Load(self.broker, "load", PARTITIONS)
        try:
            harness.wait_for(lambda: load.count > 2000, "2000 acknowledged records")
            self.assertEqual(self.broker.stop(), 0)
        finally:
            acked = load.stop()
        self.broker.start()
        found = consume(self.broker, "load")
        for partition, values in acked.items():
            self.assertEqual(found.get(partition, [])[:len(values)], values)


class RefusalTest(unittest.TestCase):
    def setUp(self):
        self.root = harness.scratch("refusal")

    def refused(self, *flags, rc=2, data=None):
        broker = harness.Broker(self.root)
        broker.data = data or broker.data
        done = harness.execute(broker.command(*flags), timeout=30)
        self.assertEqual(done.rc, rc, done.text)
        return done.text

    def test_a_second_instance_on_the_same_directory_is_refused_with_the_pid(self):
        with harness.Broker(self.root) as broker:
            broker.ports_file += ".second"
            done = harness.execute(broker.command())
            self.assertEqual(done.rc, 1)
            self.assertIn(f"in use by process {broker.process.pid}", done.text)
            self.assertFalse(os.path.exists(broker.ports_file))

    def test_a_directory_that_cannot_be_made(self):
        blocker = os.path.join(self.root, "file")
        with open(blocker, "w", encoding="utf-8"):
            pass
        text = self.refused(rc=1, data=blocker + "/data")
        self.assertIn("cannot make the data directory", text)
        self.assertIn("Not a directory", text)

    def test_a_directory_that_cannot_be_written(self):
        text = self.refused(rc=1, data="/proc/self")
        self.assertRegex(text, "cannot .*(/proc/self|lock file)")

    def test_an_unknown_flag_names_the_nearest(self):
        self.assertIn('did you mean "--cores"?', self.refused("--core=2"))

    def test_a_value_out_of_range_names_the_range(self):
        self.assertIn("0..65535", self.refused("--kafka_port=70000"))
        self.assertIn("1..", self.refused("--cores=0"))

    def test_a_value_that_is_none_of_the_allowed_names_them(self):
        self.assertIn("auto|splice|sendfile|mapped|send_zc|copy", self.refused("--send_path=fast"))

    def test_an_address_beyond_loopback_needs_consent(self):
        self.assertIn("--allow_unauthenticated", self.refused("--listen=0.0.0.0"))

    def test_a_port_that_is_taken_is_named(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            text = self.refused(f"--kafka_port={port}", rc=1)
            self.assertIn(str(port), text)

    def test_a_port_of_another_broker_is_refused_though_cores_share_it(self):
        with harness.Broker(self.root) as broker:
            other = harness.Broker(harness.scratch("other"))
            done = harness.execute(other.command(f"--kafka_port={broker.kafka_port()}"), timeout=30)
            self.assertEqual(done.rc, 1, done.text)
            self.assertIn(str(broker.kafka_port()), done.text)

    def test_help_and_version_end_with_0(self):
        done = harness.execute([harness.RINGTAILD, "--help"])
        self.assertEqual(done.rc, 0)
        for word in ("--data_dir", "--send_path", "--advertise", "9092", "7092", "6092"):
            self.assertIn(word, done.text)
        done = harness.execute([harness.RINGTAILD, "--version"])
        self.assertEqual(done.rc, 0)
        self.assertRegex(done.text, r"\d+\.\d+\.\d+ \(build [0-9a-f]{8,}\)")

    def test_a_configuration_file_and_flags_beat_it(self):
        path = os.path.join(self.root, "ringtail.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write('send_path: "copy"\nlog_json: true\n')
        with harness.Broker(self.root, flags=["--config=" + path, "--send_path=splice"]) as broker:
            summary = json.loads(broker.log().splitlines()[0])
            self.assertIn("send_path=splice", json.dumps(summary))
        with open(path, "a", encoding="utf-8") as file:
            file.write("no_such_thing: 1\n")
        self.assertIn("no_such_thing", self.refused("--config=" + path))


class ServiceManagerTest(unittest.TestCase):
    def test_readiness_and_stopping_are_told(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(harness.DEADLINE_S)
            name = f"ringtail-e2e-{os.getpid()}"
            manager.bind("\0" + name)
            with harness.Broker(harness.scratch("notify"), env={"NOTIFY_SOCKET": "@" + name}) as broker:
                self.assertIn(b"READY=1", manager.recv(4096))
                self.assertEqual(broker.http("/readyz")[0], 200)
                self.assertEqual(broker.stop(), 0)
                self.assertIn(b"STOPPING=1", manager.recv(4096))

    def test_a_socket_in_the_file_system_is_told_too(self):
        path = harness.tempfile.mkdtemp(dir="/tmp") + "/notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(harness.DEADLINE_S)
            manager.bind(path)
            self.addCleanup(os.rmdir, os.path.dirname(path))
            self.addCleanup(os.unlink, path)
            with harness.Broker(harness.scratch("notify"), env={"NOTIFY_SOCKET": path}):
                self.assertIn(b"READY=1", manager.recv(4096))

    def test_the_ports_file_is_replaced_as_a_whole(self):
        broker = harness.Broker(harness.scratch("ports"), 2)
        self.addCleanup(broker.kill)
        broker.start()
        first = broker.ports
        broker.stop()
        with open(broker.log_file, "ab") as log:
            broker.process = subprocess.Popen(broker.command(), stdout=log, stderr=log)

        def changed():
            with open(broker.ports_file, encoding="utf-8") as file:
                ports = json.load(file)
            self.assertEqual(len(ports["cores"]), 2)
            return ports if ports != first else None
        broker.ports = harness.wait_for(changed, "new ports in the file")
        self.assertEqual(broker.http("/readyz")[0], 200, "once it is written, the broker serves")
        self.assertEqual(os.listdir(broker.root).count("ports.json.tmp"), 0)

    def test_health_pages(self):
        with harness.Broker(harness.scratch("health")) as broker:
            self.assertEqual(broker.http("/healthz")[0], 200)
            self.assertEqual(broker.http("/readyz")[0], 200)
            self.assertEqual(broker.http("/absent")[0], 404)
            self.assertIn("ringtail_produce_requests_total", broker.http("/metrics")[1])
            self.assertEqual(broker.page("/v1/connections")["connections"], [])


class DescriptorLimitTest(unittest.TestCase):
    def test_out_of_descriptors_it_keeps_serving_and_says_so(self):
        broker = harness.Broker(harness.scratch("files"), 1, files_max=64)
        self.addCleanup(broker.kill)
        broker.start()
        broker.create_topic("t", 1)
        with kafka_wire.Connection(broker.kafka_port()) as early:
            self.assertEqual(early.produce("t", 0, [b"before"]), (0, 0))
            crowd = [kafka_wire.Connection(broker.kafka_port()) for _ in range(100)]
            harness.wait_for(lambda: "is refused" in broker.log(), "the log says so")
            self.assertIn("ulimit -n", broker.log())
            self.assertEqual(early.produce("t", 0, [b"while"]), (0, 1))
            self.assertEqual(early.fetch("t", [(0, 0)])[0][:3], (0, 0, 2))
            for connection in crowd:
                connection.socket.close()
        harness.wait_for(lambda: not broker.page("/v1/connections")["connections"], "they are gone")
        with kafka_wire.Connection(broker.kafka_port()) as late:
            self.assertEqual(late.produce("t", 0, [b"after"]), (0, 2))
        self.assertEqual(broker.stop(), 0)

    def test_more_partitions_than_descriptors(self):
        broker = harness.Broker(harness.scratch("partitions"), 1, files_max=256)
        self.addCleanup(broker.kill)
        broker.start()
        broker.create_topic("t", 300)
        with kafka_wire.Connection(broker.kafka_port()) as connection:
            for partition in range(300):
                self.assertEqual(connection.produce("t", partition, [b"%d" % partition]), (0, 0))
            for partition in range(300):
                self.assertIn(b"%d" % partition, connection.fetch("t", [(partition, 0)])[0][3])
        broker.restart()
        self.assertEqual(len(broker.ringtail("consume", "t").splitlines()), 300)


if __name__ == "__main__":
    harness.main()
