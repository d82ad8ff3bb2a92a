"""A member of a group that is a program of its own: what it prints is its records, what it logs tells
of its partitions.
"""

import ctypes
import re
import signal
import subprocess
import threading

import loop

LEAVES_S = 30
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def _die_with_parent():
    """Whoever kills the driver means its members, too."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Member:
    """`parse` takes bytes and returns (whole records, the bytes after them); `assigned` and `revoked` are
    patterns whose first group, in a line of the log, has a list of partitions as `partition` finds them."""

    def __init__(self, command, parse, assigned, revoked, partition):
        self._parse = parse
        self._assigned, self._revoked = re.compile(assigned), re.compile(revoked)
        self._partition = re.compile(partition)
        self._changed = threading.Condition()
        self._records, self._owned, self._lost, self._log = [], set(), [], []
        self._ended = False
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, preexec_fn=_die_with_parent)
        self._threads = [threading.Thread(target=read, daemon=True)
                         for read in (self._read_records, self._read_log)]
        for thread in self._threads:
            thread.start()

    def _read_records(self):
        rest = b""
        while data := self._process.stdout.read1(1 << 16):
            records, rest = self._parse(rest + data)
            with self._changed:
                self._records += records
                self._changed.notify()
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _read_log(self):
        for line in self._process.stderr:
            with self._changed:
                self._log_line(line.decode(errors="replace"))
                self._changed.notify()

    def _log_line(self, line):
        self._log.append(line)
        if found := self._assigned.search(line):
            self._owned |= set(map(int, self._partition.findall(found.group(1))))
        elif found := self._revoked.search(line):
            gone = list(map(int, self._partition.findall(found.group(1))))
            self._owned -= set(gone)
            self._lost += gone

    def poll(self, ms):
        with self._changed:
            self._changed.wait_for(lambda: self._records or self._ended, ms / 1000)
            if self._ended:
                raise loop.ClientError(None, "the member ended: " + "".join(self._log)[-2000:])
            answer = {"records": self._records, "owned": sorted(self._owned), "revoked": self._lost}
            self._records, self._lost = [], []
        return answer

    def close(self):
        """It commits what it has printed, and leaves; the records that were not polled yet."""
        self._process.terminate()
        self._process.wait(LEAVES_S)
        for thread in self._threads:
            thread.join()
        return {"records": self._records}
