#!/usr/bin/env python3
"""Counts the test cases of Bazel runs: count_tests.py FILE... prints `N passed, N failed`.

A FILE is what --build_event_json_file wrote, or, named .xml, a test.xml of its own. A target counts by the cases in its
test.xml; a target that did not build, ran out of time or died without one counts as one failure, and
so does a run whose file is missing or was cut short. Skipped cases are named and counted as neither.
Exits 1 on any failure, or when nothing ran.
"""

import json
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree


class Counts:
    def __init__(self):
        self.passed = 0
        self.failures = []
        self.skipped = []


def count_xml(path, label, counts):
    """Adds the cases of one test.xml."""
    try:
        cases = list(ElementTree.parse(path).iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        counts.failures.append(f"{label}: no readable test.xml ({error})")
        return
    for case in cases:
        name = f"{label} {case.get('classname', '')}.{case.get('name', '')}".strip()
        if case.get("status") == "notrun":
            continue
        if case.find("failure") is not None or case.find("error") is not None:
            counts.failures.append(name)
        elif case.find("skipped") is not None or case.get("result") == "skipped":
            counts.skipped.append(name)
        else:
            counts.passed += 1


def read_events(path):
    """The events of one run: (test targets expected, results by (label, run, shard), exit code's name)."""
    expected, results, exit_name = set(), {}, "CUT_SHORT"
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            ident = event.get("id", {})
            if "targetConfigured" in ident and event.get("configured", {}).get("testSize"):
                expected.add(ident["targetConfigured"]["label"])
            if "testResult" in ident and "testResult" in event:
                key = ident["testResult"]
                results[(key["label"], key.get("run", 1), key.get("shard", 1))] = event["testResult"]
            if "finished" in event:
                exit_name = event["finished"].get("exitCode", {}).get("name", "no exit code")
    return expected, results, exit_name


def count_run(path, counts):
    first = len(counts.failures)
    try:
        expected, results, exit_name = read_events(path)
    except (OSError, ValueError) as error:
        counts.failures.append(f"{path}: {error}")
        return
    for (label, _, _), result in sorted(results.items(), key=lambda item: item[0]):
        before = len(counts.failures)
        files = {f["name"]: f.get("uri", "") for f in result.get("testActionOutput", [])}
        uri = urllib.parse.urlparse(files.get("test.xml", ""))
        if uri.scheme == "file":
            count_xml(urllib.parse.unquote(uri.path), label, counts)
        if result.get("status") not in ("PASSED", "FLAKY") and len(counts.failures) == before:
            counts.failures.append(f"{label}: {result.get('status', 'no status')}")
    for label in sorted(expected - {key[0] for key in results}):
        counts.failures.append(f"{label}: did not build or did not run")
    if exit_name != "SUCCESS" and len(counts.failures) == first:
        counts.failures.append(f"{path}: the run ended with {exit_name}")


def main(paths):
    counts = Counts()
    for path in paths:
        if path.endswith(".xml"):
            count_xml(path, "", counts)
        else:
            count_run(path, counts)
    for name in counts.skipped:
        print(f"skipped: {name}")
    for name in counts.failures:
        print(f"FAILED: {name}")
    print(f"{counts.passed} passed, {len(counts.failures)} failed")
    return 0 if counts.passed and not counts.failures else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
