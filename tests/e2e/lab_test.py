#!/usr/bin/env python3
"""ringtail lab through the real programs: a measurement as text, JSON and HTML, compared with itself, turned into flags
that a broker takes; stopped by Ctrl-C; refused where it cannot run. How fast anything is, is not judged."""

import json
import os
import shlex
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402


def lab(*arguments):
    return harness.execute([harness.RINGTAIL, "lab", *arguments])


class LabTest(unittest.TestCase):
    def setUp(self):
        self.root = harness.scratch("lab")
        self.json = os.path.join(self.root, "lab.json")

    def left(self):
        return [name for name in os.listdir(self.root) if os.path.isdir(os.path.join(self.root, name))]

    def test_measures_reports_and_compares(self):
        html = os.path.join(self.root, "lab.html")
        done = lab("--quick", "--seconds", "2", "--rounds", "2", "--dir", self.root, "--size", "4KiB",
                   "--only", "append inline,append ring,pwrite,sendfile,futex", "--json", self.json, "--html", html)
        self.assertEqual(done.rc, 0, done.text)
        for words in ("write 4 KiB, 1 file", "append inline [engine]", "send hot, 4 KiB, 1 connection", "futex",
                      "Summary", "The broker here"):
            self.assertIn(words, done.text)
        with open(self.json) as file:
            result = json.load(file)
        self.assertFalse(result["partial"])
        self.assertEqual({group["family"] for group in result["groups"]}, {"write", "send", "wake"})
        with open(html) as file:
            page = file.read()
        self.assertIn("append inline", page)
        self.assertNotIn("http://", page.replace("http://www.w3.org", ""))
        self.assertEqual(self.left(), [])

        again = lab("--from", self.json, "--compare", self.json)
        self.assertEqual(again.rc, 0, again.text)
        self.assertIn("0 figures worse, 0 better", again.text)

    def test_a_forged_result_gives_flags_that_a_broker_takes(self):
        def path(name, cpu):
            return {"path": name, "engine": True, "promise": "none", "unavailable": "",
                    "rounds": {"gb_per_s": [1.0, 1.0, 1.0], "cpu_s_per_gb": [cpu, cpu, cpu]}}
        forged = self.forged(path)
        with open(self.json, "w") as file:
            json.dump(forged, file)
        report = lab("--from", self.json)
        self.assertEqual(report.rc, 0, report.text)
        line = [line for line in report.text.splitlines() if "ringtaild '" in line]
        self.assertEqual(len(line), 1, report.text)
        flags = shlex.split(line[0])[1:]
        self.assertEqual(flags, ["--send_rule=2048=copy,*=mapped,cold=copy"])
        live = [line for line in report.text.splitlines() if "ringtail broker alter" in line]
        self.assertEqual(shlex.split(live[0].split("alter", 1)[1]), [flag.removeprefix("--") for flag in flags])
        tune = harness.execute([harness.RINGTAIL, "tune", "--lab", self.json])
        self.assertIn("--send_rule=2048=copy,*=mapped,cold=copy", tune.text)

        broker = harness.Broker(self.root, 1, flags)
        self.addCleanup(broker.kill)
        broker.start()
        broker.create_topic("t", 1)
        broker.ringtail("produce", "t", stdin=os.urandom(50_000).hex().encode() + b"\n")
        self.assertEqual(len(broker.ringtail("consume", "t")), 100_001)
        self.assertGreater(self.sent_by(broker, "mapped"), 40_000, "the rule chose the path")

    def sent_by(self, broker, path):
        text = broker.http("/metrics")[1]
        wanted = f'path="{path}"'
        return sum(float(line.split()[-1]) for line in text.splitlines()
                   if line.startswith("ringtail_send_file_bytes_total") and wanted in line)

    def forged(self, path):
        done = lab("--quick", "--seconds", "1", "--rounds", "1", "--dir", self.root, "--only", "futex", "--json", self.json)
        self.assertEqual(done.rc, 0, done.text)
        with open(self.json) as file:
            result = json.load(file)
        result["groups"] = [{
            "family": "send",
            "parameters": [{"name": "residency", "value": 0, "text": "hot"},
                           {"name": "size", "value": 65536, "text": "64 KiB"},
                           {"name": "connections", "value": 1, "text": "1 connection"}],
            "paths": [path("sender sendfile", 2.0), path("sender mapped", 1.0)],
        }]
        return result

    def test_a_broker_under_its_flags(self):
        done = lab("broker", "--quick", "--seconds", "1", "--rounds", "1", "--dir", self.root, "--only", "durability",
                   "--ringtaild", harness.RINGTAILD, "--flag", "cores=1", "--json", self.json)
        self.assertEqual(done.rc, 0, done.text)
        self.assertIn("broker durability, 1,000 records/s", done.text)
        with open(self.json) as file:
            paths = json.load(file)["groups"][0]["paths"]
        self.assertEqual([each["path"] for each in paths], ["journal", "page_cache"])
        for each in paths:
            self.assertGreater(each["rounds"]["p99_us"][0], 0)
        self.assertEqual(self.left(), [])

    def test_a_running_broker_has_its_settings_back(self):
        broker = harness.Broker(self.root, 1)
        self.addCleanup(broker.kill)
        broker.start()
        broker.create_topic("mine")
        broker.ringtail("broker", "alter", "write_path=ring")

        def settings():
            return json.loads(broker.ringtail("broker", "describe", "--all", "--json"))
        before = settings()
        done = harness.execute([harness.RINGTAIL, "-b", broker.native(), "lab", "broker", "--running", "--quick",
                                "--seconds", "1", "--rounds", "1", "--dir", self.root, "--only", "busy_poll_us,write_path",
                                "--json", self.json])
        self.assertEqual(done.rc, 0, done.text)
        with open(self.json) as file:
            groups = json.load(file)["groups"]
        self.assertEqual([[each["path"] for each in group["paths"]] for group in groups],
                         [["0", "20", "100"], ["auto", "inline", "ring"]])
        for group in groups:
            for each in group["paths"]:
                self.assertEqual(each["unavailable"], "")
                self.assertGreater(each["rounds"]["cpu_us_per_op"][0], 0)
        self.assertEqual(settings(), before)
        self.assertEqual([one["name"] for one in json.loads(broker.ringtail("topic", "list", "--json"))], ["mine"])
        self.assertGreater(broker.total("log", "writes_inline"), 0, "it was changed meanwhile")

        done = harness.execute([harness.RINGTAIL, "-b", "10.0.0.1:7092", "lab", "broker", "--running", "--dir", self.root])
        self.assertIn("run this on the broker's machine", done.text)
        broker.kill()
        done = harness.execute([harness.RINGTAIL, "-b", broker.native(), "lab", "broker", "--running",
                                "--dir", self.root])
        self.assertNotEqual(done.rc, 0)

    def test_stopped_it_reports_what_there_is(self):
        process = subprocess.Popen([harness.RINGTAIL, "lab", "--seconds", "600", "--dir", self.root, "--only", "futex,pwrite",
                                    "--json", self.json], stdout=subprocess.PIPE, text=True, start_new_session=True)
        harness.wait_for(self.left, "the lab's directory")
        os.killpg(process.pid, signal.SIGINT)
        text, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, text)
        self.assertIn("partial", text)
        with open(self.json) as file:
            self.assertTrue(json.load(file)["partial"])
        self.assertEqual(self.left(), [])

    def test_what_cannot_be_is_said(self):
        for arguments, words in (
                (["--dir", "/proc"], "/proc"),
                (["--dir", os.path.join(self.root, "none")], "No such file or directory"),
                (["--json", os.path.join(self.root, "none", "lab.json")], "cannot be written to"),
                (["--html", self.root], "is a directory"),
                (["--dir", self.root, "--only", "carrier pigeon"], "nothing is left to measure"),
                (["--from", __file__], "expected a JSON file of the lab"),
                (["--size", "3"], "not in range"),
                (["broker", "--ringtaild", "/dev/null"], "no program")):
            with self.subTest(arguments=arguments):
                done = lab(*arguments)
                self.assertNotEqual(done.rc, 0)
                self.assertIn(words, done.text)


if __name__ == "__main__":
    harness.main()
