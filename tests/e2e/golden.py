"""What is in a broker, partition by partition, batch by batch: to compare with a listing on disk."""

import json
import struct

import kafka_wire


def log_start(broker, topic, partition):
    for page in broker.partition_pages():
        if (page["topic"], page["partition"]) == (topic, partition):
            return page["log_start"]
    raise AssertionError(f"no {topic}-{partition}")


def describe(base, last, batch):
    """The CRC is over all that is not named here but the length."""
    _, length, epoch, magic, crc = struct.unpack_from(">qiibI", batch)
    attributes, _, first_ms, max_ms, producer, producer_epoch, sequence, count = struct.unpack_from(
        ">hiqqqhii", batch, 21)
    if kafka_wire.crc32c(batch[21:]) != crc:
        raise AssertionError(f"the batch at {base} is damaged")
    return {"offsets": [base, last], "bytes": 12 + length, "epoch": epoch, "magic": magic,
            "crc": crc, "attributes": attributes, "timestamps": [first_ms, max_ms],
            "producer": [producer, producer_epoch, sequence], "records": count}


def batches(broker, topic, partition, start=None):
    if start is None:
        start = log_start(broker, topic, partition)
    return list(kafka_wire.walk(kafka_wire.fetch_all(broker.kafka_port(), topic, partition,
                                                     offset=start)))


def listing(broker):
    """{"topic-partition": {..., "batches": [...]}}"""
    found = {}
    for page in broker.partition_pages():
        name = f"{page['topic']}-{page['partition']}"
        found[name] = {key: page[key] for key in ("log_start", "log_end", "high_watermark", "status")}
        found[name]["batches"] = [describe(*each) for each in
                                  batches(broker, page["topic"], page["partition"],
                                          page["log_start"])]
    return found


def text(found):
    """A line for each partition and each batch."""
    lines = []
    for name, partition in sorted(found.items()):
        head = {key: value for key, value in partition.items() if key != "batches"}
        lines.append(json.dumps({"partition": name, **head}))
        lines += [json.dumps(each) for each in partition["batches"]]
    return "".join(line + "\n" for line in lines)


def parse(written):
    found, batch_list = {}, None
    for line in written.splitlines():
        row = json.loads(line)
        if "partition" in row:
            batch_list = row["batches"] = []
            found[row.pop("partition")] = row
        else:
            batch_list.append(row)
    return found
