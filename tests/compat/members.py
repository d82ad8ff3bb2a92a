"""Members of consumer groups as scenarios see them: each lives in a driver, as group_open made it.

A member is polled by the drivers of all members at once (turn), since a rebalance ends only when each
of them has taken part in it.
"""

import time

import records as R

TURN_MS = 200
DEADLINE_S = 40
SESSION_MS = 10_000


class Member:
    """One member of a group over one topic, with all that its client has told of it."""

    _opened = 0

    def __init__(self, cell, driver, group, topic, **settings):
        Member._opened += 1
        self.handle = f"member-{Member._opened}"
        self.driver, self.topic = driver, topic
        self.owned = set()
        self.revoked = []    # partitions, each as often as it was taken away
        self.records = []    # in the order in which they came
        self._taken = 0
        self._brokers = cell.broker.kafka()
        self._ask("group_open", group=group, topic=topic,
                  **{"assignor": "range", "instance_id": None, "protocol": "classic",
                     "session_timeout_ms": SESSION_MS, **settings})

    def _ask(self, op, **arguments):
        return self.driver.ask(op, brokers=self._brokers, handle=self.handle, **arguments)

    def send_poll(self):
        self.driver.send("group_poll", brokers=self._brokers, handle=self.handle, ms=TURN_MS)

    def receive_poll(self):
        answer = self.driver.receive()
        self.owned = set(answer["owned"])
        self.revoked += answer["revoked"]
        self._add(answer)

    def _add(self, answer):
        self.records += [R.Record.from_json(one) for one in answer["records"]]

    def waiting(self):
        """How many records came since they were last taken."""
        return len(self.records) - self._taken

    def taken(self):
        """Takes the records that came since they were last taken."""
        new = self.records[self._taken:]
        self._taken = len(self.records)
        return new

    def positions(self):
        """{partition: the offset after the last record that came}."""
        ends = {}
        for one in self.records:
            ends[one.partition] = max(ends.get(one.partition, 0), one.offset + 1)
        return ends

    def commit(self, offsets):
        self._ask("group_commit", offsets=sorted(offsets.items()))

    def close(self):
        """Leaves the group; a client that reads ahead of its polls may have had more records."""
        self._add(self._ask("group_close"))
        self.owned = set()

    def crash(self):
        """Its process ends and says nothing to anyone."""
        self.driver.kill()
        self.owned = set()


def turn(members):
    for one in members:
        one.send_poll()
    for one in members:
        one.receive_poll()


def until(members, condition, what):
    """Polls all of them until the condition holds."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > end:
            told = "; ".join(f"{one.driver.name} owns {sorted(one.owned)}, has {len(one.records)} records"
                             for one in members)
            raise AssertionError(f"not within {DEADLINE_S} s: {what} ({told})")
        turn(members)


def until_shared(members, partitions):
    """Until all partitions are owned, each by one member, and each member has some."""
    def shared():
        owned = sorted(p for one in members for p in one.owned)
        return owned == list(range(partitions)) and all(one.owned for one in members)
    until(members, shared, f"{partitions} partitions are shared among {len(members)} members")


def until_read(members, count):
    """Until so many records came since they were last taken; then once more, for what should not come.
    Returns {member: its records}."""
    until(members, lambda: sum(one.waiting() for one in members) >= count, f"{count} records")
    turn(members)
    return {one: one.taken() for one in members}
