#!/usr/bin/env python3
"""What tools/test says in its last line, case by case."""

import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import count_tests  # noqa: E402

XML = """<testsuites><testsuite>
<testcase classname="Log" name="Reads"/>
<testcase classname="Log" name="Cuts"><failure message="x"/></testcase>
<testcase classname="Log" name="Waits" result="skipped"><skipped/></testcase>
<testcase classname="Log" name="Off" status="notrun"/>
</testsuite></testsuites>"""


class CountTests(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def run_of(self, results, exit_name, configured):
        """The counts of a run with these (label, status, test.xml or None)."""
        events = [{"id": {"targetConfigured": {"label": label}}, "configured": {"testSize": "SMALL"}}
                  for label in configured]
        for label, status, xml in results:
            output = [{"name": "test.xml", "uri": "file://" + self.write("t.xml", xml)}] if xml else []
            events.append({"id": {"testResult": {"label": label, "run": 1, "shard": 1}},
                           "testResult": {"status": status, "testActionOutput": output}})
        if exit_name:
            events.append({"id": {"buildFinished": {}}, "finished": {"exitCode": {"name": exit_name}}})
        counts = count_tests.Counts()
        count_tests.count_run(self.write("events", "\n".join(map(json.dumps, events))), counts)
        return counts

    def test_cases_of_a_target(self):
        counts = self.run_of([("//a:t", "FAILED", XML)], "TESTS_FAILED", ["//a:t"])
        self.assertEqual((1, ["//a:t Log.Cuts"], 1), (counts.passed, counts.failures, len(counts.skipped)))

    def test_target_that_did_not_build(self):
        counts = self.run_of([], "BUILD_FAILURE", ["//a:t"])
        self.assertEqual(["//a:t: did not build or did not run"], counts.failures)

    def test_target_that_died_after_writing_only_good_cases(self):
        good = '<testsuites><testsuite><testcase name="A"/></testsuite></testsuites>'
        counts = self.run_of([("//a:t", "TIMEOUT", good)], "TESTS_FAILED", ["//a:t"])
        self.assertEqual((1, ["//a:t: TIMEOUT"]), (counts.passed, counts.failures))

    def test_run_that_was_cut_short(self):
        counts = self.run_of([], None, [])
        self.assertEqual(1, len(counts.failures))

    def test_run_without_tests_is_a_failure(self):
        self.assertEqual(1, len(self.run_of([], "NO_TESTS_FOUND", []).failures))

    def test_missing_file_is_a_failure(self):
        counts = count_tests.Counts()
        count_tests.count_run(os.path.join(self.folder, "none"), counts)
        self.assertEqual(1, len(counts.failures))

    def test_nothing_counted_exits_1(self):
        self.assertEqual(1, count_tests.main([]))


if __name__ == "__main__":
    unittest.main(verbosity=1)
