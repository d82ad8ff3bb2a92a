#!/usr/bin/env python3
"""A broker with very many consumer groups of one member each: what a group costs in memory, what
heartbeats cost, and how long reading them back takes after a clean stop and after kill -9.

  perf/compare/groups.py [--bin=bazel-bin] [--groups=10000] [--heartbeats=5000] [--seconds=8]

Heartbeats go out at a steady rate, --burst of them at a time. Exits 3 where a goal is not met. Works
below $RINGTAIL_PERF_DIR (default /var/tmp) and removes what it wrote. perf/README.md has the goals."""

import argparse
import os
import struct
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../../tests/e2e")]
import harness  # noqa: E402
import kafka_wire  # noqa: E402
from figures import Figures, measure, watched  # noqa: E402
from kafka_wire import string  # noqa: E402

COMMIT, FETCH_OFFSETS, FIND_COORDINATOR, JOIN, HEARTBEAT, SYNC = 8, 9, 10, 11, 12, 14
LOADING = 14
TOPIC = "t"
PIPELINED = 100
MIB = 1 << 20
GOALS = {"heartbeats_core_pct": 10.0}


def name(group):
    return f"group-{group:06d}"


def text(body, at):
    """(string of a 16-bit length, where it ends)"""
    length, = struct.unpack_from(">h", body, at)
    return body[at + 2:at + 2 + length].decode(), at + 2 + length


class Groups:
    """One member in each, over one connection."""

    def __init__(self, peer, count):
        self.peer = peer
        self.members = [""] * count
        self.subscription = (struct.pack(">hi", 0, 1) + string(TOPIC) + struct.pack(">i", -1))
        self.assignment = (struct.pack(">hi", 0, 1) + string(TOPIC) + struct.pack(">iii", 1, 0, -1))

    def ask_each(self, groups, frame_of, take):
        """Pipelined; the broker answers the requests of a connection in their order."""
        self.peer.send(b"".join(frame_of(group) for group in groups))
        for group in groups:
            take(group, self.peer.reply()[1])

    def join(self, group):
        body = (string(name(group)) + struct.pack(">i", 300_000) + string("") + string("consumer") +
                struct.pack(">i", 1) + string("range") + struct.pack(">i", len(self.subscription)) +
                self.subscription)
        return kafka_wire.request(JOIN, 0, 1, body)

    def joined(self, group, body):
        error, generation = struct.unpack_from(">hi", body)
        if (error, generation) != (0, 1):
            raise AssertionError(f"JoinGroup of {name(group)}: error {error}, generation {generation}")
        at = 6
        for _ in range(3):  # protocol, leader, member
            self.members[group], at = text(body, at)

    def sync(self, group):
        member = string(self.members[group])
        body = (string(name(group)) + struct.pack(">i", 1) + member + struct.pack(">i", 1) + member +
                struct.pack(">i", len(self.assignment)) + self.assignment)
        return kafka_wire.request(SYNC, 0, 1, body)

    def commit(self, group):
        body = (string(name(group)) + struct.pack(">i", 1) + string(self.members[group]) +
                struct.pack(">qi", -1, 1) + string(TOPIC) + struct.pack(">iiq", 1, 0, group) + string(""))
        return kafka_wire.request(COMMIT, 2, 1, body)

    def heartbeat(self, group):
        body = string(name(group)) + struct.pack(">i", 1) + string(self.members[group])
        return kafka_wire.request(HEARTBEAT, 0, 1, body)

    def make(self):
        for at in range(0, len(self.members), PIPELINED):
            groups = range(at, min(at + PIPELINED, len(self.members)))
            self.ask_each(groups, self.join, self.joined)
            self.ask_each(groups, self.sync, lambda group, body: expect("SyncGroup", group, body, 0))
            self.ask_each(groups, self.commit, lambda group, body: expect("OffsetCommit", group, body, -2))

    def beat(self, rate, seconds, burst):
        """How many were answered, in how many seconds."""
        frames = [self.heartbeat(group) for group in range(len(self.members))]
        begun = time.monotonic()
        sent = 0
        while time.monotonic() - begun < seconds:
            groups = [(sent + i) % len(frames) for i in range(burst)]
            self.ask_each(groups, frames.__getitem__, lambda group, body: expect("Heartbeat", group, body, 0))
            sent += burst
            time.sleep(max(0.0, begun + sent / rate - time.monotonic()))
        return sent, time.monotonic() - begun


def expect(what, group, body, at):
    """No error, where it stands in the answer."""
    error, = struct.unpack_from(">h", body, at if at >= 0 else len(body) + at)
    if error != 0:
        raise AssertionError(f"{what} of {name(group)}: error {error}")


def committed(peer, group):
    """OffsetFetch version 1 of one partition: (error, offset)."""
    body = string(name(group)) + struct.pack(">i", 1) + string(TOPIC) + struct.pack(">ii", 1, 0)
    answer = peer.call(kafka_wire.request(FETCH_OFFSETS, 1, 1, body))
    offset, = struct.unpack_from(">q", answer, 4 + 2 + len(TOPIC) + 4 + 4)
    error, = struct.unpack_from(">h", answer, len(answer) - 2)
    return error, offset


def see_all(broker, count):
    """Until each group's offset has been read back, one after the other."""
    with kafka_wire.Connection(broker.kafka_port()) as peer:
        for group in range(count):
            error, offset = committed(peer, group)
            while error == LOADING:
                error, offset = committed(peer, group)
            if (error, offset) != (0, group):
                raise AssertionError(f"{name(group)}: error {error}, offset {offset}")


def start_and_see(figures, broker, how, count):
    """Started is ready; what is loaded by then shows in how long the first answers take."""
    figures.timed(how + "_start", broker.start)
    figures.timed(how + "_first_answers", see_all, broker, min(count, 200))
    figures.timed(how + "_all_answers", see_all, broker, count)


def found_coordinator(peer):
    """FindCoordinator, which makes __consumer_offsets where there is none yet."""
    error, = struct.unpack_from(">h", peer.call(kafka_wire.request(FIND_COORDINATOR, 0, 1, string(name(0)))))
    return error == 0


def run(options, root):
    broker = harness.Broker(root, options.cores, ["--group_initial_rebalance_delay_ms=0", *options.flags])
    figures = Figures(broker, GOALS)
    with watched(broker):
        broker.start()
        broker.create_topic(TOPIC, 1)
        with kafka_wire.Connection(broker.kafka_port()) as peer:
            harness.wait_for(lambda: found_coordinator(peer), "__consumer_offsets")  # no group's cost
            groups = Groups(peer, options.groups)
            before = figures.status_mib("RssAnon")  # what is mapped from files is not theirs
            figures.timed("made", groups.make)
            figures.note("bytes_a_group", (figures.status_mib("RssAnon") - before) * MIB / options.groups)
            cpu = figures.cpu_s()
            sent, took = groups.beat(options.heartbeats, options.seconds, options.burst)
            figures.note("heartbeats_a_second", sent / took)
            figures.note("heartbeats_core_pct", (figures.cpu_s() - cpu) / took * 100)
        broker.stop()
        start_and_see(figures, broker, "clean", options.groups)
        broker.kill()
        start_and_see(figures, broker, "killed", options.groups)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--groups", type=int, default=10_000)
    parser.add_argument("--heartbeats", type=int, default=5000, help="a second")
    parser.add_argument("--burst", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--cores", type=int, default=1)
    return measure(parser, "groups", run)


if __name__ == "__main__":
    sys.exit(main())
