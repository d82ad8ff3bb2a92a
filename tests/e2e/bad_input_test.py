#!/usr/bin/env python3
"""What is no request costs its sender the connection, and nobody else anything."""

import os
import socket
import struct
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import kafka_wire  # noqa: E402

HTTP = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
TLS = bytes.fromhex("160301020001 0001fc0303".replace(" ", "")) + bytes(500)
RSS_BYTES_MAX = 160 << 20


class BadInputTest(unittest.TestCase):
    """A bystander's connection is used before and after each case: it must not notice."""

    @classmethod
    def setUpClass(cls):
        cls.broker = harness.Broker(harness.scratch("bad"), 2, ["--connection_idle_s=2"])
        cls.addClassCleanup(cls.broker.kill)
        cls.broker.start()
        cls.broker.create_topic("t", 2)

    def setUp(self):
        self.bystander = kafka_wire.Connection(self.broker.kafka_port())
        self.addCleanup(self.bystander.socket.close)
        self.assertEqual(self.bystander.produce("t", 0, [b"before"])[0], 0)

    def check_unharmed(self):
        """Nobody else notices: the bystander's connection, a new one, and the native protocol."""
        self.assertIsNone(self.broker.process.poll(), "the broker lives")
        self.assertEqual(self.bystander.produce("t", 0, [b"after"])[0], 0)
        with kafka_wire.Connection(self.broker.kafka_port()) as fresh:
            self.assertEqual(fresh.produce("t", 1, [b"fresh"])[0], 0)
        self.assertIn(b"t ", self.broker.ringtail("topic", "list"))

    def closes(self, port, data):
        with kafka_wire.Connection(port) as connection:
            connection.send(data)
            self.assertTrue(connection.ends())
        self.check_unharmed()

    def kafka_closes(self, data):
        self.closes(self.broker.kafka_port(), data)

    def native_closes(self, data):
        self.closes(self.broker.native_port(), data)

    def test_http_on_the_kafka_port(self):
        self.kafka_closes(HTTP)
        self.assertIn("is this TLS or HTTP", self.broker.log())

    def test_http_on_the_native_port(self):
        self.native_closes(HTTP)

    def test_tls_on_the_kafka_port(self):
        self.kafka_closes(TLS)

    def test_tls_on_the_native_port(self):
        self.native_closes(TLS)

    def test_a_huge_length_on_the_kafka_port(self):
        before = self.broker.rss_anon_bytes()
        self.kafka_closes(struct.pack(">i", 0x7FFFFFFF) + bytes(1000))
        self.assertLess(self.broker.rss_anon_bytes() - before, 16 << 20)

    def test_a_huge_length_on_the_native_port(self):
        before = self.broker.rss_anon_bytes()
        self.native_closes(struct.pack("<II", 10, 0xFFFFFFFF) + bytes(1000))
        self.native_closes(struct.pack("<II", 0xFFFFFFFF, 0) + bytes(1000))
        self.assertLess(self.broker.rss_anon_bytes() - before, 16 << 20)

    def test_a_negative_and_a_short_length(self):
        self.kafka_closes(struct.pack(">i", -1) + bytes(100))
        self.kafka_closes(struct.pack(">i", 3) + bytes(3))

    def test_an_api_that_is_not_offered(self):
        self.kafka_closes(kafka_wire.request(999, 0, 1, b""))

    def test_a_body_that_ends_early(self):
        whole = kafka_wire.fetch("t", [(0, 0)])[4:-7]
        self.kafka_closes(struct.pack(">i", len(whole)) + whole)

    def test_an_array_that_claims_more_than_the_frame_holds(self):
        body = struct.pack(">iiiibi", -1, 0, 1, 1 << 20, 0, 0x7FFFFFFF)
        self.kafka_closes(kafka_wire.request(kafka_wire.FETCH, 4, 1, body))

    def test_a_native_header_that_is_no_message(self):
        self.native_closes(struct.pack("<II", 8, 0) + b"\xff" * 8)

    def test_a_batch_with_a_wrong_checksum_is_refused_and_the_connection_lives(self):
        batch = bytearray(kafka_wire.batch([b"value"]))
        batch[-1] ^= 1
        with kafka_wire.Connection(self.broker.kafka_port()) as connection:
            body = connection.call(kafka_wire.produce("t", 0, bytes(batch)))
            self.assertEqual(struct.unpack_from(">h", body, 4 + 2 + 1 + 4 + 4), (2,), "CORRUPT_MESSAGE")
            self.assertEqual(connection.produce("t", 0, [b"value"])[0], 0)
        self.check_unharmed()

    def test_a_batch_with_a_wrong_count_is_refused(self):
        batch = bytearray(kafka_wire.batch([b"one", b"two"]))
        struct.pack_into(">i", batch, 57, 100)
        struct.pack_into(">I", batch, 17, kafka_wire.crc32c(batch[21:]))
        with kafka_wire.Connection(self.broker.kafka_port()) as connection:
            body = connection.call(kafka_wire.produce("t", 0, bytes(batch)))
            self.assertNotEqual(struct.unpack_from(">h", body, 4 + 2 + 1 + 4 + 4), (0,))
        self.check_unharmed()

    def test_half_a_frame_and_then_silence_is_closed_in_time(self):
        with kafka_wire.Connection(self.broker.kafka_port()) as kafka, \
                kafka_wire.Connection(self.broker.native_port()) as native:
            kafka.send(kafka_wire.api_versions()[:9])
            native.send(struct.pack("<II", 100, 0) + b"half")
            self.assertTrue(kafka.ends())
            self.assertTrue(native.ends())
        # The bystander was silent, too: it is idle by now, and that is its own fault.
        with kafka_wire.Connection(self.broker.kafka_port()) as fresh:
            self.assertEqual(fresh.produce("t", 1, [b"fresh"])[0], 0)

    def test_one_byte_at_a_time_is_served(self):
        with kafka_wire.Connection(self.broker.kafka_port()) as connection:
            for frame in (kafka_wire.api_versions(7), kafka_wire.fetch("t", [(0, 0)], 8)):
                for byte in frame:
                    connection.send(bytes([byte]))
            self.assertEqual(connection.reply()[0], 7)
            correlation, body = connection.reply()
            self.assertEqual((correlation, kafka_wire.parse_fetch(body)[0][1]), (8, 0))
        self.check_unharmed()

    def test_one_byte_at_a_time_is_served_on_the_native_port(self):
        """The command line's own requests, through a proxy that hands on single bytes."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            thread = threading.Thread(target=self._proxy, args=(listener,))
            thread.start()
            try:
                address = "127.0.0.1:%d" % listener.getsockname()[1]
                out = harness.check([harness.RINGTAIL, "-b", address, "topic", "list"])
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()
        self.assertIn(b"t ", out)

    def _proxy(self, listener):
        """Serves one connection after the other until the listener is shut down."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            broker = kafka_wire.Connection(self.broker.native_port())
            back = threading.Thread(target=self._hand_back, args=(broker.socket, client))
            back.start()
            while True:
                data = client.recv(65536)
                if not data:
                    break
                for byte in data:
                    broker.send(bytes([byte]))
            broker.socket.shutdown(socket.SHUT_WR)
            back.join()
            client.close()
            broker.socket.close()

    @staticmethod
    def _hand_back(broker, client):
        try:
            while data := broker.recv(65536):
                client.sendall(data)
        except OSError:
            pass

    def test_pipelined_requests_are_answered_in_order(self):
        with kafka_wire.Connection(self.broker.kafka_port(0)) as connection:
            frames = []
            for number in range(500):
                partition = number % 2
                frames.append(kafka_wire.api_versions(number) if number % 3 else
                              kafka_wire.produce("t", partition, kafka_wire.batch([b"x"]), number))
            sender = threading.Thread(target=connection.send, args=(b"".join(frames),))
            sender.start()
            self.assertEqual([connection.reply()[0] for _ in range(500)], list(range(500)))
            sender.join()


class SlowPeerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = harness.Broker(harness.scratch("slow"), 1, ["--send_timeout_s=2"])
        cls.addClassCleanup(cls.broker.kill)
        cls.broker.start()
        cls.broker.create_topic("t")
        cls.broker.create_topic("other")
        cls.broker.ringtail("bench", "produce", "t", "--records", "20000", "--record-bytes", "2000",
                            "--batch-bytes", "200000")

    def test_a_peer_that_never_reads_100_mb_costs_bounded_memory_and_nobody_else(self):
        with kafka_wire.Connection(self.broker.kafka_port(), receive_buffer=4096) as deaf:
            for number in range(4):
                deaf.send(kafka_wire.fetch("t", [(0, 0)], number, max_bytes=32 << 20))
            harness.wait_for(lambda: self.broker.total("sender", "socket_waits") > 0, "a full socket")
            with kafka_wire.Connection(self.broker.kafka_port()) as other:
                self.assertEqual(other.produce("other", 0, [b"meanwhile"])[0], 0)
                self.assertEqual(len(kafka_wire.fetch_all(self.broker.kafka_port(), "t")) > 40_000_000, True)
            self.assertLess(self.broker.rss_anon_bytes(), RSS_BYTES_MAX)
        harness.wait_for(lambda: not self.broker.page("/v1/connections")["connections"], "no connection")

    def test_many_peers_that_never_read_small_replies(self):
        deaf = [kafka_wire.Connection(self.broker.kafka_port(), receive_buffer=4096) for _ in range(20)]
        frames = b"".join(kafka_wire.api_versions(n) for n in range(2000))
        for connection in deaf:
            self.addCleanup(connection.socket.close)
            connection.socket.setblocking(False)
            try:
                while True:
                    connection.socket.send(frames)
            except BlockingIOError:
                pass
        self.assertLess(self.broker.rss_anon_bytes(), RSS_BYTES_MAX)
        with kafka_wire.Connection(self.broker.kafka_port()) as other:
            self.assertEqual(other.produce("other", 0, [b"meanwhile"])[0], 0)

    def test_a_peer_that_leaves_in_the_middle_of_a_reply(self):
        for _ in range(20):
            with kafka_wire.Connection(self.broker.kafka_port(), receive_buffer=4096) as connection:
                connection.send(kafka_wire.fetch("t", [(0, 0)], max_bytes=32 << 20))
                connection.receive(100)
        self.assertGreater(len(kafka_wire.fetch_all(self.broker.kafka_port(), "t")), 40_000_000)

    def test_requests_larger_than_a_connections_budget_are_refused(self):
        with kafka_wire.Connection(self.broker.kafka_port()) as connection:
            connection.send(struct.pack(">i", 150 << 20))
            self.assertTrue(connection.ends())


if __name__ == "__main__":
    harness.main()
