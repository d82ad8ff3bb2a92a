#!/usr/bin/env python3
"""Runs the micro benchmarks of a revision and of the working tree in turns, and says what got faster or slower.

Both are built optimised. Every round runs each benchmark that both have, in a process of its own for each, one right
after the other, the order reversed every other round, all on one CPU. Exits 0 if nothing got slower beyond the noise
(verdict.py), 3 if something did, 1 if something failed. REV's Bazel outputs stay in .cache/compare.
"""

import argparse
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import tempfile

import revision
import verdict

ROUNDS = 7
ROUNDS_MIN = 5  # with fewer, rounds that differ by chance alone lie apart too often
REPETITIONS = 5
MIN_TIME_S = 0.01
RUN_TIME_MAX_S = 300
QUIET_LOAD_MAX = 0.7


class Arguments(argparse.ArgumentParser):
    def error(self, message):
        self.exit(1, f"{self.prog}: {message}\n")


def parse_arguments():
    def rounds(text):
        if not text.isdigit() or int(text) < ROUNDS_MIN:
            raise argparse.ArgumentTypeError(f"at least {ROUNDS_MIN}, not '{text}'")
        return int(text)

    def pattern(text):
        try:
            return re.compile(text, re.IGNORECASE)
        except re.error as error:
            raise argparse.ArgumentTypeError(f"'{text}' is no regular expression: {error}")

    parser = Arguments(prog="tools/dev bench", description=__doc__,
                       formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", metavar="REV", required=True, help="the old revision, as git names it")
    parser.add_argument("--filter", metavar="REGEX", type=pattern, default=pattern(""),
                        help="only benchmarks whose PROGRAM:NAME matches somewhere, in any case: crc, ^plan_bench, /1024$")
    parser.add_argument("--rounds", metavar="N", type=rounds, default=ROUNDS, help=f"{ROUNDS} unless given")
    parser.add_argument("--json", metavar="FILE", help="writes all rounds and verdicts there")
    return parser.parse_args()


def list_benchmarks(programs):
    """Name -> program"""
    found = {}
    for program, path in programs.items():
        status, names, complaint = revision.output_of([path, "--benchmark_list_tests"])
        if status != 0:
            raise revision.Failure(f"{program} does not list its benchmarks:\n{complaint}")
        for name in names.split():
            if name in found:
                raise revision.Failure(f"{program} and {found[name]} both have a benchmark {name}")
            found[name] = program
    return found


def measure(path, name, environment):
    """Nanoseconds of CPU for one iteration."""
    command = [path, f"--benchmark_filter=^{re.escape(name)}$", f"--benchmark_min_time={MIN_TIME_S}",
               f"--benchmark_repetitions={REPETITIONS}", "--benchmark_format=json"]
    try:
        status, page, complaint = revision.output_of(command, env=environment, timeout=RUN_TIME_MAX_S)
    except subprocess.TimeoutExpired:
        raise revision.Failure(f"{name} took more than {RUN_TIME_MAX_S} s")
    try:
        if status != 0:
            raise ValueError(f"exit status {status}")
        return verdict.cpu_ns(json.loads(page), name)
    except ValueError as error:
        raise revision.Failure(f"{name} failed: {error}\n{complaint}")


def run_rounds(old, new, rounds):
    """old, new: name -> path of its program, in each revision."""
    progress = sys.stderr if sys.stderr.isatty() else open(os.devnull, "w", encoding="utf-8")
    times = {name: ([], []) for name in old}
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    # What a benchmark that was killed has written goes with the directory.
    with tempfile.TemporaryDirectory(prefix="ringtail-bench-",
                                     dir=os.environ.get("RINGTAIL_PERF_DIR", "/var/tmp")) as scratch:
        environment = {**os.environ, "RINGTAIL_PERF_DIR": scratch}
        for number in range(rounds):
            for name in old:
                print(f"\r\033[Kround {number + 1} of {rounds}: {name}", end="", file=progress, flush=True)
                sides = [(old[name], times[name][0]), (new[name], times[name][1])]
                for path, figures in sides if number % 2 == 0 else reversed(sides):
                    figures.append(measure(path, name, environment))
    print("\r\033[K", end="", file=progress)
    return [verdict.Comparison(name, *times[name]) for name in old]


def measure_both(commit, options):
    """The comparisons, and the verdict.Pairing."""
    with tempfile.TemporaryDirectory(dir=revision.CACHE, prefix="programs-") as copies:
        new_programs = revision.working_tree().build(os.path.join(copies, "new"))
        with revision.checked_out(commit) as tree:
            old_programs = tree.build(os.path.join(copies, "old"))
        old, new = list_benchmarks(old_programs), list_benchmarks(new_programs)
        pairing = verdict.Pairing(old, new, options.filter)
        if not pairing.both:
            raise revision.Failure(f"no benchmark that both revisions have matches '{options.filter.pattern}'")
        return run_rounds({name: old_programs[old[name]] for name in pairing.both},
                          {name: new_programs[new[name]] for name in pairing.both}, options.rounds), pairing


def compare(options):
    commit = revision.commit_of(options.compare)
    new_name = revision.working_tree_name()
    load = os.getloadavg()[0]
    comparisons, pairing = measure_both(commit, options)
    print(f"old: {options.compare} ({commit[:10]}), new: the working tree ({new_name}); "
          f"CPU time, medians of {options.rounds} rounds")
    if load > QUIET_LOAD_MAX:
        print(f"The machine is busy (load {load:.1f}): small changes drown in the noise.")
    print("\n" + "\n".join(verdict.table(comparisons)))
    for names, where in ((pairing.only_old, options.compare), (pairing.only_new, "the working tree")):
        if names:
            print(f"\nonly in {where}:\n  " + "\n  ".join(names))
    counts = {each: verdict.count(comparisons, each) for each in (verdict.SLOWER, verdict.FASTER, verdict.SAME)}
    print("\n" + ", ".join(f"{number} {each}" for each, number in counts.items()))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"old": commit, "new": new_name, "rounds": options.rounds, "load": load,
                       "benchmarks": [one.record() for one in comparisons],
                       "only_old": pairing.only_old, "only_new": pairing.only_new}, file, indent=2)
    return 3 if counts[verdict.SLOWER] else 0


def main():
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleaned up
    os.environ.setdefault("HOME", os.path.expanduser("~"))  # Bazel wants it
    os.makedirs(revision.CACHE, exist_ok=True)
    with open(os.path.join(revision.CACHE, "lock"), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return compare(options)
        except BlockingIOError:
            print("tools/dev bench: another comparison is running here", file=sys.stderr)
        except KeyboardInterrupt:
            return 130
        except (revision.Failure, verdict.BadResult, OSError) as error:
            print(f"tools/dev bench: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
