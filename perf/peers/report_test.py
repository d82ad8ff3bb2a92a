#!/usr/bin/env python3
"""Rounds take turns, and goals are judged by their medians."""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import report  # noqa: E402


def quiet(function, *args, **options):
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*args, **options)


class ReportTest(unittest.TestCase):
    def test_rounds_take_turns_and_the_first_is_not_counted(self):
        calls = []
        contenders = [(name, lambda name=name: calls.append(name) or {"n": len(calls)}) for name in "ab"]
        a, b = report.run_interleaved(contenders, 2)
        self.assertEqual(list("abbaab"), calls)
        self.assertEqual(([4, 5], [3, 6]), (a.rounds["n"], b.rounds["n"]))

    def test_a_cell_shows_the_median_and_the_extremes(self):
        outcome = report.Outcome("a")
        for value in (9, 1, 2):
            outcome.add({"n": value})
        self.assertEqual(("2.0 (1.0..9.0)", "-"), (outcome.cell("n", 1), outcome.cell("other", 1)))

    def test_a_limit_itself_meets_its_goal(self):
        for value, at_least, met in ((1, False, True), (1.01, False, False), (1, True, True), (0.99, True, False)):
            page = quiet(report.Report, "title")
            quiet(page.goal, "g", value, 1, at_least=at_least)
            self.assertEqual(met, page.all_met(), (value, at_least))

    def test_the_file_has_every_round_and_goal(self):
        page = quiet(report.Report, "title")
        outcome = report.Outcome("a")
        outcome.add({"n": 3})
        outcome.add({"n": 5})
        quiet(page.table, "section", [outcome], [("n", "N", 0)])
        quiet(page.goal, "g", 4, 2, " s")
        path = os.path.join(tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR")), "out.json")
        page.write(path)
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        self.assertEqual({"section": {"a": {"n": [3, 5]}}}, found["sections"])
        self.assertEqual([{"name": "g", "value": 4, "at_least": False, "limit": 2, "unit": " s", "met": False}],
                         found["goals"])


if __name__ == "__main__":
    unittest.main(verbosity=1)
