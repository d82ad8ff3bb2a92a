"""As much of Kafka's protocol as a test needs to say exactly what goes over the wire, and in which pieces.

Field orders: https://kafka.apache.org/protocol (the versions named below). Real clients are kcat and
rdkafka_client; this one is for pipelining, broken frames, and looking at the very bytes of a fetch.
"""

import socket
import struct

PRODUCE, FETCH, METADATA, API_VERSIONS, CREATE_TOPICS, DELETE_TOPICS, DELETE_RECORDS = 0, 1, 3, 18, 19, 20, 21
BATCH_HEADER_BYTES = 61


def string(value):
    return struct.pack(">h", len(value)) + value.encode()


def request(api, version, correlation, body):
    """A frame with request header version 1."""
    head = struct.pack(">hhi", api, version, correlation) + string("e2e")
    return struct.pack(">i", len(head) + len(body)) + head + body


def api_versions(correlation=1):
    return request(API_VERSIONS, 0, correlation, b"")


def fetch(topic, partitions, correlation=1, max_bytes=8 << 20, min_bytes=1, max_wait_ms=0):
    """Fetch version 4; partitions: (index, offset) pairs."""
    body = struct.pack(">iiiibi", -1, max_wait_ms, min_bytes, max_bytes, 0, 1) + string(topic)
    body += struct.pack(">i", len(partitions))
    for index, offset in partitions:
        body += struct.pack(">iqi", index, offset, max_bytes)
    return request(FETCH, 4, correlation, body)


def produce(topic, index, batch, correlation=1, acks=-1):
    """Produce version 7, the first that may carry zstd, of one batch to one partition."""
    body = struct.pack(">hhii", -1, acks, 30000, 1) + string(topic)
    body += struct.pack(">iii", 1, index, len(batch)) + batch
    return request(PRODUCE, 7, correlation, body)


def delete_records(topic, index, before, correlation=1):
    """DeleteRecords version 0 of one partition."""
    body = struct.pack(">i", 1) + string(topic) + struct.pack(">iiqi", 1, index, before, 30000)
    return request(DELETE_RECORDS, 0, correlation, body)


def create_topic(topic, partitions, configs, correlation=1):
    """CreateTopics version 2, of one topic."""
    body = struct.pack(">i", 1) + string(topic) + struct.pack(">ihii", partitions, 1, 0, len(configs))
    for name, value in configs.items():
        body += string(name) + string(str(value))
    return request(CREATE_TOPICS, 2, correlation, body + struct.pack(">i?", 120_000, False))


def delete_topic(topic, correlation=1):
    """DeleteTopics version 1, of one topic."""
    return request(DELETE_TOPICS, 1, correlation, struct.pack(">i", 1) + string(topic) + struct.pack(">i", 120_000))


def metadata(topic, correlation=1):
    """Metadata version 1, of one topic or none."""
    named = struct.pack(">i", 0) if topic is None else struct.pack(">i", 1) + string(topic)
    return request(METADATA, 1, correlation, named)


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def varint(value):
    value = (value << 1) ^ (value >> 63)
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def batch(values, timestamp_ms=1_700_000_000_000):
    """A RecordBatch v2 without compression; records have no key."""
    records = b""
    for delta, value in enumerate(values):
        record = b"\0" + varint(0) + varint(delta) + varint(-1) + varint(len(value)) + value + varint(0)
        records += varint(len(record)) + record
    checked = struct.pack(">hiqqqhii", 0, len(values) - 1, timestamp_ms, timestamp_ms, -1, -1, -1,
                          len(values)) + records
    return struct.pack(">qiibI", 0, 9 + len(checked), 0, 2, crc32c(checked)) + checked


def walk(batches):
    """(base offset, last offset, bytes) of each whole batch."""
    at = 0
    while at + BATCH_HEADER_BYTES <= len(batches):
        base, length = struct.unpack_from(">qi", batches, at)
        last = base + struct.unpack_from(">i", batches, at + 23)[0]
        yield base, last, batches[at:at + 12 + length]
        at += 12 + length


class Connection:
    """One TCP connection to a Kafka listener."""

    def __init__(self, port, timeout=60, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self, count):
        data = bytearray(count)
        view = memoryview(data)
        got = 0
        while got < count:
            now = self.socket.recv_into(view[got:])
            if now == 0:
                raise ConnectionError(f"closed after {got} of {count} bytes")
            got += now
        return bytes(data)

    def reply(self):
        """(correlation id, body) of the next response."""
        size, correlation = struct.unpack(">ii", self.receive(8))
        return correlation, self.receive(size - 4)

    def ends(self):
        """Reads what is left; True when the broker closed the connection."""
        try:
            while self.socket.recv(65536):
                pass
            return True
        except ConnectionError:
            return True

    def call(self, frame):
        self.send(frame)
        return self.reply()[1]

    def fetch(self, topic, partitions, **options):
        """[(partition, error, high watermark, batches)]"""
        return parse_fetch(self.call(fetch(topic, partitions, **options)))

    def produce(self, topic, index, values, acks=-1):
        """(error, base offset)"""
        return self.produce_batch(topic, index, batch(values), acks)

    def produce_batch(self, topic, index, sent, acks=-1):
        """The same with a batch that is made already."""
        body = self.call(produce(topic, index, sent, acks=acks))
        at = 4 + 2 + len(topic) + 4 + 4
        return struct.unpack_from(">hq", body, at)


def parse_fetch(body):
    found = []
    topics, = struct.unpack_from(">i", body, 4)
    at = 8
    for _ in range(topics):
        length, = struct.unpack_from(">h", body, at)
        at += 2 + length
        partitions, = struct.unpack_from(">i", body, at)
        at += 4
        for _ in range(partitions):
            index, error, watermark, _, aborted = struct.unpack_from(">ihqqi", body, at)
            at += 26 + max(aborted, 0) * 16
            size, = struct.unpack_from(">i", body, at)
            at += 4
            found.append((index, error, watermark, body[at:at + max(size, 0)]))
            at += max(size, 0)
    return found


def fetch_all(port, topic, partition=0, max_bytes=8 << 20, offset=0):
    """All batches of a partition, from an offset on, as they are in its log."""
    data = bytearray()
    with Connection(port) as connection:
        while True:
            _, error, watermark, batches = connection.fetch(
                topic, [(partition, offset)], max_bytes=max_bytes)[0]
            if error != 0:
                raise AssertionError(f"fetch at {offset}: error {error}")
            if offset >= watermark:
                return bytes(data)
            whole = 0
            for _, last, each in walk(batches):
                offset = last + 1
                whole += len(each)
            if whole != len(batches) or not batches:
                raise AssertionError(f"fetch at {offset}: {len(batches)} bytes, {whole} in whole batches")
            data += batches


# --- Consumer groups of KIP-848: flexible versions (KIP-482).

FIND_COORDINATOR, CONSUMER_GROUP_HEARTBEAT = 10, 68


def find_coordinator(group, correlation=1):
    """FindCoordinator version 0."""
    return request(FIND_COORDINATOR, 0, correlation, string(group))


def uvarint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def compact(value):
    """A nullable string."""
    return uvarint(0) if value is None else uvarint(len(value) + 1) + value.encode()


def compact_array(items):
    """A nullable array of encoded items."""
    return uvarint(0) if items is None else uvarint(len(items) + 1) + b"".join(items)


def consumer_heartbeat(group, member, epoch, topics=None, regex=None, owned=None, rebalance_timeout_ms=-1,
                       instance=None, correlation=1):
    """ConsumerGroupHeartbeat version 1; owned: {topic id: partitions}."""
    head = struct.pack(">hhi", CONSUMER_GROUP_HEARTBEAT, 1, correlation) + string("e2e") + b"\0"
    if owned is not None:
        owned = [topic + compact_array([struct.pack(">i", each) for each in partitions]) + b"\0"
                 for topic, partitions in owned.items()]
    body = compact(group) + compact(member) + struct.pack(">i", epoch) + compact(instance) + compact(None)
    body += struct.pack(">i", rebalance_timeout_ms)
    body += compact_array(None if topics is None else [compact(topic) for topic in topics])
    body += compact(regex) + compact(None) + compact_array(owned) + b"\0"
    return struct.pack(">i", len(head) + len(body)) + head + body


class Flexible:
    """Reads the body of a response, after the correlation id."""

    def __init__(self, body):
        self.body = body
        self.at = 0

    def number(self, form):
        value, = struct.unpack_from(">" + form, self.body, self.at)
        self.at += struct.calcsize(form)
        return value

    def raw(self, count):
        self.at += count
        return self.body[self.at - count:self.at]

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.number("B")
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def text(self):
        length = self.uvarint()
        return None if length == 0 else self.raw(length - 1).decode()

    def tagged(self):
        for _ in range(self.uvarint()):
            self.uvarint()
            self.raw(self.uvarint())


def parse_consumer_heartbeat(body):
    """{error, message, member, epoch, interval_ms, assignment: {topic id: partitions} or None}"""
    read = Flexible(body)
    read.tagged()  # of the header
    read.number("i")
    found = {"error": read.number("h"), "message": read.text(), "member": read.text(),
             "epoch": read.number("i"), "interval_ms": read.number("i"), "assignment": None}
    if read.number("b") >= 0:
        found["assignment"] = {}
        for _ in range(read.uvarint() - 1):
            topic = read.raw(16)
            found["assignment"][topic] = [read.number("i") for _ in range(read.uvarint() - 1)]
            read.tagged()
        read.tagged()
    read.tagged()
    return found
