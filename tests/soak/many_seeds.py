#!/usr/bin/env python3
"""Simulations for many more seeds than the tests run, a process for each test case, as many at a time as there are CPUs.

usage: tests/soak/many_seeds.py TARGET=SEEDS...

Builds the targets with Bazel, runs each of their cases with SIM_SEEDS, prints a line a case and, where one fails, the end
of what it said: the seed is in it, and how to replay it. Exit status: 0 where all passed."""

import concurrent.futures
import os
import shlex
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BAZEL = ["bazel", *shlex.split(os.environ.get("RINGTAIL_BAZEL_STARTUP", ""))]


def cases(binary):
    """SUITE.NAME of each test in it."""
    listed = subprocess.run([binary, "--gtest_list_tests"], capture_output=True, text=True, check=True).stdout
    suite = ""
    for line in listed.splitlines():
        if line.startswith("  "):
            yield suite + line.split()[0]
        elif line.split()[0].endswith("."):
            suite = line.split()[0]


def run(binary, case, seeds):
    """(passed, what to print)"""
    started = time.monotonic()
    done = subprocess.run([binary, "--gtest_filter=" + case], env=dict(os.environ, SIM_SEEDS=str(seeds)), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", check=False)
    verdict = "passed" if done.returncode == 0 else f"FAILED ({done.returncode})"
    line = f"{verdict} {time.monotonic() - started:6.0f} s  {case}, SIM_SEEDS={seeds}"
    return done.returncode == 0, line if done.returncode == 0 else line + "\n" + done.stdout[-8000:]


def main():
    if len(sys.argv) < 2 or not all(part.partition("=")[2].isdigit() for part in sys.argv[1:]):
        sys.exit(__doc__)
    wanted = {target: int(seeds) for target, _, seeds in (part.partition("=") for part in sys.argv[1:])}
    if subprocess.run([*BAZEL, "build", "--noshow_progress", *wanted], cwd=ROOT, check=False).returncode != 0:
        sys.exit(1)
    jobs = []
    for target, seeds in wanted.items():
        binary = os.path.join(ROOT, "bazel-bin", target.removeprefix("//").replace(":", "/"))
        jobs += [(binary, case, seeds) for case in cases(binary)]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run, *job) for job in jobs]):
            passed, text = done.result()
            failed += not passed
            print(text, flush=True)
    print(f"{len(jobs) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
