"""One client's driver: a process that takes one JSON object a line and answers each with one line.

README.md has the operations. A driver keeps its producers between operations, so that a scenario can
let a producer live through a restart of the broker. It is started when first asked, and killed when
it does not answer in time.
"""

import base64
import json
import os
import queue
import subprocess
import threading

ANSWER_S = 90


class Refused(Exception):
    """The client answered with an error; code is Kafka's number, or None where the client has none."""

    def __init__(self, code, text):
        super().__init__(f"error {code}: {text}")
        self.code = code


class Unsupported(Exception):
    """The driver says that its client has no such operation."""


class Driver:
    """Not thread-safe; one operation at a time."""

    def __init__(self, name, command, log_file, env=None):
        self.name = name
        self._command = command
        self._log_file = log_file
        self._env = dict(os.environ, **(env or {}))
        self._process = None
        self._answers = None
        self.busy = False

    def _start(self):
        with open(self._log_file, "ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE,
                                             stdout=subprocess.PIPE, stderr=log, env=self._env)
        self._answers = queue.Queue()
        threading.Thread(target=self._read, args=(self._process.stdout, self._answers),
                         daemon=True).start()

    @staticmethod
    def _read(stream, answers):
        for line in stream:
            answers.put(line)
        answers.put(None)

    def send(self, op, **arguments):
        """Asks without waiting; receive() has the answer."""
        if self._process is None:
            self._start()
        arguments["op"] = op
        self.busy = True
        try:
            self._process.stdin.write(json.dumps(arguments).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise AssertionError(f"{self.name}: the driver is gone ({error}): {self.log_tail()}") from error

    def has_answered(self):
        return not self._answers.empty()

    def receive(self, timeout=ANSWER_S):
        try:
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            self.kill()
            raise AssertionError(f"{self.name}: no answer within {timeout} s: {self.log_tail()}") from None
        self.busy = False
        if line is None:
            self.kill()
            raise AssertionError(f"{self.name}: the driver ended: {self.log_tail()}")
        answer = json.loads(line)
        if "unsupported" in answer:
            raise Unsupported(answer["unsupported"])
        if "error" in answer:
            raise Refused(answer["error"].get("code"), answer["error"].get("message", ""))
        return answer["ok"]

    def ask(self, op, timeout=ANSWER_S, **arguments):
        self.send(op, **arguments)
        return self.receive(timeout)

    def log_tail(self):
        with open(self._log_file, "rb") as log:
            return log.read()[-3000:].decode(errors="replace")

    def kill(self):
        """Also what it had begun is gone; the next operation starts a new one."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process = None
        self.busy = False

    def close(self):
        """Lets it end by itself, as at the end of its input."""
        if self._process is None:
            return
        try:
            self._process.stdin.close()
            self._process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            pass
        self.kill()


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def decode(text):
    return None if text is None else base64.b64decode(text)
