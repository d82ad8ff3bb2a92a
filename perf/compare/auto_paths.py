#!/usr/bin/env python3
"""Whether the broker's automatic choice of a path is behind any path that could be forced, over all that `ringtail lab`
measures of sends (size x residency x connections) and appends (size x partitions).

usage: perf/compare/auto_paths.py [--json FILE] [LAB_OPTION...]

Runs `ringtail lab --only` with the engine's paths (bazel-bin/tools/ringtail; --quick, --seconds, --rounds and --dir are
handed on), or judges an older lab's --json FILE. Behind is a group where no round of `auto` lies among those of the forced
path with the most GB/s (of seven rounds or more, without a seventh at either end: perf/lab/difference.h). Goals: none is
behind, and the median of best / auto over all groups is 1.10 at most. Exit status: 0 met, 3 not, 1 failed."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RINGTAIL = os.path.join(ROOT, "bazel-bin/tools/ringtail")
KINDS = ("sender ", "append ")
GOAL = 1.10


def middle(rounds):
    """(low, median, high), as perf/lab/difference.h has them."""
    ordered = sorted(rounds)
    dropped = len(ordered) // 7
    return ordered[dropped], statistics.median(ordered), ordered[len(ordered) - 1 - dropped]


def measured(options):
    with tempfile.TemporaryDirectory() as scratch:
        out = os.path.join(scratch, "lab.json")
        command = [RINGTAIL, "lab", "--only", ",".join(kind.strip() for kind in KINDS), "--json", out, *options]
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0:
            sys.exit("auto_paths.py: " + " ".join(command) + " failed")
        with open(out, encoding="utf-8") as file:
            return json.load(file)


def judge(group):
    """(best / auto, the best forced path, behind) of a group with an automatic path; else None."""
    for kind in KINDS:
        rates = {path["path"].removeprefix(kind): path["rounds"]["gb_per_s"] for path in group["paths"]
                 if path["path"].startswith(kind) and path["rounds"].get("gb_per_s")}
        if "auto" not in rates or len(rates) < 2:
            continue
        auto = middle(rates.pop("auto"))
        best = max(rates, key=lambda path: middle(rates[path])[1])
        low, median, _ = middle(rates[best])
        return median / auto[1], best, auto[2] < low
    return None


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    parser.add_argument("--json", help="an older result of ringtail lab")
    options, handed_on = parser.parse_known_args()
    if options.json:
        with open(options.json, encoding="utf-8") as file:
            result = json.load(file)
    else:
        result = measured(handed_on)
    ratios, behind = [], 0
    for group in result["groups"]:
        judged = judge(group)
        if judged is None:
            continue
        ratio, best, is_behind = judged
        ratios.append(ratio)
        behind += is_behind
        what = ", ".join(parameter["text"] for parameter in group["parameters"])
        print(f"{group['family']:6} {what:44} best forced: {best:9} {ratio:6.3f}x of auto{'   BEHIND' if is_behind else ''}")
    if not ratios:
        sys.exit("auto_paths.py: the result has no group with an automatic path and a forced one")
    median = statistics.median(ratios)
    met = behind == 0 and median <= GOAL
    print(f"{len(ratios)} groups: auto behind in {behind}; median best / auto {median:.3f}, goal {GOAL}: "
          f"{'met' if met else 'NOT MET'}")
    sys.exit(0 if met else 3)


if __name__ == "__main__":
    main()
