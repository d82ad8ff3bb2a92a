"""Records that scenarios write and compare: made from seeds, the same at every run."""

import random

import driver

FIRST_MS = 1_700_000_000_000


class Record:
    """What a producer is given, or what a consumer saw. `needs` names what a client must be able to
    say for it (matrix.json, "cannot_write" and "cannot_read")."""

    def __init__(self, key, value, headers=(), time_ms=None, partition=0, needs=()):
        self.key, self.value, self.headers = key, value, list(headers)
        self.time_ms, self.partition, self.offset = time_ms, partition, None
        self.needs = set(needs)

    def to_json(self):
        return {"p": self.partition, "t": self.time_ms, "k": driver.encode(self.key),
                "v": driver.encode(self.value),
                "h": [[name, driver.encode(value)] for name, value in self.headers]}

    @classmethod
    def from_json(cls, seen):
        record = cls(driver.decode(seen["k"]), driver.decode(seen["v"]),
                     [(name, driver.decode(value)) for name, value in seen["h"]], seen["t"], seen["p"])
        record.offset = seen["o"]
        return record

    def content(self):
        return (self.key, self.value, self.headers)

    def __repr__(self):
        def short(data):
            return data if data is None or len(data) < 60 else data[:40] + b"... %d bytes" % len(data)
        headers = [(name, short(value)) for name, value in self.headers]
        return f"({short(self.key)}, {short(self.value)}, {headers}, time {self.time_ms})"


def printable(count, seed):
    """Text of one line that does not compress away."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    return "".join(random.Random(seed).choices(letters, k=count)).encode()


def numbered(count, seed=0, length=40, partition=0):
    """Small records that differ and compress well."""
    return [Record(b"key-%d" % i, b"%08d-" % i + printable(8, seed * 1_000_003 + i) * (length // 8),
                   partition=partition) for i in range(count)]


def with_headers():
    return [
        Record(b"k0", b"one", [("name", b"value")]),
        Record(b"k1", b"several", [("a", b"1"), ("b", b"2"), ("c", b"3")]),
        Record(b"k2", b"repeated", [("a", b"1"), ("a", b"2")], needs=["repeated_headers"]),
        Record(b"k3", b"repeated, others between", [("a", b"1"), ("b", b"2"), ("a", b"3")],
               needs=["repeated_headers", "header_order"]),
        Record(b"k4", b"empty value", [("empty", b"")]),
        Record(b"k5", b"null value", [("none", None)], needs=["null_header_values"]),
        Record(b"k6", b"no name", [("", b"value")], needs=["empty_header_names"]),
        Record(b"k7", b"binary", [("bytes", bytes(range(1, 256)))], needs=["binary_headers"]),
        Record(b"k8", b"with zero", [("zeros", b"\0a\0")], needs=["binary_headers", "zero_in_headers"]),
        Record(b"k9", b"name beyond ASCII", [("s\u00fc\u00df", "gr\u00fc\u00df".encode())]),
        Record(b"k10", b"none"),
        Record(b"k11", b"long", [("long", printable(5000, 1))]),
    ]


def with_nulls():
    return [
        Record(None, b"no key"),
        Record(b"", b"empty key", needs=["empty_keys"]),
        Record(b"tombstone", None, needs=["null_values"]),
        Record(None, None, needs=["null_values", "records_of_nothing"]),
        Record(b"empty value", b"", needs=["empty_values"]),
        Record(b"", b"", needs=["empty_keys", "empty_values"]),
        Record(b"key", b"value"),
    ]


def of_every_shape():
    """What each client writes for all others to read."""
    noise = random.Random(7)
    records = with_headers() + with_nulls() + [
        Record(bytes(range(256)), bytes(reversed(range(256))), needs=["binary"]),
        Record(b"noise", noise.randbytes(50_000), needs=["binary"]),
        Record("\u00fcber".encode(), "\u65e5\u672c\u8a9e".encode()),
        Record(b"long", printable(8, 5) * 10_000),
    ] + numbered(40, seed=9)
    for i, record in enumerate(records):
        record.time_ms = FIRST_MS + i * 1000
    return records


def expect_same(found, wanted, what):
    """Same records in the same order, byte by byte; times are compared where `wanted` has one."""
    for i, (a, b) in enumerate(zip(found, wanted)):
        if a.content() != b.content() or (b.time_ms is not None and a.time_ms != b.time_ms):
            raise AssertionError(f"{what}: record {i}: expected {b!r}, came {a!r}")
    if len(found) != len(wanted):
        raise AssertionError(f"{what}: expected {len(wanted)} records, came {len(found)}")


def batch_codecs(path):
    """The codec numbers of the batches of a segment file (attributes are bytes 21 and 22 of each)."""
    codecs = []
    with open(path, "rb") as file:
        data = file.read()
    position = 0
    while position + 61 <= len(data):
        length = int.from_bytes(data[position + 8:position + 12], "big")
        if length == 0:
            break
        codecs.append(data[position + 22] & 7)
        position += 12 + length
    return codecs
