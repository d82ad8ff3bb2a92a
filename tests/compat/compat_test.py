#!/usr/bin/env python3
"""The clients of the suite that Debian carries, against every scenario and each other's records.

`tools/test compat` runs all clients. A case is CLIENT.SCENARIO; what matrix.json says does not apply
to a client is no case here.
"""

import atexit
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import suite as S  # noqa: E402

SCRATCH = S.harness.scratch("compat")
SUITE = S.Suite(SCRATCH, {"here": S.HERE, "bin": os.getcwd(), "cache": ""})
for _name in [name for name, client in SUITE.clients.items() if not client.entry.get("debian")]:
    del SUITE.clients[_name]


def setUpModule():
    atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)
    SUITE.start()
    unittest.addModuleCleanup(SUITE.close)


class Compat(unittest.TestCase):
    def settle(self, result):
        if result.outcome == S.PENDING:
            self.skipTest(result.why)
        if result.outcome == S.FAIL:
            self.fail(result.why)


def _case(run):
    return lambda self: self.settle(run())


def _add_cases():
    for name, client in SUITE.clients.items():
        cases = {}
        for ident in S.scenarios.SCENARIOS:
            if not client.not_applicable(ident):
                cases["test_" + ident] = _case(lambda client=client, ident=ident: SUITE.run(client, ident))
        for reader in SUITE.clients.values():
            cases["test_read_by_" + reader.name] = _case(
                lambda client=client, reader=reader: SUITE.run_exchange(client, reader))
        globals()[name] = type(name, (Compat,), cases)


_add_cases()

if __name__ == "__main__":
    S.harness.main()
