"""Judges two revisions by google-benchmark's results: faster, slower, or the same within the noise.

A round's figure is the fastest of its repetitions, since what disturbs one only adds to it. Two revisions differ where
their rounds do not overlap: each round of one is faster than all rounds of the other. Of rounds that differ by chance
alone, one benchmark in 1,700 looks like that with seven of them, one in 130 with five. The medians must also be
CHANGE_MIN apart: another layout of the same code costs as much.
"""

import statistics

CHANGE_MIN = 0.02
FASTER, SLOWER, SAME = "faster", "slower", "same"
_NS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


class BadResult(Exception):
    """A benchmark that failed, or that measured nothing."""


def cpu_ns(page, name):
    """The CPU time of an iteration in the fastest repetition. page: what --benchmark_format=json writes."""
    runs = [run for run in page["benchmarks"] if run["run_name"] == name and run["run_type"] == "iteration"]
    if not runs:
        raise BadResult(f"{name}: no result")
    for run in runs:
        if run.get("error_occurred"):
            raise BadResult(f"{name}: {run['error_message']}")
    fastest = min(run["cpu_time"] * _NS[run["time_unit"]] for run in runs)
    if fastest <= 0:
        raise BadResult(f"{name}: no CPU time")
    return fastest


class Pairing:
    """Which benchmarks both revisions have, and which only one. old, new: name -> program.

    Those whose PROGRAM:NAME does not match the pattern are left out; of one that has moved to another program, the new
    one counts.
    """

    def __init__(self, old, new, pattern):
        wanted = [name for name, program in {**old, **new}.items() if pattern.search(f"{program}:{name}")]
        self.both = [name for name in wanted if name in old and name in new]
        self.only_old = [name for name in wanted if name not in new]
        self.only_new = [name for name in wanted if name not in old]


class Comparison:
    """One benchmark in both revisions: nanoseconds of CPU, a figure a round."""

    def __init__(self, name, old, new):
        self.name = name
        self.old = old
        self.new = new
        self.old_median = statistics.median(old)
        self.new_median = statistics.median(new)
        self.ratio = self.new_median / self.old_median
        # From the fastest to the slowest round, of the revision in which they lie further apart.
        self.spread = max((max(rounds) - min(rounds)) / statistics.median(rounds) for rounds in (old, new))

    @property
    def verdict(self):
        if min(self.new) > max(self.old) and self.ratio >= 1 + CHANGE_MIN:
            return SLOWER
        if max(self.new) < min(self.old) and self.ratio <= 1 - CHANGE_MIN:
            return FASTER
        return SAME

    def record(self):
        return {"name": self.name, "old_cpu_ns": self.old, "new_cpu_ns": self.new, "ratio": self.ratio,
                "spread": self.spread, "verdict": self.verdict}


def count(comparisons, verdict):
    return sum(comparison.verdict == verdict for comparison in comparisons)


def time_text(ns):
    """Three digits."""
    size, unit = next(((size, unit) for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)) if ns >= size), (1, "ns"))
    return f"{ns / size:.{2 if ns < 10 * size else 1 if ns < 100 * size else 0}f} {unit}"


def table(comparisons):
    """Lines: what changed comes first, the most first."""
    order = sorted(comparisons, key=lambda one: 0 if one.verdict == SAME else -abs(one.ratio - 1))
    rows = [["benchmark", "old", "new", "new/old", "spread", ""]]
    for one in order:
        rows.append([one.name, time_text(one.old_median), time_text(one.new_median), f"{one.ratio:.3f}",
                     f"{one.spread * 100:.0f} %", one.verdict])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) if i in (0, 5) else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows]
