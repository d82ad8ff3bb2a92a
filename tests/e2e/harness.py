"""Runs the shipped programs as a user would: real processes, real sockets on loopback, real files.

Each test file ends with `harness.main()`, which writes Bazel's test.xml with one case per behaviour.
Nothing here sleeps to wait for a state: it polls the state itself, up to a deadline.
"""

import contextlib
import http.client
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.sax.saxutils

RINGTAILD = os.path.abspath("server/ringtaild")
RINGTAIL = os.path.abspath("tools/ringtail")
RDKAFKA = os.path.abspath("tests/e2e/rdkafka_client")
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
DEADLINE_S = 60
POLL_S = 0.01

_started = []  # brokers of the test that runs, for the report of a failure


def scratch(prefix="e2e"):
    """A new directory for one test's data."""
    return tempfile.mkdtemp(prefix=prefix + "-", dir=os.environ.get("TEST_TMPDIR"))


def wait_for(condition, what, deadline_s=DEADLINE_S):
    """What condition() returns once that is true; fails when it isn't within the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(POLL_S)


class Finished:
    """How a command ended."""

    def __init__(self, args, rc, out, err):
        self.args, self.rc, self.out, self.err = args, rc, out, err

    @property
    def text(self):
        return self.out.decode(errors="replace") + self.err.decode(errors="replace")


def execute(args, stdin=b"", timeout=DEADLINE_S, env=None, **options):
    """Runs a command to its end, whatever its exit code."""
    done = subprocess.run(args, input=stdin, capture_output=True, timeout=timeout, check=False,
                          env=dict(os.environ, **(env or {})), **options)
    return Finished(args, done.returncode, done.stdout, done.stderr)


def check(args, stdin=b"", timeout=DEADLINE_S, env=None):
    """What a command printed; fails unless it ended with 0."""
    done = execute(args, stdin, timeout, env)
    if done.rc != 0:
        raise AssertionError(f"{' '.join(args)}\nended with {done.rc}:\n{done.text[-4000:]}")
    return done.out


def kcat(address, *args, stdin=b"", timeout=DEADLINE_S):
    return check(["kcat", "-b", address, *args], stdin, timeout)


def rdkafka(command, *args, timeout=DEADLINE_S):
    return check([RDKAFKA, command, *[str(arg) for arg in args]], timeout=timeout).decode()


class Broker:
    """One ringtaild over a data directory. The kernel picks the ports of every start."""

    def __init__(self, root, cores=1, flags=(), env=None, files_max=None):
        self.root = root
        self.data = os.path.join(root, "data")
        self.ports_file = os.path.join(root, "ports.json")
        self.log_file = os.path.join(root, "ringtaild.log")
        self.cores = cores
        self.flags = list(flags)
        self.env = env or {}
        self.files_max = files_max
        self.process = None
        self.ports = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()

    def command(self, *flags):
        return [RINGTAILD, "--data_dir=" + self.data, "--ports_file=" + self.ports_file,
                "--kafka_port=0", "--native_port=0", "--admin_port=0",
                f"--cores={self.cores}", *self.flags, *flags]

    def _limit_files(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.files_max, self.files_max))

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.ports_file)
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=dict(os.environ, **self.env),
                preexec_fn=self._limit_files if self.files_max else None)
        _started.append(self)
        wait_for(lambda: os.path.exists(self.ports_file) or self.process.poll() is not None,
                 "the ports file")
        if self.process.poll() is not None:
            raise AssertionError(f"ringtaild ended with {self.process.returncode}:\n{self.log()}")
        with open(self.ports_file, encoding="utf-8") as file:
            self.ports = json.load(file)
        return self

    def stop(self, sig=signal.SIGTERM, timeout=40):
        """Asks it to stop; returns the exit code."""
        self.process.send_signal(sig)
        rc = self.process.wait(timeout)
        self.process = None
        return rc

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self, cores=None, flags=None):
        """A clean stop, and a start on the same directory."""
        if self.process is not None:
            rc = self.stop()
            if rc != 0:
                raise AssertionError(f"ringtaild stopped with {rc}:\n{self.log()}")
        self.cores = cores or self.cores
        self.flags = list(flags) if flags is not None else self.flags
        return self.start()

    def log(self):
        try:
            with open(self.log_file, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError as error:  # a disk that a test has taken away
            return f"({self.log_file}: {error})"

    # Addresses; core None is the port that all cores share.
    def kafka(self, core=None):
        return "127.0.0.1:%d" % self.kafka_port(core)

    def native(self, core=None):
        return "127.0.0.1:%d" % self.native_port(core)

    def kafka_port(self, core=None):
        return self.ports["kafka"] if core is None else self.ports["cores"][core]["kafka"]

    def native_port(self, core=None):
        return self.ports["native"] if core is None else self.ports["cores"][core]["native"]

    def http(self, path):
        """(status, body) of an admin page. On a machine that is very busy the broker gives a reply up that
        did not get out within a second: then it is asked again."""
        for tries_left in (2, 1, 0):
            connection = http.client.HTTPConnection("127.0.0.1", self.ports["admin"], timeout=30)
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                return response.status, response.read().decode()
            except http.client.HTTPException:
                if tries_left == 0:
                    raise
            finally:
                connection.close()
        return None

    def page(self, path):
        status, body = self.http(path)
        if status != 200:
            raise AssertionError(f"{path}: {status} {body}")
        return json.loads(body)

    def core_pages(self):
        cores = self.page("/v1/cores")["cores"]
        for core in cores:
            if core["status"] != "ok":
                raise AssertionError(f"core {core['core']} does not answer")
        return cores

    def partition_pages(self):
        """Of all cores; one that is busy for a second is asked again."""
        def answered():
            page = self.page("/v1/partitions")
            return None if page["stalled_cores"] else page
        return wait_for(answered, "all cores answer")["partitions"]

    def total(self, *keys):
        """One counter of /v1/cores, over all cores."""
        def dig(core):
            for key in keys:
                core = core[key]
            return core
        return sum(dig(core) for core in self.core_pages())

    def rss_anon_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as file:
            for line in file:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
        raise AssertionError("no RssAnon")

    def segment(self, topic, partition=0):
        """The path of a partition's first segment."""
        return os.path.join(self.data, f"{topic}-{partition}", "0" * 20 + ".log")

    # The command line, with this broker as its bootstrap.
    def ringtail(self, *args, stdin=b"", timeout=DEADLINE_S):
        return check([RINGTAIL, "-b", self.native(), *args], stdin, timeout)

    def try_ringtail(self, *args, stdin=b"", timeout=DEADLINE_S):
        return execute([RINGTAIL, "-b", self.native(), *args], stdin, timeout)

    def create_topic(self, name, partitions=1, **configs):
        settings = [arg for key, value in configs.items()
                    for arg in ("--config", key.replace("_", ".") + "=" + str(value))]
        self.ringtail("topic", "create", name, "--partitions", str(partitions), *settings)


def lines(count, seed=0, length=40):
    """`count` different lines of text, without the line ends; the same for the same seed."""
    return [b"%08d " % i + (b"%x" % ((i + 1) * 2654435761 * (seed + 3))) * (length // 9)
            for i in range(count)]


def text(records):
    return b"".join(record + b"\n" for record in records)


class _Result(unittest.TextTestResult):
    """Collects each case for test.xml."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.cases = []
        self._since = 0

    def startTest(self, test):
        self._since = time.monotonic()
        del _started[:]
        super().startTest(test)

    def _add(self, test, problem=None, kind="failure"):
        self.cases.append((test, time.monotonic() - self._since, problem, kind))

    def addSuccess(self, test):
        super().addSuccess(test)
        self._add(test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._add(test, reason, "skipped")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._problem(test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._problem(test, self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._problem(subtest, str(err[1]))

    def _problem(self, test, problem):
        for broker in _started:
            problem += f"\nlog of ringtaild over {broker.data}:\n{broker.log()[-6000:]}"
        self._add(test, problem)
        print(f"\n{test}\n{problem}", file=sys.stderr, flush=True)


def _write_xml(path, cases):
    quote = xml.sax.saxutils.quoteattr
    with open(path, "w", encoding="utf-8") as file:
        file.write('<testsuites><testsuite name="e2e">\n')
        for test, seconds, problem, kind in cases:
            names = str(test.id()).split(".")
            body = ""
            if problem is not None:
                clean = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in problem)
                body = f"<{kind} message={quote(clean)}/>"
            file.write(f"<testcase classname={quote(names[-2] if len(names) > 1 else 'e2e')} "
                       f"name={quote(names[-1])} time=\"{seconds:.3f}\">{body}</testcase>\n")
        file.write("</testsuite></testsuites>\n")


def main():
    """Runs the tests of the program's own module; arguments pick cases by part of their name."""
    program = unittest.defaultTestLoader
    patterns = [f"*{arg}*" for arg in sys.argv[1:]]
    filtered = os.environ.get("TESTBRIDGE_TEST_ONLY")
    if filtered:
        patterns.append(f"*{filtered}*")
    program.testNamePatterns = patterns or None
    suite = program.loadTestsFromModule(sys.modules["__main__"])
    runner = unittest.TextTestRunner(verbosity=2, resultclass=_Result)
    result = runner.run(suite)
    xml_file = os.environ.get("XML_OUTPUT_FILE")
    if xml_file:
        _write_xml(xml_file, result.cases)
    slowest = sorted(result.cases, key=lambda case: -case[1])[:5]
    for test, seconds, *_ in slowest:
        print(f"{seconds:6.2f} s  {test}", file=sys.stderr)
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)
