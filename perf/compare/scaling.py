#!/usr/bin/env python3
"""What a request costs as a broker has more cores, where there are none to measure on: instructions of the engine and the
server, counted by callgrind, and messages between cores.

usage: perf/compare/scaling.py [--test BINARY] [--exchanges N] [CORES...]

A simulated broker of 1, 2, 4 and 8 cores (other numbers if given) serves clients, each connected to the core of its
partition: a produce of one record, durable, and a fetch of it, in turns over the cores. Counted is the difference between
N and 3 N such exchanges, so that starts and connections are in neither. What the simulation itself executes is left out,
and so is the cores' loop, which it drives.
Goal: within 5 % of one core's. Exit status: 0 where it is met, 3 where not, 1 where something failed. Needs valgrind
(apt-get install valgrind), and `tools/dev test //tests/server/kafka:zero_hop_test` first, whose binary it runs. That no
message leaves a core is what that test asserts: where one does, it fails."""

import argparse
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOAL = 1.05
# A line of callgrind_annotate: instructions of a function itself, "file:function [object]". Files are no help, as valgrind
# knows none of what clang compiles; the namespaces of the engine and the server are.
LINE = re.compile(r"^\s*([\d,]+) \([^)]*\)\s+[^:]+:(?:[\w:<>]+ )?(ringtail::[^\[]+)")
# The simulation gives every core a turn whenever one has done something; the loop is left out for that.
NOT_COUNTED = re.compile(r"ringtail::(?:sim::|log::MakeBatch|server::Sim|core::|task::Scheduler::|task::internal::|"
                         r"kafka::(?:\(anonymous namespace\)::)?(?:KafkaDialogue|KafkaSessionTest|ZeroHopTest))")


def instructions(test, cores, exchanges):
    """What the engine's and the server's own functions execute in a run."""
    with tempfile.TemporaryDirectory() as scratch:
        out = os.path.join(scratch, "callgrind")
        environment = dict(os.environ, ZERO_HOP_CORES=str(cores), ZERO_HOP_EXCHANGES=str(exchanges))
        run = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out, test,
                              "--gtest_filter=*NoMessageLeavesACore"], env=environment, cwd=scratch,
                             capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"scaling.py: {test} failed with {cores} cores:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
        listed = subprocess.run(["callgrind_annotate", "--threshold=100", out], capture_output=True, text=True,
                                check=True).stdout
    counted = [match for match in map(LINE.match, listed.splitlines()) if match and not NOT_COUNTED.match(match.group(2))]
    if not counted:
        sys.exit("scaling.py: callgrind_annotate names no function of the engine or the server")
    return sum(int(match.group(1).replace(",", "")) for match in counted)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    parser.add_argument("--test", default=os.path.join(ROOT, "bazel-bin/tests/server/kafka/zero_hop_test"))
    parser.add_argument("--exchanges", type=int, default=400)
    parser.add_argument("cores", nargs="*", type=int, default=[1, 2, 4, 8])
    options = parser.parse_args()
    per_exchange = {}
    for cores in options.cores:
        few, many = (instructions(options.test, cores, count) for count in (options.exchanges, 3 * options.exchanges))
        per_exchange[cores] = (many - few) / (2 * options.exchanges)
        first = per_exchange[options.cores[0]]
        print(f"{cores:3} cores: {per_exchange[cores]:9,.0f} instructions a produce and a fetch, "
              f"{per_exchange[cores] / first:.3f}x; 0 messages between cores", flush=True)
    worst = max(per_exchange.values()) / per_exchange[options.cores[0]]
    met = worst <= GOAL
    print(f"worst: {worst:.3f}x, goal {GOAL}x: {'met' if met else 'NOT MET'}")
    sys.exit(0 if met else 3)


if __name__ == "__main__":
    main()
