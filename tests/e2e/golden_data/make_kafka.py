#!/usr/bin/env python3
"""What kafka-4.1.1/log_dir.tar.xz holds: run against a fresh broker (confluent-kafka 2.16), then
list each partition as import_test.py does into records/TOPIC-N, stop the broker, and pack its
log directory as data/ beside records/.

    make_kafka.py HOST:PORT
"""

import random
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

FIRST_MS = 1_700_000_000_000
TOPICS = {
    "events": (2, {"segment.ms": "1500", "index.interval.bytes": "256", "retention.ms": "-1"}),
    "compacted": (1, {"cleanup.policy": "compact", "segment.ms": "1200",
                      "min.cleanable.dirty.ratio": "0.01", "index.interval.bytes": "256"}),
    "trimmed": (1, {"segment.ms": "1000"}),
    "committed": (1, {}),
    "empty": (1, {}),
}


def produce(servers, keys, lap, codec):
    producer = Producer({"bootstrap.servers": servers, "compression.type": codec,
                         "enable.idempotence": codec != "none", "linger.ms": 20})
    for i in range(12):
        producer.produce("events", key=b"k%d" % i, value=(b"%s %d %d " % (codec.encode(), lap, i)) * 6,
                         partition=i % 2, headers=[("h", b"v%d" % i)],
                         timestamp=FIRST_MS + lap * 100_000 + i)
        producer.produce("trimmed", value=b"t%d" % i)
        for _ in range(3):
            producer.produce("compacted", key=b"key%d" % keys.randrange(8),
                             value=b"%s-%d-%d" % (codec.encode(), lap, i))
    producer.flush()


def transactions(servers):
    producer = Producer({"bootstrap.servers": servers, "transactional.id": "t1"})
    producer.init_transactions()
    for lap in range(3):
        producer.begin_transaction()
        for i in range(3):
            producer.produce("committed", value=b"tx%d-%d" % (lap, i))
        if lap == 1:
            producer.abort_transaction()
        else:
            producer.commit_transaction()


def commit_offsets(servers):
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "g",
                         "auto.offset.reset": "earliest"})
    consumer.subscribe(["events"])
    for _ in range(180):
        consumer.poll(5)
    consumer.commit(asynchronous=False)
    consumer.close()


def main():
    servers = sys.argv[1]
    admin = AdminClient({"bootstrap.servers": servers})
    made = admin.create_topics([NewTopic(name, count, 1, config=configs)
                                for name, (count, configs) in TOPICS.items()])
    for each in made.values():
        each.result()
    keys = random.Random(7)
    for lap in range(3):
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            produce(servers, keys, lap, codec)
        time.sleep(2)  # segments are rolled by time
    for each in admin.delete_records([TopicPartition("trimmed", 0, 50)]).values():
        each.result()
    transactions(servers)
    commit_offsets(servers)
    time.sleep(12)  # the cleaner (log.cleaner.backoff.ms=1000)


if __name__ == "__main__":
    main()
