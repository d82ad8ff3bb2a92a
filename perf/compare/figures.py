"""What programs that measure a broker of tests/e2e/harness.py share: its figures, noted as they come and
judged where there is a goal, and what is done around a run. tests/e2e is in sys.path."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time

import harness

BIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bazel-bin")


@contextlib.contextmanager
def watched(broker):
    """Kills it in the end; what it logged last is shown where something failed."""
    try:
        yield
    except BaseException:
        print(broker.log()[-3000:], file=sys.stderr)
        raise
    finally:
        broker.kill()


def measure(parser, name, run):
    """The exit code of run(options, a directory to work in), which returns Figures."""
    parser.add_argument("--bin", default=BIN)
    parser.add_argument("--json", help="write the figures there")
    parser.add_argument("flags", nargs="*", help="of the broker, after --")
    options = parser.parse_args()
    harness.RINGTAILD = os.path.join(options.bin, "server/ringtaild")
    harness.RINGTAIL = os.path.join(options.bin, "tools/ringtail")
    harness.POLL_S = 0.001
    root = tempfile.mkdtemp(prefix=f"ringtail-{name}-", dir=os.environ.get("RINGTAIL_PERF_DIR", "/var/tmp"))
    try:
        figures = run(options, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if options.json:
        figures.write(options.json)
    return 3 if figures.missed() else 0


class Figures:
    """goals: the most that a figure may be, by its name."""

    def __init__(self, broker, goals):
        self.broker = broker
        self.goals = goals
        self.found = {}

    def note(self, name, value):
        self.found[name] = round(value, 4)
        goal = self.goals.get(name)
        judged = "" if goal is None else f"   goal <= {goal}: {'met' if value <= goal else 'SHORT'}"
        print(f"{name:24} {value:10.3f}{judged}", flush=True)

    def timed(self, name, function, *args):
        """Of the whole call, and the broker's CPU time where it lives on."""
        pid = self.broker.process.pid if self.broker.process else None
        cpu, started = self.cpu_s() if pid else 0.0, time.monotonic()
        result = function(*args)
        self.note(name + "_s", time.monotonic() - started)
        if self.broker.process:
            self.note(name + "_cpu_s",
                      self.cpu_s() - (cpu if pid == self.broker.process.pid else 0.0))
        return result

    def cpu_s(self):
        """User and system time of the broker so far."""
        fields = self._process_file("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def status_mib(self, field):
        """A size of /proc/PID/status, such as VmRSS."""
        fields = dict(line.split(":", 1) for line in self._process_file("status").splitlines())
        return int(fields[field].split()[0]) / 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.broker.process.pid}/fd"))

    def missed(self):
        return [name for name, goal in self.goals.items() if self.found.get(name, 0) > goal]

    def write(self, path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.found, file, indent=2)

    def _process_file(self, name):
        with open(f"/proc/{self.broker.process.pid}/{name}", encoding="utf-8") as file:
            return file.read()
