#!/usr/bin/env python3
"""Settings that change while the broker runs: what they do, that they stay, and what is refused."""

import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402


class SettingsTest(unittest.TestCase):
    def setUp(self):
        self.broker = harness.Broker(harness.scratch("settings"), 2, ["--busy_poll_us=7"])
        self.addCleanup(self.broker.kill)
        self.broker.start()

    def alter(self, *args):
        return self.broker.ringtail("broker", "alter", *args).decode()

    def setting(self, name):
        return json.loads(self.broker.ringtail("broker", "describe", name, "--json"))[name]

    def source_on_page(self, name):
        return next(knob["source"] for knob in self.broker.page("/v1/config") if knob["name"] == name)

    def refused(self, *args, saying):
        done = self.broker.try_ringtail("broker", *args)
        self.assertNotEqual(done.rc, 0, done.text)
        self.assertIn(saying, done.err.decode())

    def core_cpus(self):
        """On which CPUs the threads of the cores may run."""
        tasks = f"/proc/{self.broker.process.pid}/task"
        cpus = {}
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/status", encoding="utf-8") as file:
                lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            if lines["Name"].startswith("core-"):
                cpus[lines["Name"]] = lines["Cpus_allowed_list"]
        return cpus

    def writes(self, name):
        """Batches of a topic of its own: how many writes each path took for them."""
        self.broker.create_topic(name)
        before = {path: self.broker.total("log", path) for path in ("writes_ring", "writes_inline")}
        self.broker.ringtail("produce", name, stdin=harness.text(harness.lines(100)))
        return {path: self.broker.total("log", path) - before[path] for path in before}

    def test_a_change_takes_effect_at_once_and_goes_back(self):
        self.assertEqual(self.writes("a")["writes_ring"], 0)
        self.alter("write_path=ring")
        written = self.writes("b")
        self.assertGreater(written["writes_ring"], 0)
        self.assertEqual(written["writes_inline"], 0)
        self.alter("--delete", "write_path")
        self.assertEqual(self.writes("c")["writes_ring"], 0)

        sent = lambda: self.broker.total("sender", "file_bytes", "splice")  # noqa: E731
        before = sent()
        self.alter("send_path=splice")
        self.broker.ringtail("consume", "a", "--from", "beginning")
        self.assertGreater(sent(), before)

    def test_pinning(self):
        if os.cpu_count() < 2:
            self.skipTest("one CPU: nothing to choose from")
        pinned = self.core_cpus()
        self.assertEqual(len(pinned), 2)
        self.assertTrue(all(cpus.isdigit() for cpus in pinned.values()), pinned)
        self.alter("pin_cores=false", "io_worker_cpus=any")
        self.assertFalse(any(cpus.isdigit() for cpus in self.core_cpus().values()))
        self.assertEqual([core["cpu"] for core in self.broker.core_pages()], [-1, -1])
        self.alter("pin_cores=true")
        self.assertEqual(self.core_cpus(), pinned)

    def test_what_is_set_survives_and_beats_the_flags(self):
        self.assertEqual(self.setting("busy_poll_us")["source"], "start")
        self.assertIn("all cores", self.alter("busy_poll_us=0", "compaction_bytes_per_s=1MiB"))
        for end in ("none", "kill", "stop"):
            if end == "kill":
                self.broker.kill()
            elif end == "stop":
                self.assertEqual(self.broker.stop(), 0)
            if end != "none":
                self.broker.start()
                self.assertIn("set beside the configuration: busy_poll_us=0", self.broker.log())
            found = self.setting("busy_poll_us")
            self.assertEqual((found["value"], found["started_with"], found["default"], found["source"]),
                             ("0", "7", "20", "set"))
            self.assertEqual(self.source_on_page("busy_poll_us"), "set")
            self.assertEqual(self.source_on_page("stall_report_ms"), "default")
        shown = self.broker.ringtail("broker", "describe").decode()
        self.assertRegex(shown, r"busy_poll_us +0 +set; started with 7")
        self.assertRegex(shown, r"compaction_bytes_per_s +1048576 +set; default 33554432")
        self.alter("--delete", "busy_poll_us")
        self.assertEqual(self.setting("busy_poll_us")["value"], "7")
        self.assertEqual(self.source_on_page("busy_poll_us"), "flag")

    def test_what_makes_no_sense_is_refused_with_what_is_taken(self):
        self.refused("alter", "busy_poll_us=1001", saying="expected 0..1000 us")
        self.refused("alter", "busy_poll_us=1", "write_path=tape", saying="auto|ring|inline")
        self.refused("alter", "kafka_port=1", saying="cannot be changed while the broker runs")
        self.refused("alter", "bussy_poll_us=1", saying="unknown broker config 'bussy_poll_us'")
        self.refused("alter", "busy_poll_us", saying="use NAME=VALUE")
        self.refused("alter", saying="nothing to change")
        self.refused("describe", "bussy_poll_us", saying="--all lists them")
        self.assertIn("nothing was changed", self.alter("busy_poll_us=1", "--validate-only"))
        self.assertEqual(self.setting("busy_poll_us")["value"], "7")

    def test_changes_under_load_lose_nothing(self):
        self.broker.create_topic("load", 2)
        records = 60_000
        load = subprocess.Popen(
            [harness.RINGTAIL, "-b", self.broker.native(), "bench", "produce", "load", "--records",
             str(records), "--record-bytes", "200", "--batch-bytes", "4000", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        changes = [("write_path=ring", "send_path=copy", "busy_poll_us=0"),
                   ("pin_cores=false", "io_worker_cpus=any", "io_file_workers_max=1"),
                   ("journal_bypass_bytes=4096", "journal_sync_age_ms=10"),
                   ("inline_write_bytes_max=0", "write_path=auto", "cold_reads_at_once=1"),
                   ("--delete", "write_path", "--delete", "pin_cores", "--delete", "journal_bypass_bytes")]
        rounds = 0
        while load.poll() is None or rounds < len(changes):
            self.alter(*changes[rounds % len(changes)])
            rounds += 1
        out, err = load.communicate()
        self.assertEqual(load.returncode, 0, err)
        self.assertEqual(json.loads(out)["failed"], 0)
        self.broker.kill()
        self.broker.start()
        ends = [partition["high_watermark"] for partition in self.broker.partition_pages()
                if partition["topic"] == "load"]
        self.assertEqual(sum(ends), records)


if __name__ == "__main__":
    harness.main()
