#!/usr/bin/env python3
"""Ringtail beside Apache Kafka on this machine, in turns: CPU, latency, many partitions, restarts.

  perf/peers/run.py [GOAL...] [--rounds=5] [--quick] [--json=FILE] [--ringtaild=PATH]

GOAL: produce paced_1000 paced_5000 consume sync partitions; all unless named. Kafka comes from Maven
Central once, into .cache/peers (Java 17 and Maven are needed). Works below $RINGTAIL_PERF_DIR (default
/var/tmp, some 10 GB) and removes what it wrote. Exits 0 where all goals are met, 3 where one is not, 1 where
something failed. perf/README.md has the goals and how they are measured."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import brokers  # noqa: E402
import report  # noqa: E402

CHILD_S = 600
PARTITIONS = 2000
WARM_READS = 4
FULL = {"mb": 500, "seconds": 8, "warm_s": 30}
QUICK = {"mb": 200, "seconds": 2, "warm_s": 8}


class Comparison:
    def __init__(self, options, root):
        self.options = options
        self.root = root
        self.size = QUICK if options.quick else FULL
        self.lib = brokers.fetch_kafka()
        self.made = 0
        self.started = []
        self.pair = None  # Ringtail and Kafka, warm
        self.report = report.Report(f"Ringtail beside Kafka {brokers.KAFKA_VERSION} (1 GiB heap), in {root}")
        cpus = brokers.CPUS
        self.report.note(f"Both brokers may use CPUs {', '.join(map(str, cpus))}; the client stands on CPU "
                         f"{cpus[1 % len(cpus)]}. {options.ringtaild}")

    def make(self, kind):
        self.made += 1
        root = os.path.join(self.root, f"{kind.name}-{self.made}")
        broker = (kind(root, self.options.ringtaild) if kind is brokers.Ringtail else kind(root, self.lib))
        self.started.append(broker)
        return broker

    def end(self):
        for broker in self.started:
            broker.kill()

    def warm_pair(self):
        """Both started, and driven with all that is measured until the JVM has compiled it."""
        if self.pair is None:
            self.pair = [self.make(brokers.Ringtail), self.make(brokers.Kafka)]
            for broker in self.pair:
                broker.start()
                self.paced(broker, 5000, seconds=self.size["warm_s"])
                for _ in range(WARM_READS):
                    self.produce(broker, read=True)
        return self.pair

    def drop_pair(self):
        """Their files stay until the end: ext4 makes files slowly for minutes after many were removed."""
        for broker in self.pair or []:
            broker.kill()
        self.pair = None

    def run(self, *command):
        """A program of ours, to its end; what it printed."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_S, check=False,
                              env=dict(os.environ, RINGTAIL_PERF_DIR=self.root))
        if done.returncode != 0:
            raise brokers.Failed(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout

    def load(self, what, broker, topic, **flags):
        os.sync()  # what others left in the page cache is written before, not meanwhile
        out = self.run(os.path.join(self.options.bin, "perf/peers/load"), f"--do={what}", f"--topic={topic}",
                       f"--brokers={broker.address()}", f"--pid={broker.pid()}",
                       *[f"--{name}={value}" for name, value in flags.items()])
        return json.loads(out)

    def raw(self, program, section, *flags):
        """One round of a raw program: the figures of its contender that took the least CPU."""
        file = os.path.join(self.root, "raw.json")
        os.sync()
        self.run(os.path.join(self.options.bin, "perf", program), "--rounds=1", f"--json={file}", *flags)
        with open(file, encoding="utf-8") as found:
            contenders = json.load(found)["sections"][section].values()
        figures = [{figure: value for figure, [value] in rounds.items()} for rounds in contenders]
        return min(figures, key=lambda one: one.get("cpu_s_per_gb", one.get("cpu_us_per_request")))

    # Rounds: each on a topic of its own, which goes away with it.

    def produce(self, broker, read=False):
        topic = broker.fresh_topic()
        figures = self.load("bulk", broker, topic, mb=self.size["mb"])
        if read:
            self.load("read", broker, topic, mb=self.size["mb"])
        broker.delete_topic(topic)
        return figures

    def paced(self, broker, rate, seconds=None, configs=None):
        topic = broker.fresh_topic(configs)
        figures = self.load("paced", broker, topic, rate=rate, seconds=seconds or self.size["seconds"])
        broker.delete_topic(topic)
        return figures

    def partitions(self, kind):
        """A fresh broker: creates, writes to each partition twice, is killed, starts again."""
        broker = self.make(kind)
        broker.start()
        broker.create_topic("warm", 2)
        figures = {"create_ms": broker.create_topic("many", PARTITIONS)[0] * 1e3}
        figures.update(self.load("each", broker, "many", warm_topic="warm"))
        figures["pass_ratio"] = figures["first_pass_ms"] / figures["second_pass_ms"]
        broker.kill()
        os.sync()
        figures["start_ms"] = broker.start("many", PARTITIONS) * 1e3
        broker.kill()
        return figures


def ratio(over, under, figure):
    return over.median(figure) / under.median(figure)


THROUGHPUT = [("gb_per_s", "GB/s", 3), ("cpu_s_per_gb", "server CPU s/GB", 3),
              ("client_cpu_s_per_gb", "client CPU s/GB", 3)]
LATENCY = [("p50_us", "ack p50 us", 0), ("p99_us", "p99 us", 0), ("p999_us", "p99.9 us", 0),
           ("cpu_us_per_record", "server CPU us/record", 1), ("records_per_s", "records/s", 0)]


def compare(comparison, heading, columns, function, *others):
    """Rounds of both brokers, and of the others that are told: (name, function without arguments)."""
    contenders = [(broker.name, lambda broker=broker: function(broker)) for broker in comparison.warm_pair()]
    outcomes = report.run_interleaved(contenders + list(others), comparison.options.rounds)
    comparison.report.table(heading, outcomes, columns)
    return outcomes


def goal_produce(comparison):
    """Beside them the least that any broker has to do, and nothing durable in it."""
    messages = comparison.size["mb"]
    raw = ("raw receive and pwrite",
           lambda: comparison.raw("raw_receive", "receive and pwrite", "--chunk_kib=256", f"--messages={messages}"))
    ringtail, kafka, least = compare(comparison, "produce, 1 KiB records, linger 5 ms", THROUGHPUT, comparison.produce,
                                     raw)
    comparison.report.goal("produce: CPU per GB, Ringtail / Kafka", ratio(ringtail, kafka, "cpu_s_per_gb"), 1 / 5)
    comparison.report.note(f"           the raw loop / Kafka: {ratio(least, kafka, 'cpu_s_per_gb'):.3g}x; "
                           f"Ringtail / the raw loop: {ratio(ringtail, least, 'cpu_s_per_gb'):.3g}x")


def paced(comparison, rate):
    """Beside them a direct write at that rate, which is what being durable takes where none can share it."""
    seconds = comparison.size["seconds"]
    raw = ("raw 4 KiB O_DIRECT|DSYNC, paced",
           lambda: comparison.raw("compare_durable_latency", f"{rate}/s", "--only=O_DIRECT", f"--rates={rate}",
                                  f"--seconds={seconds}"))
    ringtail, kafka, write = compare(comparison, f"{rate:,} unbatched records/s, produced and fetched", LATENCY,
                                     lambda broker: comparison.paced(broker, rate), raw)
    comparison.report.goal(f"{rate:,}/s: ack p99, Ringtail / Kafka", ratio(ringtail, kafka, "p99_us"), 1)
    alone = write.median("cpu_us_per_request") / kafka.median("cpu_us_per_record")
    return ratio(ringtail, kafka, "cpu_us_per_record"), alone


def goal_paced_1000(comparison):
    paced(comparison, 1000)


def goal_paced_5000(comparison):
    ringtail, alone = paced(comparison, 5000)
    comparison.report.goal("5,000/s: CPU per record, Ringtail / Kafka", ringtail, 1 / 3)
    comparison.report.note(f"           the raw write alone / Kafka: {alone:.3g}x")


def goal_consume(comparison):
    mb = comparison.size["mb"]
    topics = {}
    for broker in comparison.warm_pair():
        topics[broker.name] = broker.fresh_topic()
        comparison.load("bulk", broker, topics[broker.name], mb=mb)
    raw = ("raw sendfile loop, 1 MiB chunks",
           lambda: comparison.raw("raw_fetch", "chunks of 1 MiB", "--only=sendfile", "--chunk_kib=1024"))
    ringtail, kafka, loop = compare(comparison, "consume, hot", THROUGHPUT,
                                    lambda broker: comparison.load("read", broker, topics[broker.name], mb=mb), raw)
    for broker in comparison.pair:
        broker.delete_topic(topics[broker.name])
    goal = comparison.report.goal
    goal("consume: CPU per GB, Ringtail / Kafka", ratio(ringtail, kafka, "cpu_s_per_gb"), 1)
    goal("consume: CPU per GB, Ringtail / raw", ratio(ringtail, loop, "cpu_s_per_gb"), 1.15)
    goal("consume: GB/s, Ringtail / Kafka", ratio(ringtail, kafka, "gb_per_s"), 0.95, at_least=True)


def goal_sync(comparison):
    """Kafka syncs each append; Ringtail does what it always does."""
    configs = {"Kafka": {"flush.messages": 1}}
    seconds = comparison.size["seconds"]
    raw = ("raw 4 KiB O_DIRECT|DSYNC, paced",
           lambda: comparison.raw("compare_durable_latency", "1000/s", "--only=O_DIRECT", "--rates=1000",
                                  f"--seconds={seconds}"))
    ringtail, kafka, write = compare(
        comparison, "1,000 unbatched records/s, each append synced by Kafka", LATENCY,
        lambda broker: comparison.paced(broker, 1000, configs=configs.get(broker.name)), raw)
    limit = max(kafka.median("p99_us") / 8, 1.5 * write.median("p99_us"))
    comparison.report.goal("sync: ack p99, Ringtail / the larger of Kafka's by 8 and the raw write's by 2/3",
                           ringtail.median("p99_us") / limit, 1)


def goal_partitions(comparison):
    comparison.drop_pair()
    contenders = [(kind.name, lambda kind=kind: comparison.partitions(kind))
                  for kind in (brokers.Ringtail, brokers.Kafka)]
    ringtail, kafka = report.run_interleaved(contenders, comparison.options.rounds)
    comparison.report.table(f"{PARTITIONS:,} partitions, fresh brokers (Kafka's JVM is cold)", [ringtail, kafka],
                            [("create_ms", "created ms", 0), ("first_pass_ms", "first pass ms", 1),
                             ("second_pass_ms", "second pass ms", 1), ("pass_ratio", "first / second", 2),
                             ("first_pass_cpu_ms", "its CPU ms", 0), ("second_pass_cpu_ms", "its CPU ms", 0),
                             ("start_ms", "start after kill -9 ms", 0)])
    goal = comparison.report.goal
    goal(f"partitions: creating {PARTITIONS:,}", ringtail.median("create_ms") / 1e3, 2, " s")
    goal("partitions: first pass / second", ringtail.median("pass_ratio"), 1.5)
    goal("partitions: start after kill -9, Ringtail / Kafka", ratio(ringtail, kafka, "start_ms"), 1 / 20)


# Partitions last: its brokers are alone on the machine.
GOALS = {"produce": goal_produce, "paced_1000": goal_paced_1000, "paced_5000": goal_paced_5000,
         "consume": goal_consume, "sync": goal_sync, "partitions": goal_partitions}


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("goals", nargs="*", metavar="GOAL", help=", ".join(GOALS))
    parser.add_argument("--rounds", type=int, default=None, help="per contender, behind one that is not counted (5)")
    parser.add_argument("--quick", action="store_true", help="3 short rounds and a short warm-up: for a look")
    parser.add_argument("--json", metavar="FILE", help="also write all rounds there")
    parser.add_argument("--bin", default=os.path.join(brokers.ROOT, "bazel-bin"), help="what Bazel built")
    parser.add_argument("--ringtaild", metavar="PATH", help="the broker (BIN/server/ringtaild)")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.goals if name not in GOALS]
    if unknown:
        parser.error(f"no goal {unknown[0]}; there are: {' '.join(GOALS)}")
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.ringtaild = os.path.abspath(options.ringtaild or os.path.join(options.bin, "server/ringtaild"))
    return options


def main(arguments):
    options = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started us in the background
    root = tempfile.mkdtemp(prefix="ringtail-peers-", dir=os.environ.get("RINGTAIL_PERF_DIR", "/var/tmp"))
    comparison = None
    try:
        comparison = Comparison(options, root)
        for name, function in GOALS.items():
            if not options.goals or name in options.goals:
                function(comparison)
        if options.json:
            comparison.report.write(options.json)
        return 0 if comparison.report.all_met() else 3
    except (brokers.Failed, OSError, subprocess.TimeoutExpired) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if comparison is not None:
            comparison.end()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
