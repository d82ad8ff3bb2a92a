#!/usr/bin/env python3
"""Groups under churn on the real broker: members join, commit, leave, stall and die while the broker is
stopped and killed. A third of the groups are of the classic protocol, a third of KIP-848's, and in a third
members change from one to the other and back. In one generation or epoch no partition has two owners, no
committed offset goes back, and all groups settle when the trouble has ended. What
tests/server/kafka/group_members.h does in the simulation, over real sockets and a real disk.

  tests/soak/group_churn.py [--seconds=180] [--groups=200] [--members=3] [--seed=N]
"""

import argparse
import asyncio
import collections
import os
import random
import shutil
import struct
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../e2e"))
import harness  # noqa: E402
import kafka_wire  # noqa: E402
from kafka_wire import string  # noqa: E402

COMMIT, FETCH_OFFSETS, FIND_COORDINATOR, JOIN, HEARTBEAT, LEAVE, SYNC = 8, 9, 10, 11, 12, 13, 14
UNKNOWN_MEMBER, GROUP_NOT_FOUND, MEMBER_ID_REQUIRED, FENCED_INSTANCE = 25, 69, 79, 82
FENCED_EPOCH, STALE_EPOCH = 110, 113
# What a broker that starts, stops or rebalances answers.
PASSING = {14: "loading", 15: "not available", 16: "not coordinator", 22: "generation", 27: "rebalance",
           111: "unreleased"}
TOPIC = "t"
PARTITIONS = 5
SESSION_MS, REBALANCE_MS = 6_000, 8_000
BEAT_S = 1.0
PATIENCE_S = 20
SETTLED_WITHIN_S = 90
LIFE_S = 40  # of a member that changes its protocol then, at most
ERRORS = (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError)


def nullable(value):
    return struct.pack(">h", -1) if value is None else string(value)


def sized(data):
    return struct.pack(">i", len(data)) + data


class Reader:
    """Fields of an answer, one after the other."""

    def __init__(self, body):
        self.body, self.at = body, 0

    def number(self, form):
        value, = struct.unpack_from(">" + form, self.body, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self):
        length = self.number("h")
        if length < 0:
            return None
        self.at += length
        return self.body[self.at - length:self.at].decode()

    def bytes(self):
        length = max(self.number("i"), 0)
        self.at += length
        return self.body[self.at - length:self.at]


class Violation(Exception):
    """What must never happen."""


class World:
    """What all members know together."""

    def __init__(self, options):
        self.random = random.Random(options.seed)
        self.port = None  # of the broker that runs now
        self.misbehave = True
        self.stop = False
        self.commits = 0
        self.retries = collections.Counter()
        self.acknowledged = collections.defaultdict(lambda: -1)  # (group, partition)
        self.tried = collections.defaultdict(lambda: -1)
        self.owners = {}  # (group, generation, partition) -> member's number
        self.now = collections.defaultdict(dict)  # group -> member's number -> (generation, partitions)

    def own(self, group, number, generation, partitions):
        for partition in partitions:
            owner = self.owners.setdefault((group, generation, partition), number)
            if owner != number:
                raise Violation(f"{group}: partition {partition} belongs to members {owner} and {number} in "
                                f"generation {generation}")
        self.now[group][number] = (generation, list(partitions))

    def settled(self, group, members):
        has = self.now[group].values()
        return (len(has) == members and len({generation for generation, _ in has}) == 1 and
                sum(len(partitions) for _, partitions in has) == PARTITIONS)


class Member:
    """One of the classic protocol, and what both kinds have and do."""

    def __init__(self, world, group, number, instance=None, until=None):
        self.world, self.group, self.number = world, group, number
        self.instance = instance
        self.until = until  # then another one takes its place, unless the trouble has ended
        self.id, self.generation, self.positions = "", -1, {}
        self.streams = None
        self.correlation = 0

    def close(self):
        if self.streams is not None:
            self.streams[1].transport.abort()
            self.streams = None

    async def ask(self, api, version, body):
        return Reader(await self.exchange(
            lambda correlation: kafka_wire.request(api, version, correlation, body)))

    async def exchange(self, frame):
        if self.streams is None:
            if self.world.port is None:
                raise ConnectionError("no broker runs")
            self.streams = await asyncio.wait_for(
                asyncio.open_connection("127.0.0.1", self.world.port), PATIENCE_S)
        self.correlation += 1
        try:
            reader, writer = self.streams
            writer.write(frame(self.correlation))
            await asyncio.wait_for(writer.drain(), PATIENCE_S)
            size, correlation = struct.unpack(
                ">ii", await asyncio.wait_for(reader.readexactly(8), PATIENCE_S))
            answer = await asyncio.wait_for(reader.readexactly(size - 4), PATIENCE_S)
        except ERRORS:
            self.close()
            raise
        if correlation != self.correlation:
            raise Violation(f"{self.group}: answer {correlation} to request {self.correlation}")
        return answer

    def give_up(self):
        """It owns nothing any more; eager, so does one that joins again."""
        self.generation, self.positions = -1, {}
        self.world.now[self.group].pop(self.number, None)

    def is_none(self, what, error):
        if error == 0:
            return True
        self.give_up()
        if error in (UNKNOWN_MEMBER, FENCED_INSTANCE, FENCED_EPOCH, GROUP_NOT_FOUND):
            self.id = ""
        elif error not in PASSING:
            raise Violation(f"{self.group}: {what}: error {error}")
        self.world.retries[PASSING.get(error, "unknown member")] += 1
        return False

    async def join(self):
        topics = struct.pack(">hi", 0, 1) + string(TOPIC) + struct.pack(">i", -1)
        answer = await self.ask(JOIN, 5, string(self.group) + struct.pack(">ii", SESSION_MS, REBALANCE_MS) +
                                string(self.id) + nullable(self.instance) + string("consumer") +
                                struct.pack(">i", 1) + string("range") + sized(topics))
        answer.number("i")
        error, generation = answer.number("h"), answer.number("i")
        answer.text()  # protocol
        leader, member = answer.text(), answer.text()
        if error == MEMBER_ID_REQUIRED:
            self.id = member
            return False
        if not self.is_none("JoinGroup", error):
            return False
        self.id = member
        members = []
        for _ in range(answer.number("i")):
            members.append(answer.text())
            answer.text()
            answer.bytes()
        return await self.sync(generation, members if leader == member else [])

    async def sync(self, generation, members):
        plan = b"".join(string(member) + sized(self.assignment(range(at, PARTITIONS, len(members))))
                        for at, member in enumerate(members))
        answer = await self.ask(SYNC, 3, string(self.group) + struct.pack(">i", generation) + string(self.id) +
                                nullable(self.instance) + struct.pack(">i", len(members)) + plan)
        answer.number("i")
        if not self.is_none("SyncGroup", answer.number("h")):
            return False
        self.generation = generation
        mine = self.partitions(answer.bytes())
        self.world.own(self.group, self.number, generation, mine)
        return await self.fetch_offsets(mine)

    @staticmethod
    def assignment(partitions):
        """ConsumerProtocolAssignment version 0."""
        partitions = list(partitions)
        return (struct.pack(">hi", 0, 1) + string(TOPIC) + struct.pack(">i", len(partitions)) +
                b"".join(struct.pack(">i", p) for p in partitions) + struct.pack(">i", -1))

    @staticmethod
    def partitions(assignment):
        found = []
        if assignment:
            read = Reader(assignment)
            read.number("h")
            for _ in range(read.number("i")):
                read.text()
                found += [read.number("i") for _ in range(read.number("i"))]
        return found

    async def fetch_offsets(self, mine):
        least = {partition: self.world.acknowledged[self.group, partition] for partition in mine}
        answer = await self.ask(FETCH_OFFSETS, 5, string(self.group) + struct.pack(">i", 1) + string(TOPIC) +
                                struct.pack(">i", len(mine)) + b"".join(struct.pack(">i", p) for p in mine))
        answer.number("i")
        if answer.number("i") == 0:  # no topic: an error of the group, or nothing was asked
            return self.is_none("OffsetFetch", answer.number("h"))
        answer.text()
        for _ in range(answer.number("i")):
            partition, offset = answer.number("i"), answer.number("q")
            answer.number("i")
            answer.text()
            if not self.is_none("OffsetFetch", answer.number("h")):
                return False
            tried = self.world.tried[self.group, partition]
            if not least[partition] <= offset <= tried:
                raise Violation(f"{self.group}: partition {partition} is committed to {offset}, "
                                f"acknowledged {least[partition]}, tried {tried}")
            self.positions[partition] = offset
        return self.is_none("OffsetFetch", answer.number("h"))

    async def heartbeat(self):
        answer = await self.ask(HEARTBEAT, 3, string(self.group) + struct.pack(">i", self.generation) +
                                string(self.id) + nullable(self.instance))
        answer.number("i")
        return self.is_none("Heartbeat", answer.number("h"))

    def read_on(self):
        """{partition: where it is to be committed now}"""
        sent = {partition: offset + self.world.random.randint(1, 5)
                for partition, offset in self.positions.items()}
        self.positions.update(sent)
        for partition, offset in sent.items():
            key = self.group, partition
            self.world.tried[key] = max(self.world.tried[key], offset)
        return sent

    def acknowledge(self, partition, offset):
        key = self.group, partition  # late, when the next owner has gone on from there, it may be less
        self.world.acknowledged[key] = max(self.world.acknowledged[key], offset)

    async def commit(self):
        sent = self.read_on()
        if not sent:
            return
        parts = b"".join(struct.pack(">iqi", partition, offset, -1) + string("")
                         for partition, offset in sent.items())
        answer = await self.ask(COMMIT, 7, string(self.group) + struct.pack(">i", self.generation) +
                                string(self.id) + nullable(self.instance) + struct.pack(">i", 1) +
                                string(TOPIC) + struct.pack(">i", len(sent)) + parts)
        answer.number("i")
        answer.number("i")
        answer.text()
        for _ in range(answer.number("i")):
            partition = answer.number("i")
            if not self.is_none("OffsetCommit", answer.number("h")):
                return
            self.acknowledge(partition, sent[partition])
        self.world.commits += 1

    async def leave(self):
        """A static one does not, as clients do."""
        if self.instance is not None:
            return
        member, self.id = self.id, ""
        self.give_up()
        answer = await self.ask(LEAVE, 3, string(self.group) + struct.pack(">i", 1) + string(member) +
                                nullable(None))
        answer.number("i")
        self.is_none("LeaveGroup", answer.number("h"))

    async def misbehave_once(self):
        what = self.world.random.randrange(60)
        if what == 0:
            await self.leave()
        elif what == 1:  # stalls beyond its session
            await asyncio.sleep(SESSION_MS / 1000 * 1.5)
        elif what == 2:  # dies; what starts in its place knows nothing
            self.close()
            self.give_up()
            self.id = ""
            await asyncio.sleep(self.world.random.random() * 5)

    async def turn(self):
        if self.generation < 0:
            if not await self.join():
                self.give_up()
                await asyncio.sleep(0.2)
            return
        await asyncio.sleep(BEAT_S * (0.5 + self.world.random.random()))
        if await self.heartbeat() and self.world.random.random() < 0.5:
            await self.commit()
        if self.world.misbehave and self.generation >= 0:
            await self.misbehave_once()

    def ends(self):
        return self.world.stop or (self.world.misbehave and self.until is not None and
                                   time.monotonic() > self.until)

    async def run(self):
        while not self.ends():
            try:
                await self.turn()
            except ERRORS:
                # A commit whose answer is lost may be served late: only a new generation rules that out, or
                # another member.
                self.world.retries["connection"] += 1
                self.give_up()
                self.id = ""
                await asyncio.sleep(0.2 + self.world.random.random())
        if not self.world.stop and self.generation >= 0 and self.world.random.random() < 0.7:
            try:
                await self.leave()
            except ERRORS:
                pass
        self.give_up()
        self.close()


class ConsumerMember(Member):
    """One of KIP-848's protocol: says all that it has with each heartbeat, and is told what it is to have."""

    topic = None  # its id

    async def beat(self, epoch):
        owned = {self.topic: sorted(self.positions)} if self.positions else {}
        told = {"topics": [TOPIC], "owned": owned, "rebalance_timeout_ms": REBALANCE_MS} if epoch >= 0 else {}
        answer = await self.exchange(lambda correlation: kafka_wire.consumer_heartbeat(
            self.group, self.id, epoch, instance=self.instance, correlation=correlation, **told))
        found = kafka_wire.parse_consumer_heartbeat(answer)
        return found if self.is_none("ConsumerGroupHeartbeat", found["error"]) else None

    async def turn(self):
        if self.generation < 0 and not self.id:
            self.id = f"{self.world.random.getrandbits(128):032x}"
        found = await self.beat(max(self.generation, 0))
        if found is None:
            await asyncio.sleep(0.2)
            return
        assigned = set(self.positions)
        if found["assignment"] is not None:
            assigned = set()
            for self.topic, partitions in found["assignment"].items():
                assigned |= set(partitions)
        self.positions = {p: offset for p, offset in self.positions.items() if p in assigned}
        fresh = sorted(assigned - set(self.positions))
        self.generation = found["epoch"]
        self.world.own(self.group, self.number, self.generation, sorted(assigned))
        if fresh and not await self.fetch_offsets(fresh):
            return
        await asyncio.sleep(BEAT_S * (0.5 + self.world.random.random()))
        if self.world.random.random() < 0.5:
            await self.commit()
        if self.world.misbehave and self.generation >= 0:
            await self.misbehave_once()

    async def commit(self):
        sent = self.read_on()
        if not sent:
            return
        parts = [struct.pack(">iqi", partition, offset, -1) + kafka_wire.compact("") + b"\0"
                 for partition, offset in sent.items()]
        body = (kafka_wire.compact(self.group) + struct.pack(">i", self.generation) +
                kafka_wire.compact(self.id) + kafka_wire.compact(self.instance) +
                kafka_wire.compact_array([kafka_wire.compact(TOPIC) + kafka_wire.compact_array(parts) + b"\0"]) +
                b"\0")
        read = kafka_wire.Flexible(await self.exchange(
            lambda correlation: kafka_wire.request(COMMIT, 9, correlation, b"\0" + body)))
        read.tagged()  # of the header
        read.number("i")
        for _ in range(read.uvarint() - 1):
            read.text()
            for _ in range(read.uvarint() - 1):
                partition, error = read.number("i"), read.number("h")
                read.tagged()
                if error == STALE_EPOCH:  # the next heartbeat brings the one that is valid now
                    return
                if not self.is_none("OffsetCommit", error):
                    return
                self.acknowledge(partition, sent[partition])
            read.tagged()
        self.world.commits += 1

    async def leave(self):
        """A static one may keep its partitions for its return."""
        for_a_while = self.instance is not None and self.world.random.random() < 0.7
        await self.beat(-2 if for_a_while else -1)
        self.give_up()
        self.id = ""


async def live(world, group, number, kinds):
    """One member after the other, of each kind in turn."""
    instance = f"instance-{number}" if world.random.random() < 0.3 else None
    kinds = list(kinds)
    world.random.shuffle(kinds)
    while not world.stop:
        until = time.monotonic() + LIFE_S * world.random.random() if len(kinds) > 1 else None
        await kinds[0](world, group, number, instance, until).run()
        kinds.append(kinds.pop(0))


async def trouble(world, broker, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(10 + 20 * world.random.random())
        world.port = None
        how = world.random.choice(("kill", "stop"))
        print(f"{how}: {world.commits} commits, {dict(world.retries)}", flush=True)
        await asyncio.to_thread(getattr(broker, how))
        await asyncio.to_thread(broker.start)
        world.port = broker.kafka_port()


async def settle(world, groups, members):
    end = time.monotonic() + SETTLED_WITHIN_S
    while True:
        left = [group for group in groups if not world.settled(group, members)]
        if not left:
            return
        if time.monotonic() > end:
            raise Violation(f"not settled within {SETTLED_WITHIN_S} s: " +
                            ", ".join(f"{group} {world.now[group]}" for group in left[:5]))
        await asyncio.sleep(0.5)


async def churn(options, broker):
    world = World(options)
    world.port = broker.kafka_port()
    with kafka_wire.Connection(world.port) as peer:
        peer.call(kafka_wire.request(FIND_COORDINATOR, 0, 1, string("g")))  # makes __consumer_offsets
    groups = [f"group-{number}" for number in range(options.groups)]
    kinds = [(Member,), (ConsumerMember,), (Member, ConsumerMember)]
    members = [asyncio.create_task(live(world, group, number, kinds[at % len(kinds)]))
               for at, group in enumerate(groups) for number in range(options.members)]

    async def all_of_it():
        await trouble(world, broker, options.seconds)
        world.misbehave = False
        await settle(world, groups, options.members)
        world.stop = True

    work = asyncio.create_task(all_of_it())
    done, _ = await asyncio.wait([work, *members], return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()
    for group in groups:
        await Member(world, group, -1).fetch_offsets(range(PARTITIONS))
    print(f"{len(groups)} groups settled; {world.commits} commits, "
          f"{len({key[:2] for key in world.owners})} generations, {dict(world.retries)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(HERE, "../../bazel-bin"))
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("GROUP_CHURN_SECONDS", 180)))
    parser.add_argument("--groups", type=int, default=200)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    harness.RINGTAILD = os.path.join(options.bin, "server/ringtaild")
    harness.RINGTAIL = os.path.join(options.bin, "tools/ringtail")
    root = tempfile.mkdtemp(prefix="ringtail-churn-", dir="/var/tmp")
    broker = harness.Broker(root, 2, ["--group_initial_rebalance_delay_ms=200",
                                       f"--consumer_group_session_timeout_ms={SESSION_MS}"])
    try:
        broker.start()
        broker.create_topic(TOPIC, PARTITIONS)
        asyncio.run(churn(options, broker))
    except BaseException:
        print(broker.log()[-3000:], file=sys.stderr)
        raise
    finally:
        broker.kill()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
