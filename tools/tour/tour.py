#!/usr/bin/env python3
"""The tour that tools/run gives: a broker, a topic, a real file through it and back.

Starts ringtaild on loopback, streams the machine's package index into a new topic (one record a line),
reads it back with Ringtail's client and with kcat, compares checksums, and leaves the broker running.
A second start first reads what the one before wrote.
"""

import argparse
import glob
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

START_SECONDS = 60
STOP_SECONDS = 30
CHUNK = 1 << 16


class TourError(Exception):
    """What went wrong, in words for the user."""


class Bar:
    """A progress bar on a terminal, nothing elsewhere; says the rate when done."""

    def __init__(self, what, total):
        self.what, self.total, self.done = what, max(total, 1), 0
        self.started = self.drawn = time.monotonic()
        self.live = sys.stdout.isatty()

    def add(self, count):
        self.done += count
        now = time.monotonic()
        if self.live and now - self.drawn > 0.1:
            self.drawn = now
            width = max(10, min(40, shutil.get_terminal_size().columns - 45))
            filled = min(width, self.done * width // self.total)
            rate = self.done / (now - self.started) / 1e6
            print(f"\r  {self.what:<9} [{'#' * filled}{'.' * (width - filled)}] "
                  f"{100 * self.done // self.total:3} % {rate:7.1f} MB/s ", end="", flush=True)

    def end(self, records):
        seconds = max(time.monotonic() - self.started, 1e-9)
        if self.live:
            print("\r\033[K", end="")
        print(f"  {self.what:<9} {self.done / 1e6:.1f} MB, {records:,} records in {seconds:.2f} s: "
              f"{self.done / seconds / 1e6:.0f} MB/s, {records / seconds:,.0f} records/s")


class Broker:
    """One run of ringtaild; `with` stops it."""

    def __init__(self, options, data_dir):
        self.options, self.data_dir = options, data_dir
        self.ports_file = os.path.join(os.path.dirname(data_dir), "ports.json")
        self.log_path = os.path.join(os.path.dirname(data_dir), "ringtaild.log")
        self.process = None
        self.ports = {}

    def __enter__(self):
        if os.path.exists(self.ports_file):
            os.unlink(self.ports_file)
        command = [self.options.ringtaild, f"--data_dir={self.data_dir}", f"--ports_file={self.ports_file}"]
        command += self._ports() + self.options.ringtaild_flags
        say("+ " + " ".join(command))
        began = time.monotonic()
        with open(self.log_path, "ab") as log:
            # A session of its own: Ctrl-C reaches the tour, and the tour stops the broker in order.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        try:
            self._wait_until_it_serves(began)
        except BaseException:
            self.stop()
            raise
        say(f"  serving after {1000 * (time.monotonic() - began):.0f} ms, process {self.process.pid}; "
            f"its log is {self.log_path}")
        return self

    def __exit__(self, *error):
        self.stop()

    def _ports(self):
        """The usual ports, or, where one of them is taken, ports that the kernel picks."""
        flags, given = [], " ".join(self.options.ringtaild_flags)
        for name, port in (("kafka", 9092), ("native", 7092), ("admin", 6092)):
            needed = range(port, port + 2 + (os.cpu_count() or 1)) if name != "admin" else [port]
            if f"--{name}_port" not in given and not all(port_is_free(p) for p in needed):
                say(f"  port {port} or one after it is taken: the kernel picks the {name} ports")
                flags.append(f"--{name}_port=0")
        return flags

    def _wait_until_it_serves(self, began):
        while not os.path.exists(self.ports_file):
            if self.process.poll() is not None:
                raise TourError(f"ringtaild ended with {self.process.returncode}; its last words:\n{self.last_log()}")
            if time.monotonic() - began > START_SECONDS:
                raise TourError(f"ringtaild did not serve within {START_SECONDS} s; its last words:\n{self.last_log()}")
            time.sleep(0.002)
        with open(self.ports_file, encoding="utf-8") as file:
            self.ports = json.load(file)

    def last_log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return "".join("  " + line for line in log.readlines()[-10:])

    def address(self, listener):
        return f"127.0.0.1:{self.ports[listener]}"

    def stop(self):
        """Stops it as a service manager would; anything but a clean end is an error."""
        if self.process is None:
            return
        process, self.process = self.process, None
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise TourError(f"ringtaild did not stop within {STOP_SECONDS} s and was killed") from None
        if code != 0:
            raise TourError(f"ringtaild ended with {code}; its last words:\n{self.last_log()}")
        say(f"  broker stopped cleanly in {time.monotonic() - began:.2f} s")


def say(text):
    print(text, flush=True)


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def real_text():
    """(name, bytes) of the largest real text at hand: apt's package index, else words, else logs."""
    lists = sorted(glob.glob("/var/lib/apt/lists/*_Packages*"), key=os.path.getsize, reverse=True)
    for path in lists:
        text = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", path], capture_output=True)
        if text.returncode == 0 and text.stdout:
            return path, text.stdout
    for pattern in ("/usr/share/dict/words", "/var/log/dpkg.log", "/var/lib/dpkg/status", "/usr/share/common-licenses/*"):
        for path in glob.glob(pattern):
            try:
                with open(path, "rb") as file:
                    text = file.read()
            except OSError:
                continue
            if text:
                return path, text
    raise TourError("found no text to stream: no package index, word list or dpkg log")


class Tour:
    def __init__(self, options):
        self.options = options
        base = os.path.abspath(options.dir)
        try:
            os.makedirs(base, exist_ok=True)
        except OSError as error:
            raise TourError(f"cannot use {base} ({error.strerror}); name another folder with --dir") from None
        self.data_dir = os.path.join(base, "data")
        self.notes_path = os.path.join(base, "tour.json")
        try:
            with open(self.notes_path, encoding="utf-8") as file:
                self.notes = json.load(file)
        except (OSError, ValueError):
            self.notes = {"started": 0, "topics": []}

    def save_notes(self):
        with open(self.notes_path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.notes, file)
        os.replace(self.notes_path + ".new", self.notes_path)

    def ringtail(self, broker, *arguments, **popen):
        """Starts the CLI; says what a user would type."""
        say("+ ringtail " + " ".join(arguments))
        environment = dict(os.environ, RINGTAIL_BOOTSTRAP=broker.address("native"))
        return subprocess.Popen([self.options.ringtail, *arguments], env=environment,
                                stderr=subprocess.PIPE, **popen)

    def call(self, broker, *arguments):
        process = self.ringtail(broker, *arguments, stdout=subprocess.PIPE)
        out, err = process.communicate()
        if process.returncode != 0:
            raise TourError(f"ringtail {' '.join(arguments)} ended with {process.returncode}: "
                            f"{err.decode(errors='replace').strip()}")
        return out.decode(errors="replace")

    def produce(self, broker, topic, text, records):
        process = self.ringtail(broker, "produce", topic, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        errors = collect(process.stderr)
        bar = Bar("produce", len(text))
        try:
            view = memoryview(text)
            for start in range(0, len(text), CHUNK):
                process.stdin.write(view[start:start + CHUNK])
                bar.add(min(CHUNK, len(text) - start))
            process.stdin.close()
        except BrokenPipeError:
            pass  # it said why on stderr
        finish(process, errors, "produce")
        bar.end(records)

    def consume(self, process, what, note):
        """Reads what a consumer prints and compares it with what was produced."""
        errors = collect(process.stderr)
        bar, digest, lines = Bar(what, note["bytes"]), hashlib.sha256(), 0
        while chunk := process.stdout.read1(CHUNK):
            digest.update(chunk)
            lines += chunk.count(b"\n")
            bar.add(len(chunk))
        finish(process, errors, what)
        bar.end(lines)
        if digest.hexdigest() != note["sha256"]:
            raise TourError(f"{what}: expected {note['records']} records with sha256 {note['sha256']}, "
                            f"came {lines} with {digest.hexdigest()}")
        say(f"  {what:<9} sha256 {note['sha256'][:16]}... is that of the file")

    def read_back(self, broker, note):
        self.consume(self.ringtail(broker, "consume", note["topic"], "--from", "beginning", "--count",
                                   str(note["records"]), stdout=subprocess.PIPE), "consume", note)

    def read_with_kcat(self, broker, note):
        if not shutil.which("kcat"):
            return
        command = ["kcat", "-b", broker.address("kafka"), "-C", "-t", note["topic"], "-o", "beginning", "-e", "-q",
                   "-X", "queued.min.messages=1000000"]  # its own bound of 100,000 would make it pause
        say("+ " + " ".join(command))
        self.consume(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE), "kcat", note)

    def stream(self, broker):
        """A new topic with the text in it, read back by two clients; returns its note."""
        name, text = real_text()
        if not text.endswith(b"\n"):
            text += b"\n"
        self.notes["started"] += 1  # kept at once: a topic of a start that failed is not in the way
        self.save_notes()
        note = {"topic": f"packages-{self.notes['started']}", "records": text.count(b"\n"),
                "bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
        say(f"\nStreaming {name} ({len(text) / 1e6:.1f} MB), one record a line")
        self.call(broker, "topic", "create", note["topic"], "--partitions", "1")
        self.produce(broker, note["topic"], text, note["records"])
        self.notes["topics"].append(note)
        self.save_notes()
        self.read_back(broker, note)
        self.read_with_kcat(broker, note)
        return note

    def latency(self, broker):
        say("\nLatency of single records, from the intended send time to the acknowledgement")
        topic = f"latency-{self.notes['started']}"
        self.call(broker, "topic", "create", topic, "--partitions", "1")
        print(indent(self.call(broker, "bench", "latency", topic, "--rate", "1000", "--seconds", "3")))
        self.call(broker, "topic", "delete", topic)

    def drop_old(self, broker):
        """Keeps the newest topic of the tour, so that starting often fills no disk."""
        topics = self.notes["topics"]
        while len(topics) > 1:
            self.call(broker, "topic", "delete", topics[0]["topic"])
            topics.pop(0)
            self.save_notes()

    def run(self):
        with Broker(self.options, self.data_dir) as broker:
            if self.notes["topics"]:
                left = self.notes["topics"][-1]
                say(f"\nWhat the start before this one left in {left['topic']}")
                self.read_back(broker, left)
            note = self.stream(broker)
            self.latency(broker)
            self.drop_old(broker)
            if not self.options.once:
                self.invite(broker, note)
                wait_for_interrupt(broker)
        if self.options.once:
            say("\nA second start serves the same data")
            with Broker(self.options, self.data_dir) as broker:
                self.read_back(broker, note)

    def invite(self, broker, note):
        kafka, native, admin = (broker.address(n) for n in ("kafka", "native", "admin"))
        say(f"""
The broker is running. In another terminal:

  kcat -b {kafka} -L
  kcat -b {kafka} -C -t {note['topic']} -o beginning -e | grep '^Package: ' | head
  date | kcat -b {kafka} -P -t {note['topic']}
  export RINGTAIL_BOOTSTRAP={native}
  {self.options.ringtail} topic list
  {self.options.ringtail} consume {note['topic']} --from end --follow
  {self.options.ringtail} --help
  curl -s http://{admin}/metrics | head

Ctrl-C stops it; tools/run starts it again with the same data ({self.data_dir}).""")


def indent(text):
    return "\n".join("  " + line for line in text.rstrip().split("\n"))


def collect(stream):
    """Reads a stream to its end in the background."""
    lines = []
    thread = threading.Thread(target=lambda: lines.extend(stream.read().decode(errors="replace").splitlines()))
    thread.start()
    return thread, lines


def finish(process, errors, what):
    code = process.wait()
    thread, lines = errors
    thread.join()
    if code != 0:
        raise TourError(f"{what} ended with {code}: " + "\n".join(lines[-10:]))


def wait_for_interrupt(broker):
    """Returns on Ctrl-C; an end of the broker's own is an error."""
    try:
        code = broker.process.wait()
    except KeyboardInterrupt:
        say("")
        return
    broker.process = None
    raise TourError(f"ringtaild ended by itself with {code}; its last words:\n{broker.last_log()}")


def parse(arguments):
    default_dir = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.cache/run")
    parser = argparse.ArgumentParser(
        prog="tools/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="What follows -- goes to ringtaild: tools/run -- --cores=2 --log_level=debug")
    parser.add_argument("--once", action="store_true", help="do all of it, stop the broker and exit")
    parser.add_argument("--dir", default=os.path.normpath(default_dir), metavar="DIR",
                        help="holds the data directory and the broker's log (default: .cache/run of the checkout)")
    parser.add_argument("--ringtaild", default="bazel-bin/server/ringtaild", help=argparse.SUPPRESS)
    parser.add_argument("--ringtail", default="bazel-bin/tools/ringtail", help=argparse.SUPPRESS)
    parser.add_argument("ringtaild_flags", nargs="*", metavar="-- FLAG...")
    return parser.parse_args(arguments)


def main():
    # A service manager's stop ends the tour as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        Tour(parse(sys.argv[1:])).run()
    except TourError as error:
        sys.exit(f"tools/run: {error}")
    except KeyboardInterrupt:
        sys.exit("\ntools/run: stopped")


if __name__ == "__main__":
    main()
