"""Consumer groups: what every client that joins them has to pass (scenarios.py has the rest).

The second member of a group lives in a second driver of the same client, which may be killed. Records
are written by another client, in rounds whose contents differ: each round's are compared one by one,
with their offsets.
"""

import json
import signal

import harness
import records as R
from driver import Refused
from members import Member, until, until_read, until_shared
from scenarios import expect, scenario

PARTITIONS = 4
EACH = 25  # records a partition and round

# Kafka's error numbers that scenarios expect.
UNKNOWN_MEMBER, NON_EMPTY_GROUP, SUBSCRIBED_TO_TOPIC = 25, 68, 86


class Written:
    """What is in a topic, round by round."""

    def __init__(self, cell):
        self._cell = cell
        self.topic = cell.topic(PARTITIONS)
        self.records = {p: [] for p in range(PARTITIONS)}
        self.rounds = 0

    def write(self):
        """One more round, of EACH records a partition; returns how many in all."""
        fresh = {p: R.numbered(EACH, seed=self.rounds * PARTITIONS + p, partition=p)
                 for p in range(PARTITIONS)}
        self._cell.seed(self.topic, [one for p in fresh for one in fresh[p]])
        for p, records in fresh.items():
            self.records[p] += records
        self.rounds += 1
        return EACH * PARTITIONS

    def ends(self):
        return {p: len(records) for p, records in self.records.items()}

    def count_from(self, starts):
        return sum(len(self.records[p]) - first for p, first in starts.items())

    def expect_read(self, found, starts, what):
        """That `found` is what is there from {partition: offset} on, each record once."""
        for p, first in starts.items():
            of_it = [one for one in found if one.partition == p]
            expect([one.offset for one in of_it], list(range(first, len(self.records[p]))),
                   f"{what}, offsets of partition {p}")
            R.expect_same(of_it, self.records[p][first:], f"{what}, partition {p}")
        expect({one.partition for one in found} - set(starts), set(), f"{what}, other partitions")


def _only(starts, partitions):
    return {p: first for p, first in starts.items() if p in partitions}


def _commit_all(cell, *members):
    """All that they have read; a client that commits by itself does so when it leaves or is told to
    give up partitions."""
    if "group_commit" not in cell.client.lacks:
        for one in members:
            one.commit(_only(one.positions(), one.owned))


def _in_group(cell, group):
    """The group's entry on /v1/groups."""
    def answered():
        page = cell.broker.page("/v1/groups")
        return None if page["stalled_cores"] else page
    page = harness.wait_for(answered, "all cores answer")
    found = [one for one in page["groups"] if one["group"] == group]
    if len(found) != 1:
        raise AssertionError(f"expected group {group} on /v1/groups, came {found}")
    return found[0]


def _until_empty(cell, group):
    harness.wait_for(lambda: _in_group(cell, group)["state"] == "Empty", f"group {group} is empty")


def _two_members(cell, written, **settings):
    """A first member that has everything, then a second one with its share."""
    one = Member(cell, cell.driver, written.topic, written.topic, **settings)
    until_shared([one], PARTITIONS)
    two = Member(cell, cell.client.second, written.topic, written.topic, **settings)
    until_shared([one, two], PARTITIONS)
    return one, two


def _share(cell, **settings):
    """Two share a topic; then one leaves, and the other has all of it."""
    written = Written(cell)
    one, two = _two_members(cell, written, **settings)
    starts = written.ends()
    found = until_read([one, two], written.write())
    for member, records in found.items():
        written.expect_read(records, _only(starts, member.owned), member.driver.name)
    expect(one.owned & two.owned, set(), "partitions of both")
    _commit_all(cell, one, two)
    two.close()
    expect(two.taken(), [], "records of the one that left")
    until_shared([one], PARTITIONS)
    starts = written.ends()
    written.expect_read(until_read([one], written.write())[one], starts, "the one that stayed")
    one.close()
    _until_empty(cell, written.topic)


@scenario("group-rebalance", "groups")
def group_rebalance(cell):
    _share(cell)


@scenario("group-cooperative", "cooperative")
def group_cooperative(cell):
    """A member that is joined by a second one keeps what it may, and reads on there as if nothing
    had happened: it has not committed anything, so a partition given up and taken again would be read
    from its beginning."""
    written = Written(cell)
    settings = {"assignor": "cooperative-sticky"}
    one = Member(cell, cell.driver, written.topic, written.topic, **settings)
    until_shared([one], PARTITIONS)
    starts = written.ends()
    written.expect_read(until_read([one], written.write())[one], starts, "the first, alone")
    two = Member(cell, cell.client.second, written.topic, written.topic, **settings)
    until_shared([one, two], PARTITIONS)
    expect(sorted(one.revoked), sorted(two.owned), "what the first gave up, and the second has")
    expect(two.revoked, [], "what the second gave up")
    kept = written.ends()
    # A client that commits by itself has done so for what it gave up.
    moved = kept if "group_commit" in cell.client.lacks else starts
    written.write()
    expected = written.count_from({**kept, **_only(moved, two.owned)})
    found = until_read([one, two], expected)
    written.expect_read(found[one], _only(kept, one.owned), "the first, in what it kept")
    written.expect_read(found[two], _only(moved, two.owned), "the second")
    _commit_all(cell, one, two)
    gave_up = list(one.revoked)
    two.close()
    until_shared([one], PARTITIONS)
    expect(one.revoked, gave_up, "what the first gave up by the time it had the rest back")
    starts = written.ends()
    written.expect_read(until_read([one], written.write())[one], starts, "the first, alone again")
    one.close()


@scenario("group-static", "static members")
def group_static(cell):
    """A member with a group.instance.id dies, and comes back within its session."""
    written = Written(cell)
    one = Member(cell, cell.driver, written.topic, written.topic, instance_id="one")
    until_shared([one], PARTITIONS)
    two = Member(cell, cell.client.second, written.topic, written.topic, instance_id="two")
    until_shared([one, two], PARTITIONS)
    mine, its, revoked = set(one.owned), set(two.owned), list(one.revoked)
    generation = _in_group(cell, written.topic)["generation"]
    two.crash()
    starts = written.ends()
    count = written.write()
    two = Member(cell, cell.client.second, written.topic, written.topic, instance_id="two")
    until([one, two], lambda: two.owned == its, f"the second has {sorted(its)} again")
    found = until_read([one, two], count)
    written.expect_read(found[one], _only(starts, mine), "the first")
    written.expect_read(found[two], _only(starts, its), "the second, come back")
    expect(one.owned, mine, "partitions of the first")
    expect(one.revoked, revoked, "what the first had to give up by then")
    expect(_in_group(cell, written.topic)["generation"], generation, "the group's generation")
    one.close()
    two.close()


def _read_and_stop(cell, member, written, starts):
    """Reads from `starts` to the end, commits in the middle, leaves. Returns where it is to go on."""
    records = until_read([member], written.count_from(starts))[member]
    written.expect_read(records, starts, member.driver.name)
    if "group_commit" in cell.client.lacks and member.driver is not cell.reference:
        member.close()  # it commits what it has read
        expect(member.taken(), [], "records after the last")
        return written.ends()
    middle = {p: first + (end - first) * (p + 1) // (PARTITIONS + 1)
              for (p, first), end in zip(starts.items(), written.ends().values())}
    member.commit(middle)
    member.close()
    return middle


@scenario("group-resume", "groups")
def group_resume(cell):
    """Members of two clients, and the broker's restart between them: each goes on where the one before
    has committed."""
    cell.own_broker()
    written = Written(cell)
    starts = written.ends()
    for reader in (cell.driver, cell.reference, cell.client.second):
        written.write()
        member = Member(cell, reader, written.topic, written.topic)
        until_shared([member], PARTITIONS)
        starts = _read_and_stop(cell, member, written, starts)
        if reader is cell.reference:
            expect(cell.broker.stop(signal.SIGTERM), 0, "the broker's exit code")
            cell.broker.start()


@scenario("group-kill", "groups")
def group_kill(cell):
    """Two members at work while the broker dies and comes back: they go on where they have committed.
    A client that joins anew may read twice what it has not committed; one that goes on may not."""
    broker = cell.own_broker()
    written = Written(cell)
    one, two = members = _two_members(cell, written)
    if "group_commit" not in cell.client.lacks:  # or it commits when it comes to it
        until_read(members, written.write())
        _commit_all(cell, one, two)
    before = [len(member.revoked) for member in members]
    broker.kill()
    broker.start()
    starts = written.ends()
    count = written.write()
    seen = {}
    def have_all():
        for record in one.taken() + two.taken():
            seen.setdefault((record.partition, record.offset), []).append(record)
        return len(seen) >= count
    until(members, have_all, f"{count} records")
    until_shared(members, PARTITIONS)
    have_all()
    written.expect_read([seen[place][0] for place in sorted(seen)], starts, "both together")
    if [len(member.revoked) for member in members] == before:
        expect([place for place, records in seen.items() if len(records) > 1], [], "records that came twice")
    one.close()
    two.close()


def _set_offsets(cell, group, topic, offsets):
    """With the client's admin API, or the broker's command line where it has none."""
    if "group_set_offsets" not in cell.client.lacks:
        cell.ask("group_set_offsets", group=group, topic=topic, offsets=sorted(offsets.items()))
        return
    for partition, offset in offsets.items():
        cell.broker.ringtail("group", "reset-offsets", group, topic, "--to", f"offset:{offset}",
                             "--partition", str(partition))


@scenario("group-reset", "groups")
def group_reset(cell):
    written = Written(cell)
    starts = written.ends()
    count = written.write()
    member = Member(cell, cell.driver, written.topic, written.topic)
    written.expect_read(until_read([member], count)[member], starts, "the first member")
    _commit_all(cell, member)
    wanted = {p: 3 + 4 * p for p in range(PARTITIONS)}
    if "group_set_offsets" not in cell.client.lacks:
        _expect_busy(lambda: _set_offsets(cell, written.topic, written.topic, wanted),
                     UNKNOWN_MEMBER, "offsets of a group that has a member")
    member.close()
    _until_empty(cell, written.topic)
    _set_offsets(cell, written.topic, written.topic, wanted)
    second = Member(cell, cell.client.second, written.topic, written.topic)
    found = until_read([second], written.count_from(wanted))[second]
    written.expect_read(found, wanted, "the member after the reset")
    second.close()


def _expect_busy(call, code, what):
    """Refused by the broker, or by the client, which has asked whether there are members."""
    try:
        answer = call()
    except Refused as error:
        if error.code not in (code, None):
            raise AssertionError(f"{what}: expected error {code}, came {error}") from error
        return
    raise AssertionError(f"{what}: expected error {code}, came {answer}")


def _told_lag(cell, driver, group, topic):
    """{partition: (committed, lag)} as a client tells: its lag, or the end that it knows less the offset."""
    def ask(op, **arguments):
        return driver.ask(op, brokers=cell.broker.kafka(), topic=topic, **arguments)
    told = {}
    for partition, committed, lag in ask("group_offsets", group=group)["offsets"]:
        if lag is None:
            lag = ask("offsets", partition=partition, at="latest")["offset"] - committed
        told[partition] = (committed, lag)
    return told


@scenario("group-lag", "groups")
def group_lag(cell):
    """The same to the client, to another one, to the broker's command line and to its admin page."""
    written = Written(cell)
    written.write()
    group = written.topic
    member = Member(cell, cell.driver, group, written.topic)
    committed = _read_and_stop(cell, member, written, {p: 0 for p in range(PARTITIONS)})
    written.write()
    wanted = {p: (committed[p], end - committed[p]) for p, end in written.ends().items()}
    tellers = [cell.reference] if "group_offsets" in cell.client.lacks else [cell.reference, cell.driver]
    for one in tellers:
        expect(_told_lag(cell, one, group, written.topic), wanted, f"offsets and lag by {one.name}")
    described = json.loads(cell.broker.ringtail("group", "describe", group, "--json"))
    for what, page in (("ringtail group describe", described), ("/v1/groups", _in_group(cell, group))):
        expect({one["partition"]: (one["committed"], one["lag"]) for one in page["offsets"]}, wanted,
               f"offsets and lag by {what}")


@scenario("group-list", "group admin")
def group_list(cell):
    written = Written(cell)
    group = written.topic
    one, two = _two_members(cell, written)
    if group not in cell.ask("group_list")["groups"]:
        raise AssertionError(f"expected {group} among the groups")
    told = cell.ask("group_describe", group=group)
    expect(told["state"], "Stable", "the group's state")
    expect(sorted(map(sorted, told["members"])), sorted(map(sorted, (one.owned, two.owned))),
           "partitions of the members")
    can_delete = "group_delete" not in cell.client.lacks
    if can_delete:
        _expect_busy(lambda: cell.ask("group_delete", group=group), NON_EMPTY_GROUP, "deletion of a group in use")
    one.close()
    two.close()
    _until_empty(cell, group)
    told = cell.ask("group_describe", group=group)
    expect((told["state"], told["members"]), ("Empty", []), "state and members")
    if can_delete:
        cell.ask("group_delete", group=group)
    else:
        cell.broker.ringtail("group", "delete", group)
    if group in cell.ask("group_list")["groups"]:
        raise AssertionError(f"expected {group} to be gone")


@scenario("group-delete-offsets", "group admin")
def group_delete_offsets(cell):
    """What a group has committed in some partitions is forgotten: a member begins there anew."""
    written = Written(cell)
    starts = written.ends()
    count = written.write()
    member = Member(cell, cell.driver, written.topic, written.topic)
    written.expect_read(until_read([member], count)[member], starts, "the first member")
    _commit_all(cell, member)
    wanted = {"group": written.topic, "topic": written.topic, "forget": [1, 3]}
    _expect_busy(lambda: cell.ask("group_delete_offsets", **wanted), SUBSCRIBED_TO_TOPIC,
                 "offsets in a topic that a member reads")
    member.close()
    _until_empty(cell, written.topic)
    cell.ask("group_delete_offsets", **wanted)
    left = {one["partition"]: one["committed"] for one in _in_group(cell, written.topic)["offsets"]}
    expect(left, _only(written.ends(), [0, 2]), "offsets that the group has left")
    second = Member(cell, cell.client.second, written.topic, written.topic)
    found = until_read([second], 2 * EACH)[second]
    written.expect_read(found, {1: 0, 3: 0}, "the member after it")
    second.close()


@scenario("group-consumer-protocol", "KIP-848")
def group_consumer_protocol(cell):
    """The broker assigns the partitions (group.protocol=consumer)."""
    _share(cell, protocol="consumer")


@scenario("group-consumer-migration", "KIP-848")
def group_consumer_migration(cell):
    """Two members of the classic protocol are replaced by such of KIP-848's one by one, and these by classic
    ones again: whoever is there shares the partitions, goes on where the others have committed, and each
    record is read once. The group's type is that of KIP-848 as long as it has one such member."""
    written = Written(cell)
    members = list(_two_members(cell, written))
    drivers = [one.driver for one in members]
    starts = written.ends()
    for place, protocol, kind in ((0, "consumer", "consumer"), (1, "consumer", "consumer"),
                                  (1, "classic", "consumer"), (0, "classic", "classic")):
        count = written.write()
        found = until_read(members, count)
        written.expect_read([one for records in found.values() for one in records], starts, "both together")
        _commit_all(cell, *members)
        members[place].close()
        starts = written.ends()
        members[place] = Member(cell, drivers[place], written.topic, written.topic, protocol=protocol)
        # Until then the other one may have to give up what it has, and take it anew.
        until(members, lambda: _in_group(cell, written.topic)["state"] == "Stable", "the group is stable")
        until_shared(members, PARTITIONS)
        expect(_in_group(cell, written.topic)["type"], kind, f"the group's type after a {protocol} member came")
    found = until_read(members, written.write())
    written.expect_read([one for records in found.values() for one in records], starts, "both, in the end")
    for one in members:
        one.close()
    _until_empty(cell, written.topic)
