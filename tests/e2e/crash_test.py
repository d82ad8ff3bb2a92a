#!/usr/bin/env python3
"""What the broker says when it crashes: the calls that led there, by name."""

import ctypes
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402

TGKILL = 234  # x86-64


def thread_named(pid, name):
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/comm", encoding="utf-8") as file:
            if file.read().strip() == name:
                return int(thread)
    raise AssertionError(f"no thread {name}")


class CrashTest(unittest.TestCase):
    def crash(self, number, thread_name, function):
        with harness.Broker(harness.scratch("crash"), 2) as broker:
            broker.create_topic("t", 2)
            pid = broker.process.pid
            thread = thread_named(pid, thread_name)
            self.assertEqual(ctypes.CDLL(None).syscall(TGKILL, pid, thread, int(number)), 0)
            self.assertEqual(broker.process.wait(harness.DEADLINE_S), -number)
            broker.process = None
            log = broker.log()
        self.assertIn(f"*** {number.name} (signal {int(number)}", log)
        self.assertIn(f"in thread {thread_name}", log)
        self.assertIn(function, log)

    def test_a_core_says_where_it_was(self):
        for number in (signal.SIGSEGV, signal.SIGABRT):
            with self.subTest(number.name):
                self.crash(number, "core-1", "ringtail::core::Core::Run()")

    def test_the_control_thread_says_where_it_was(self):
        self.crash(signal.SIGSEGV, "ringtaild", "  main\n")


if __name__ == "__main__":
    harness.main()
