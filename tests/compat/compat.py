#!/usr/bin/env python3
"""Runs the compatibility suite: compat.py [--client NAME]... [--scenario PREFIX]...

Builds the clients' drivers whose toolchain is on this machine (below .cache/compat), starts a broker,
runs every cell of matrix.json, and every writer against every reader; prints a line a cell, what was
not run and why, then the table as the README has it (Markdown). The last line is `N passed, N failed`.
Run it as `tools/test compat`, which builds broker and drivers first.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys

import suite as S
import table

ROOT = os.path.dirname(os.path.dirname(S.HERE))


def build(entry, out):
    """Makes a client's driver; None, or why it cannot run."""
    missing = [tool for tool in entry.get("tools", []) if shutil.which(tool) is None]
    if missing:
        return f"not on this machine: {', '.join(missing)}"
    if "build" not in entry:
        return None
    os.makedirs(out, exist_ok=True)
    command = [os.path.join(S.HERE, entry["build"][0]), *entry["build"][1:], out]
    print("+ " + " ".join(command), file=sys.stderr, flush=True)
    log_file = os.path.join(out, "build.log")
    with open(log_file, "wb") as log:
        rc = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
    if rc == 0:
        return None
    with open(log_file, "rb") as log:
        return f"its build ended with {rc} ({log_file}): {log.read()[-1000:].decode(errors='replace')}"


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--client", action="append", metavar="NAME", help="only these")
    parser.add_argument("--scenario", action="append", metavar="PREFIX",
                        help="only these; `exchange` is writers x readers")
    parser.add_argument("--pending", action="store_true", help="run also what is said to be pending")
    parser.add_argument("--bin", default=os.path.join(ROOT, "bazel-bin"), help="what Bazel built")
    parser.add_argument("--cache", default=os.path.join(ROOT, ".cache/compat"), help="built clients")
    parser.add_argument("--json", metavar="FILE", help="(CACHE/result.json)")
    parser.add_argument("--resume", action="store_true",
                        help="do not run again what the JSON file has as passed; the table has both")
    options = parser.parse_args(arguments)
    options.json = options.json or os.path.join(options.cache, "result.json")
    return options


class Run:
    def __init__(self, options):
        self.options = options
        self.cells = {}     # client -> scenario -> Result
        self.exchange = {}  # writer -> reader -> Result
        self.versions = {}
        self.not_run = {}   # client -> why
        if options.resume and os.path.exists(options.json):
            self._load()

    def _load(self):
        with open(self.options.json, encoding="utf-8") as file:
            old = json.load(file)
        for mine, saved in ((self.cells, old["scenarios"]), (self.exchange, old["exchange"])):
            for name, row in saved.items():
                mine[name] = {ident: S.Result(one["outcome"], one["why"], one["seconds"])
                              for ident, one in row.items()}
        self.versions = old["versions"]

    def settle(self, row, ident, name, what, function):
        """One cell, unless an earlier run has passed it."""
        if ident in row and row[ident].outcome == S.PASS:
            return
        row[ident] = result = function()
        print(f"{result.outcome:4} {result.seconds:6.1f} s  {name}  {what}"
              + (f"  {result.why}" if result.outcome == S.FAIL else ""), flush=True)
        self.save()

    def save(self):
        with open(self.options.json + ".new", "w", encoding="utf-8") as file:
            json.dump(self.to_json(), file, indent=1)
        os.replace(self.options.json + ".new", self.options.json)

    def picked(self, ident):
        return not self.options.scenario or any(ident.startswith(p) for p in self.options.scenario)

    def prepare(self, suite):
        """Builds the clients that can run, and asks them their versions; returns them."""
        ready = []
        for client in list(suite.clients.values()):
            why = build(client.entry, os.path.join(self.options.cache, client.name))
            if why is None:
                try:
                    self.versions[client.name] = client.main.ask("hello")["version"]
                    ready.append(client)
                    continue
                except (AssertionError, OSError) as error:
                    why = f"its driver does not start: {error}"
            self.not_run[client.name] = why
            print(f"not run: {client.name}: {why}", flush=True)
        return ready

    def run(self, suite):
        wanted = [client for client in self.prepare(suite)
                  if not self.options.client or client.name in self.options.client]
        for client in wanted:
            cells = self.cells.setdefault(client.name, {})
            for ident in S.scenarios.SCENARIOS:
                if self.picked(ident):
                    self.settle(cells, ident, client.name, ident,
                                lambda client=client, ident=ident: suite.run(client, ident))
        for writer in wanted if self.picked("exchange") else []:
            row = self.exchange.setdefault(writer.name, {})
            for reader in wanted:
                self.settle(row, reader.name, writer.name, f"read by {reader.name}",
                            lambda writer=writer, reader=reader: suite.run_exchange(writer, reader))

    def results(self):
        return [result for row in (*self.cells.values(), *self.exchange.values())
                for result in row.values()]

    def to_json(self):
        def rows(of):
            return {name: {ident: vars(result) for ident, result in row.items()}
                    for name, row in of.items()}
        return {"versions": self.versions, "not_run": self.not_run, "scenarios": rows(self.cells),
                "exchange": rows(self.exchange)}


def main(arguments):
    options = parse(arguments)
    options.bin = os.path.abspath(options.bin)
    S.harness.RINGTAILD = os.path.join(options.bin, "server/ringtaild")
    S.harness.RINGTAIL = os.path.join(options.bin, "tools/ringtail")
    scratch = S.harness.scratch("compat")
    os.makedirs(options.cache, exist_ok=True)
    suite = S.Suite(scratch, {"here": S.HERE, "bin": options.bin, "cache": os.path.abspath(options.cache)},
                    options.client)
    suite.run_pending = options.pending
    run = Run(options)
    try:
        suite.start()
        run.run(suite)
    except BaseException:
        print(f"logs and data: {scratch}", file=sys.stderr)
        raise
    finally:
        suite.close()
    run.save()
    print(table.markdown(run.to_json(), suite.matrix))
    outcomes = [result.outcome for result in run.results()]
    failed = outcomes.count(S.FAIL)
    if failed == 0:
        shutil.rmtree(scratch)
    else:
        print(f"logs and data: {scratch}")
    print(f"{outcomes.count(S.PASS)} passed, {failed} failed")
    return 0 if failed == 0 and outcomes.count(S.PASS) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
