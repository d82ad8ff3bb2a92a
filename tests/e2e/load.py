"""Producers that keep what was acknowledged, and the comparison with what a broker then has."""

import random
import threading

import kafka_wire

# Small, so that seconds of load lap the journal, and segments are synced behind it all the time.
SMALL_JOURNAL = ["--journal_file_bytes=1MiB", "--journal_bytes_max=4MiB",
                 "--journal_sync_age_ms=300"]
LARGE_BYTES_MAX = 80 << 20  # of a producer's larger batches; then it goes on with small ones
SMALL_BYTES = 4096


def batches(seed):
    """Of all sizes, up to one that no journal frame holds, which is synced in place."""
    rng = random.Random(seed)
    return [kafka_wire.batch([rng.randbytes(size)])
            for size in (10, 50, 200, 1000, 3000, 9000, 20_000, 60_000, 200_000, 700_000,
                         1_048_450)]


BATCHES = batches(7)


class Load:
    """A producer for each partition of a topic, on a connection of its own, until it is ended or
    the broker is gone."""

    def __init__(self, broker, topic, partitions, seed=1, bytes_max=1 << 20, large=LARGE_BYTES_MAX):
        self.acked = {}  # {(topic, partition, base offset): batch}
        self.acks = [0] * partitions
        self.errors = [None] * partitions  # the last answer, where it was an error
        self.refusals = [0] * partitions  # since the last acknowledgement
        self.topic = topic
        self.port = broker.kafka_port()
        self.bytes_max = bytes_max
        self.large = large
        self.stop = False
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(number, seed), daemon=True)
                        for number in range(partitions)]
        for thread in self.threads:
            thread.start()

    def run(self, number, seed):
        rng = random.Random(seed * 100 + number)
        large_left = self.large
        fits = [each for each in BATCHES if len(each) <= self.bytes_max]
        small = [each for each in fits if len(each) <= SMALL_BYTES]
        try:
            with kafka_wire.Connection(self.port, timeout=10) as peer:
                while not self.stop:
                    sent = rng.choice(fits if large_left > 0 else small)
                    if len(sent) > SMALL_BYTES:
                        large_left -= len(sent)
                    error, offset = peer.produce_batch(self.topic, number, sent)
                    self.errors[number] = error or None
                    self.refusals[number] += 1
                    if error == 0:
                        with self.lock:
                            self.acked[self.topic, number, offset] = sent
                        self.acks[number] += 1
                        self.refusals[number] = 0
        except OSError:
            pass  # the broker is gone, or the disk is

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join(15)
        return self

    def missing(self, broker):
        """Acknowledged batches that are not there, or not as they were sent."""
        gone = []
        for partition in range(len(self.acks)):
            acked = {key: sent for key, sent in self.acked.items() if key[1] == partition}
            if not acked:
                continue
            log = kafka_wire.fetch_all(broker.kafka_port(), self.topic, partition,
                                       offset=min(key[2] for key in acked))
            found = {start: batch for start, _, batch in kafka_wire.walk(log)}
            # What the broker writes into a batch, its offset and epoch, is not under the CRC.
            gone += [key for key, sent in acked.items() if found.get(key[2], b"")[17:] != sent[17:]]
        return gone
