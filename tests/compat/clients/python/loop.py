"""The loop of a driver in Python: JSON lines in, JSON lines out (../../README.md)."""

import base64
import json
import os
import sys
import traceback


class Unsupported(Exception):
    """The client has no such operation."""


class ClientError(Exception):
    """An error with Kafka's number, where the client gives one."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def decode(text):
    return None if text is None else base64.b64decode(text)


def record(partition, offset, time_ms, key, value, headers):
    """What `consume` answers for one record."""
    return {"p": partition, "o": offset, "t": time_ms, "k": encode(key), "v": encode(value),
            "h": [[name, encode(data)] for name, data in headers or []]}


def headers_of(one):
    return [(name, decode(data)) for name, data in one["h"]]


def _answer(driver, line):
    request = json.loads(line)
    handler = getattr(driver, "op_" + request["op"], None)
    if handler is None:
        return {"unsupported": "the driver has no operation " + request["op"]}
    try:
        return {"ok": handler(request)}
    except Unsupported as error:
        return {"unsupported": str(error)}
    except Exception as error:  # whatever the library throws is an answer
        traceback.print_exc()
        return {"error": {"code": getattr(error, "code", None) if isinstance(error, ClientError)
                          else driver.code_of(error),
                          "message": f"{type(error).__name__}: {error}"}}


def serve(driver):
    """Until the end of the input. What libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        out.write(json.dumps(_answer(driver, line)) + "\n")
        out.flush()
