"""What every client has to pass. A scenario is written once, against the operations of README.md.

A scenario is a function of a Cell (compat.py): one client, one broker, fresh topics. It raises when
what came is not what was expected. Its order here is the order of the table's columns.
"""

import signal

import harness
import records as R
from driver import Refused

SCENARIOS = {}  # id -> (function, heading of its column)

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")  # by Kafka's numbers
ACKS = ("0", "1", "all")

# Kafka's error numbers that scenarios expect.
UNKNOWN_TOPIC, TOO_LARGE, BAD_TOPIC, EXISTS, BAD_PARTITIONS, BAD_CONFIG = 3, 10, 17, 36, 37, 40


def scenario(ident, heading):
    def add(function):
        SCENARIOS[ident] = (function, heading)
        return function
    return add


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: expected {wanted}, came {found}")


def expect_refused(code, what, call):
    try:
        answer = call()
    except Refused as error:
        expect(error.code, code, f"{what}, the error's number ({error})")
        return
    raise AssertionError(f"{what}: expected error {code}, came {str(answer)[:200]}")


def _codec_scenario(codec, acks):
    def run(cell):
        wanted = R.numbered(300, seed=CODECS.index(codec), length=160)
        topic = cell.topic()
        cell.produce(topic, wanted, codec=codec, acks=acks)
        R.expect_same(cell.consume(topic, {0: (0, len(wanted))}), wanted, "read back")
        stored = set(R.batch_codecs(cell.broker.segment(topic)))
        expect(stored, {CODECS.index(codec)}, "codec numbers of the stored batches")
    SCENARIOS[f"{codec}-acks-{acks}"] = (run, codec)


for _codec in CODECS:
    for _acks in ACKS:
        _codec_scenario(_codec, _acks)


@scenario("headers", "headers")
def headers(cell):
    wanted = cell.able(R.with_headers())
    topic = cell.topic()
    cell.produce(topic, wanted)
    R.expect_same(cell.consume(topic, {0: (0, len(wanted))}), wanted, "read back")


@scenario("nulls", "null and empty")
def nulls(cell):
    wanted = cell.able(R.with_nulls())
    topic = cell.topic()
    cell.produce(topic, wanted)
    R.expect_same(cell.consume(topic, {0: (0, len(wanted))}), wanted, "read back")


@scenario("large-records", "large")
def large_records(cell):
    """Near max.message.bytes; fetches by a consumer whose limits are smaller than any batch."""
    wanted = [R.Record(b"a", R.printable(1_000_000, 1)), R.Record(b"b", R.printable(1_000_000, 2)),
              R.Record(b"c", b"small")]
    topic = cell.topic()
    cell.produce(topic, wanted, request_max_bytes=2_000_000)
    R.expect_same(cell.consume(topic, {0: (0, 3)}), wanted, "read back")
    found = cell.consume(topic, {0: (0, 3)}, fetch_max_bytes=20_000, partition_max_bytes=10_000)
    R.expect_same(found, wanted, "read back with fetch limits below a batch")


@scenario("larger-records", "large")
def larger_records(cell):
    """A topic's own max.message.bytes, and what is beyond it."""
    topic = cell.topic(max_message_bytes=6_000_000)
    wanted = [R.Record(b"a", R.printable(5_000_000, 3))]
    cell.produce(topic, wanted, request_max_bytes=10_000_000)
    R.expect_same(cell.consume(topic, {0: (0, 1)}), wanted, "read back")


@scenario("too-large", "large")
def too_large(cell):
    topic = cell.topic()
    expect_refused(TOO_LARGE, "a record beyond max.message.bytes", lambda: cell.produce(
        topic, [R.Record(b"a", R.printable(3_000_000, 4))], request_max_bytes=10_000_000))
    wanted = [R.Record(b"b", b"after it")]
    cell.produce(topic, wanted, request_max_bytes=10_000_000)
    R.expect_same(cell.consume(topic, {0: (0, 1)}), wanted, "read back")


@scenario("many-partitions", "64 partitions")
def many_partitions(cell):
    count, each = 64, 20
    topic = cell.topic(partitions=count)
    wanted = {p: R.numbered(each, seed=p, partition=p) for p in range(count)}
    cell.produce(topic, [wanted[p][i] for i in range(each) for p in range(count)])
    found = cell.consume(topic, {p: (0, each) for p in range(count)})
    for p in range(count):
        R.expect_same([one for one in found if one.partition == p], wanted[p], f"partition {p}")


@scenario("idempotent", "idempotent")
def idempotent(cell):
    """Many small batches; the broker must have seen one producer id, and no gap or repetition."""
    wanted = R.numbered(3000)
    topic = cell.topic()
    offsets = cell.produce(topic, wanted, idempotent=True, batch_bytes=2000)["offsets"]
    if offsets is not None:
        expect(offsets, list(range(len(wanted))), "offsets that the producer was told")
    R.expect_same(cell.consume(topic, {0: (0, len(wanted))}), wanted, "read back")
    expect(cell.partition(topic)["producers"], 1, "producers known to the broker")


def _restart(cell, how, idempotent):
    """A producer and a consumer at work while the broker goes away and comes back on its ports."""
    broker = cell.own_broker()
    reader = cell.client.second  # it reads while the client's own driver is at work
    reader.ask("hello")  # it is there before it is needed
    for count in (5_000, 20_000, 80_000):
        topic = cell.topic()
        first, second = R.numbered(100), R.numbered(count, seed=1, length=100)
        options = {"idempotent": idempotent, "batch_bytes": 2000}
        cell.produce(topic, first, **options)
        reader.send("consume", **cell.consume_arguments(topic, {0: (0, len(first) + 1000)}))
        cell.driver.send("produce", **cell.produce_arguments(topic, second, **options))
        harness.wait_for(lambda: cell.driver.has_answered() or
                         cell.partition(topic)["high_watermark"] > len(first) + 100, "the middle")
        midway = not cell.driver.has_answered()
        if how == signal.SIGKILL:
            broker.kill()
        else:
            expect(broker.stop(how), 0, "the broker's exit code")
        broker.start()
        cell.driver.receive()
        seen = [R.Record.from_json(one) for one in reader.receive()["records"]]
        if midway:
            break
    else:
        raise AssertionError("the producer was always done before the broker went away")
    end = cell.partition(topic)["high_watermark"]
    _compare_after_restart(cell, topic, end, first + second, seen, idempotent)


def _compare_after_restart(cell, topic, end, wanted, seen, idempotent):
    found = cell.consume(topic, {0: (0, end)})
    if idempotent:
        R.expect_same(found, wanted, "read back")
    lost = {one.value for one in wanted} - {one.value for one in found}
    expect(len(lost), 0, "acknowledged records that are lost")
    expect({one.value for one in found} - {one.value for one in wanted}, set(), "foreign records")
    R.expect_same(seen, found[:len(seen)], "what the consumer read across the restart")


@scenario("kill", "kill -9")
def kill(cell):
    _restart(cell, signal.SIGKILL, idempotent=False)


@scenario("kill-idempotent", "kill -9")
def kill_idempotent(cell):
    _restart(cell, signal.SIGKILL, idempotent=True)


@scenario("restart", "restart")
def restart(cell):
    _restart(cell, signal.SIGTERM, idempotent=False)


@scenario("restart-idempotent", "restart")
def restart_idempotent(cell):
    _restart(cell, signal.SIGTERM, idempotent=True)


@scenario("offsets", "offsets")
def offsets(cell):
    """Earliest, latest, and by time; no record of that time or later is told as -1 or as the end."""
    count = 100
    topic = cell.topic()
    wanted = R.numbered(count)
    for i, record in enumerate(wanted):
        record.time_ms = R.FIRST_MS + i * 1000
    cell.seed(topic, wanted, batch_bytes=1000)
    def at(place):
        return cell.ask("offsets", topic=topic, partition=0, at=place)["offset"]
    expect(at("earliest"), 0, "earliest")
    expect(at("latest"), count, "latest")
    for place, offset in ((R.FIRST_MS, 0), (R.FIRST_MS + 1, 1), (R.FIRST_MS + 42_000, 42),
                          (R.FIRST_MS + 41_001, 42), (R.FIRST_MS - 5000, 0)):
        expect(at(place), offset, f"the time of the first record and {place - R.FIRST_MS} ms")
    after = at(R.FIRST_MS + count * 1000)
    if after not in (-1, count):
        raise AssertionError(f"a time after the last record: expected -1 or {count}, came {after}")


@scenario("list-topics", "topics")
def list_topics(cell):
    topic = cell.topic(partitions=3)
    if topic not in cell.ask("list_topics")["topics"]:
        raise AssertionError(f"expected {topic} among the topics")
    expect(cell.ask("partitions", topic=topic)["partitions"], 3, "partitions")


@scenario("topics", "topics")
def topics(cell):
    topic = cell.name()
    cell.ask("create_topic", topic=topic, partitions=3, configs={"retention.ms": "7200000"})
    if topic not in cell.ask("list_topics")["topics"]:
        raise AssertionError(f"expected {topic} among the topics")
    expect(cell.ask("partitions", topic=topic)["partitions"], 3, "partitions")
    expect_refused(EXISTS, "a second creation", lambda: cell.ask(
        "create_topic", topic=topic, partitions=3, configs={}))
    expect_refused(BAD_CONFIG, "an unknown config", lambda: cell.ask(
        "create_topic", topic=topic + "-b", partitions=1, configs={"no.such.config": "1"}))
    wanted = R.numbered(10)
    cell.seed(topic, wanted)
    R.expect_same(cell.consume(topic, {0: (0, 10)}), wanted, "read back")
    cell.ask("delete_topic", topic=topic)
    if topic in cell.ask("list_topics")["topics"]:
        raise AssertionError(f"expected {topic} to be gone")
    expect_refused(UNKNOWN_TOPIC, "a second deletion", lambda: cell.ask("delete_topic", topic=topic))


@scenario("add-partitions", "topics")
def add_partitions(cell):
    topic = cell.topic(partitions=2)
    cell.ask("add_partitions", topic=topic, total=5)
    expect(cell.ask("partitions", topic=topic)["partitions"], 5, "partitions")
    wanted = R.numbered(10, partition=4)
    cell.seed(topic, wanted)
    R.expect_same(cell.consume(topic, {4: (0, 10)}), wanted, "read back")
    expect_refused(BAD_PARTITIONS, "fewer partitions", lambda: cell.ask(
        "add_partitions", topic=topic, total=3))


@scenario("delete-records", "topics")
def delete_records(cell):
    topic = cell.topic()
    cell.seed(topic, R.numbered(100), batch_bytes=500)
    expect(cell.ask("delete_records", topic=topic, partition=0, before=60)["low"], 60, "log start")
    expect(cell.ask("offsets", topic=topic, partition=0, at="earliest")["offset"], 60, "earliest")


@scenario("describe-configs", "configs")
def describe_configs(cell):
    topic = cell.topic(retention_ms=7200000)
    configs = cell.ask("describe_config", topic=topic)["configs"]
    expect(configs.get("retention.ms"), "7200000", "retention.ms")
    expect(configs.get("max.message.bytes"), "1048588", "max.message.bytes, a default")
    expect(configs.get("cleanup.policy"), "delete", "cleanup.policy, a default")


@scenario("alter-configs", "configs")
def alter_configs(cell):
    """The whole set is replaced: what is not named goes back to its default."""
    topic = cell.topic(retention_ms=7200000)
    cell.ask("alter_config", topic=topic, configs={"max.message.bytes": "500000"})
    configs = cell.ask("describe_config", topic=topic)["configs"]
    expect(configs.get("max.message.bytes"), "500000", "max.message.bytes")
    expect(configs.get("retention.ms"), "604800000", "retention.ms, not named")


@scenario("incremental-alter-configs", "configs")
def incremental_alter_configs(cell):
    topic = cell.topic(retention_ms=7200000)
    cell.ask("incremental_alter", topic=topic, set={"max.message.bytes": "500000"}, delete=[])
    configs = cell.ask("describe_config", topic=topic)["configs"]
    expect(configs.get("max.message.bytes"), "500000", "max.message.bytes, set")
    expect(configs.get("retention.ms"), "7200000", "retention.ms, not named")
    cell.ask("incremental_alter", topic=topic, set={}, delete=["retention.ms"])
    configs = cell.ask("describe_config", topic=topic)["configs"]
    expect(configs.get("retention.ms"), "604800000", "retention.ms, deleted")
    expect_refused(BAD_CONFIG, "a value out of range", lambda: cell.ask(
        "incremental_alter", topic=topic, set={"max.message.bytes": "-5"}, delete=[]))
