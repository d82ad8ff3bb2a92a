#!/usr/bin/env python3
"""What counts as a change between two revisions, on made-up results."""

import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import verdict  # noqa: E402


def run(name, cpu_time, unit="ns", **fields):
    """One entry as google-benchmark writes it."""
    return {"name": name, "run_name": name, "run_type": "iteration", "repetitions": 3, "threads": 1,
            "iterations": 1000, "real_time": cpu_time * 2, "cpu_time": cpu_time, "time_unit": unit, **fields}


def judge(old, new):
    return verdict.Comparison("BM_A", old, new).verdict


class ResultTest(unittest.TestCase):
    def test_the_fastest_repetition_counts(self):
        page = {"benchmarks": [run("BM_A", 12), run("BM_A", 10), run("BM_A", 30)]}
        self.assertEqual(10, verdict.cpu_ns(page, "BM_A"))

    def test_units_become_nanoseconds(self):
        for unit, ns in (("ns", 3), ("us", 3e3), ("ms", 3e6), ("s", 3e9)):
            self.assertEqual(ns, verdict.cpu_ns({"benchmarks": [run("BM_A", 3, unit)]}, "BM_A"))

    def test_aggregates_and_other_benchmarks_do_not_count(self):
        mean = run("BM_A_mean", 1, run_name="BM_A", run_type="aggregate")
        page = {"benchmarks": [run("BM_A", 10), run("BM_A/1", 5), mean]}
        self.assertEqual(10, verdict.cpu_ns(page, "BM_A"))

    def test_what_failed_or_measured_nothing_is_no_figure(self):
        failed = run("BM_A", 5, error_occurred=True, error_message="the batch is refused")
        for runs, words in (([], "no result"), ([run("BM_A", 9), failed], "the batch is refused"),
                            ([run("BM_A", 0)], "no CPU time")):
            with self.assertRaisesRegex(verdict.BadResult, "BM_A: " + words):
                verdict.cpu_ns({"benchmarks": runs}, "BM_A")


class PairingTest(unittest.TestCase):
    OLD = {"BM_Crc": "batch_bench", "BM_Walk": "batch_bench", "BM_Gone": "batch_bench"}
    NEW = {"BM_Crc": "crc_bench", "BM_Walk": "batch_bench", "BM_Plan": "plan_bench"}

    def pair(self, pattern):
        pairing = verdict.Pairing(self.OLD, self.NEW, re.compile(pattern))
        return pairing.both, pairing.only_old, pairing.only_new

    def test_names_alone_match_in_whatever_program(self):
        self.assertEqual((["BM_Crc", "BM_Walk"], ["BM_Gone"], ["BM_Plan"]), self.pair(""))

    def test_the_pattern_sees_name_and_newest_program(self):
        self.assertEqual((["BM_Crc"], [], []), self.pair("^crc_bench:"))
        self.assertEqual((["BM_Walk"], ["BM_Gone"], []), self.pair("^batch_bench:"))
        self.assertEqual(([], [], ["BM_Plan"]), self.pair("BM_Plan$"))


class VerdictTest(unittest.TestCase):
    OLD = [100, 101, 102, 103, 104]

    def test_rounds_that_do_not_overlap_are_a_change(self):
        self.assertEqual(verdict.SLOWER, judge(self.OLD, [105, 106, 107, 108, 120]))
        self.assertEqual(verdict.FASTER, judge(self.OLD, [80, 96, 97, 98, 99]))

    def test_one_round_among_the_others_makes_it_noise(self):
        self.assertEqual(verdict.SAME, judge(self.OLD, [104, 150, 150, 150, 150]))
        self.assertEqual(verdict.SAME, judge(self.OLD, [50, 50, 50, 50, 100]))
        self.assertEqual(verdict.SAME, judge(self.OLD, self.OLD))

    def test_a_change_below_the_least_is_none(self):
        old = [100.0] * 5
        for new, expected in ((101.9, verdict.SAME), (98.1, verdict.SAME), (102.1, verdict.SLOWER),
                              (97.9, verdict.FASTER)):
            self.assertEqual(expected, judge(old, [new] * 5), new)

    def test_the_order_of_rounds_does_not_matter(self):
        self.assertEqual(verdict.SLOWER, judge([3, 1, 2], [9, 7, 8]))

    def test_ratio_and_spread_are_of_medians(self):
        one = verdict.Comparison("BM_A", [90, 100, 150], [200, 200, 220])
        self.assertEqual((2.0, 0.6), (one.ratio, one.spread))


class TableTest(unittest.TestCase):
    def test_what_changed_stands_first(self):
        lines = verdict.table([
            verdict.Comparison("BM_Same/2", [10, 11], [10, 11]),
            verdict.Comparison("BM_Same/1", [10, 11], [10, 11]),
            verdict.Comparison("BM_Slower", [1000, 1020], [1500, 1530]),
            verdict.Comparison("BM_Faster", [4e6, 4e6], [1e6, 1e6])])
        self.assertEqual(
            ["benchmark      old      new  new/old  spread",
             "BM_Faster  4.00 ms  1.00 ms    0.250     0 %  faster",
             "BM_Slower  1.01 us  1.51 us    1.500     2 %  slower",
             "BM_Same/2  10.5 ns  10.5 ns    1.000    10 %  same",
             "BM_Same/1  10.5 ns  10.5 ns    1.000    10 %  same"], lines)

    def test_verdicts_are_counted(self):
        same = verdict.Comparison("a", [1, 1], [1, 1])
        slower = verdict.Comparison("b", [1, 1], [2, 2])
        self.assertEqual((1, 2, 0), tuple(verdict.count([slower, same, same], each)
                                          for each in (verdict.SLOWER, verdict.SAME, verdict.FASTER)))


if __name__ == "__main__":
    unittest.main(verbosity=1)
