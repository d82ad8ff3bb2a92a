"""A producer that runs until it is stopped and knows what was acknowledged; and what a topic holds."""

import json
import subprocess
import threading

import harness


def consume(broker, topic):
    """{partition: values in order}, read natively."""
    found = {}
    for line in broker.ringtail("consume", topic, "--format", "json").splitlines():
        record = json.loads(line)
        found.setdefault(record["partition"], []).append(record["value"])
    return found


class Load:
    """An idempotent producer that notes what was acknowledged, until it is stopped."""

    def __init__(self, broker, topic, partitions):
        self.acked = {partition: [] for partition in range(partitions)}
        self.count = 0
        self.process = subprocess.Popen(
            [harness.RDKAFKA, "load", broker.kafka(), topic, str(partitions)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            if not line.endswith(b"\n"):
                break
            partition, value = line.split()
            self.acked[int(partition)].append(value.decode())
            self.count += 1

    def stop(self):
        self.process.kill()
        self.thread.join()
        self.process.stdout.close()
        self.process.wait()
        return self.acked
