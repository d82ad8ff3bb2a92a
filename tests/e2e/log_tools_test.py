#!/usr/bin/env python3
"""ringtail log journal, verify, accept; and that the runbook names only commands and flags there are."""

import glob
import json
import os
import re
import shutil
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402

BLOCK = 4096
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def tool(*args):
    return harness.execute([harness.RINGTAIL, "log", *args])


def rows(done):
    return [json.loads(line) for line in done.out.splitlines()]


def flip(path, position):
    """One bit of one byte."""
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))


class LogToolsTest(unittest.TestCase):
    def start(self, cores=1):
        broker = harness.Broker(harness.scratch("tools"), cores)
        self.addCleanup(broker.kill)
        return broker.start()

    def produce(self, broker, topic, batches=5):
        """Each call of the program is a batch at least, so damage to one leaves others."""
        for i in range(batches):
            broker.ringtail("produce", topic, stdin=harness.text(harness.lines(100, i)))

    def verify(self, broker, *names):
        done = tool("verify", "--json", broker.data, *names)
        self.assertIn(done.rc, (0, 1), done.text)
        journal, *partitions = rows(done)
        return done.rc, journal, {one["partition"]: one for one in partitions}

    def offsets(self, broker, topic):
        return [json.loads(line)["offset"] for line in
                broker.ringtail("consume", topic, "--format", "json").splitlines()]

    def test_a_whole_directory_is_whole_stopped_or_killed(self):
        broker = self.start(2)
        broker.create_topic("events", 3)
        self.produce(broker, "events")
        done = tool("verify", broker.data)
        self.assertEqual(done.rc, 2)
        self.assertIn(f"in use by process {broker.process.pid}", done.text)
        broker.kill()
        rc, journal, partitions = self.verify(broker)
        self.assertEqual((rc, journal["clean"], len(partitions)), (0, False, 3))
        self.assertEqual(sum(one["end_offset"] for one in partitions.values()), 500)
        broker.start()
        self.assertEqual(broker.stop(), 0)
        rc, journal, partitions = self.verify(broker, "events-1")
        self.assertEqual((rc, journal["clean"], list(partitions)), (0, True, ["events-1"]))
        self.assertIn("3 partitions whole", tool("verify", broker.data).text)

    def test_what_is_not_there_is_a_usage_error(self):
        broker = self.start()
        broker.stop()
        self.assertEqual(tool("verify", "/no/such/directory").rc, 2)
        self.assertEqual(tool("verify", broker.data, "absent-0").rc, 2)
        self.assertEqual(tool("accept", broker.data, "absent-0").rc, 2)
        self.assertNotEqual(tool("journal", broker.data, "--core", "7").rc, 0)

    def test_the_journal_is_printed(self):
        broker = self.start()
        broker.create_topic("events")
        self.produce(broker, "events", 3)
        broker.kill()
        done = tool("journal", "--entries", "--json", broker.data)
        self.assertEqual(done.rc, 0, done.text)
        found = rows(done)
        self.assertEqual(found[0]["state"], "open")
        appends = [one for one in found if one.get("entry") == "APPEND"]
        self.assertEqual(appends[-1]["end_offset"], 300)
        self.assertTrue(all(one["payload_whole"] for one in appends))
        frames = [one for one in found if "frame" in one]
        self.assertEqual([one["frame"] for one in frames], list(range(1, len(frames) + 1)))
        self.assertEqual({one["state"] for one in frames}, {"live"})
        # Damage below the durable end is told.
        path = os.path.join(broker.data, "journal/core-0000/0.journal")
        flip(path, frames[0]["position"] + 8)
        done = tool("journal", broker.data)
        self.assertEqual(done.rc, 1, done.text)
        broker.start()
        self.assertEqual(len(self.offsets(broker, "events")), 300)

    def test_a_damaged_segment_is_told_and_accepted(self):
        broker = self.start()
        broker.create_topic("events")
        broker.create_topic("other")
        self.produce(broker, "events")
        self.produce(broker, "other")
        broker.stop()
        segment = broker.segment("events")
        size = os.path.getsize(segment)
        dump = rows(tool("dump", "--json", segment))
        victim = dump[len(dump) // 2]
        flip(segment, victim["position"] + 100)
        rc, _, partitions = self.verify(broker)
        self.assertEqual(rc, 1)
        self.assertEqual((partitions["events-0"]["verdict"], partitions["other-0"]["verdict"]),
                         ("damaged", "whole"))
        finding = partitions["events-0"]["findings"][0]
        self.assertEqual(finding["file"], segment)
        self.assertEqual(finding["bytes"],
                         [victim["position"], victim["position"] + victim["bytes"]])
        self.assertEqual(finding["offsets"], [victim["base_offset"], victim["last_offset"] + 1])
        self.assertIn("log accept", finding["do"])

        said = tool("accept", broker.data, "events-0")
        self.assertEqual(said.rc, 0, said.text)
        self.assertIn("would be lost: offsets %d to %d" %
                      (victim["base_offset"], victim["last_offset"]), said.text)
        self.assertEqual(os.path.getsize(segment), size)
        self.assertEqual(tool("accept", "--yes", broker.data, "events-0").rc, 0)
        self.assertEqual(self.verify(broker)[0], 0)
        kept = glob.glob(broker.data + "/events-0.*.set-aside/*.log")
        self.assertEqual([os.path.getsize(path) for path in kept], [size])
        broker.start()
        self.assertEqual(self.offsets(broker, "events"), list(range(victim["base_offset"])))
        broker.ringtail("produce", "events", stdin=b"goes on\n")
        self.assertEqual(len(self.offsets(broker, "events")), victim["base_offset"] + 1)
        self.assertEqual(len(self.offsets(broker, "other")), 500)
        broker.stop()
        self.assertEqual(self.verify(broker)[0], 0)

    def test_a_partition_that_a_start_refuses_is_accepted(self):
        broker = self.start()
        broker.create_topic("events")
        broker.create_topic("other")
        self.produce(broker, "events")
        self.produce(broker, "other")
        broker.kill()
        # The same bytes in journal and segment: nobody has them any more.
        path = os.path.join(broker.data, "journal/core-0000/0.journal")
        found = rows(tool("journal", "--entries", "--json", broker.data))
        segment = broker.segment("events")
        batch = [one for one in rows(tool("dump", "--json", segment)) if "position" in one][2]
        with open(segment, "rb") as file:
            file.seek(batch["position"])
            payload = file.read(batch["bytes"])
        with open(path, "rb") as file:
            at = file.read(1 << 20).index(payload)
        flip(path, at + 70)
        flip(segment, batch["position"] + 70)
        self.assertTrue(any("frame" in one for one in found))
        rc, _, partitions = self.verify(broker)
        self.assertEqual((rc, partitions["events-0"]["verdict"], partitions["other-0"]["verdict"]),
                         (1, "refused", "whole"))

        broker.start()
        self.assertIn("events-0", broker.log())
        self.assertIn("closed for appends", broker.log())
        self.assertEqual(len(self.offsets(broker, "other")), 500)
        broker.ringtail("produce", "other", stdin=b"serves\n")
        failed = broker.try_ringtail("--timeout", "5", "produce", "events", stdin=b"x\n")
        self.assertNotEqual(failed.rc, 0, failed.text)
        broker.stop()
        rc, _, partitions = self.verify(broker)
        self.assertEqual((rc, partitions["events-0"]["verdict"]), (1, "refused"))
        self.assertIn("log accept", partitions["events-0"]["do"])
        done = tool("accept", "--yes", broker.data, "events-0")
        self.assertEqual(done.rc, 0, done.text)
        self.assertIn("lost: offsets", done.text)
        rc, _, partitions = self.verify(broker)
        self.assertEqual(rc, 0, partitions)
        broker.start()
        end = partitions["events-0"]["end_offset"]
        self.assertEqual(end, batch["base_offset"])
        self.assertEqual(self.offsets(broker, "events"), list(range(end)))
        broker.ringtail("produce", "events", stdin=b"goes on\n")
        self.assertEqual(len(self.offsets(broker, "events")), end + 1)
        self.assertEqual(len(self.offsets(broker, "other")), 501)

    def test_a_lost_journal_file_makes_suspects_of_what_nothing_else_tells_of(self):
        broker = self.start()
        broker.create_topic("events")
        self.produce(broker, "events", 2)
        broker.kill()
        os.unlink(os.path.join(broker.data, "journal/core-0000/0.journal"))
        rc, journal, partitions = self.verify(broker)
        self.assertEqual((rc, partitions["events-0"]["verdict"]), (1, "suspect"))
        self.assertIn("are lost", journal["findings"][0]["what"])

    def test_small_files_are_checked(self):
        broker = self.start()
        broker.create_topic("events")
        self.produce(broker, "events")
        broker.stop()
        epochs = os.path.join(broker.data, "events-0/leader-epoch-checkpoint")
        with open(epochs, "w", encoding="ascii") as file:
            file.write("rubbish\n")
        rc, _, partitions = self.verify(broker)
        self.assertEqual((rc, partitions["events-0"]["findings"][0]["file"]), (1, epochs))
        os.unlink(epochs)
        self.assertEqual(self.verify(broker)[0], 0)
        copy = os.path.join(broker.data, "copy-0")
        shutil.copytree(os.path.join(broker.data, "events-0"), copy)
        rc, _, partitions = self.verify(broker)
        self.assertEqual(rc, 1)
        self.assertEqual(partitions["events-0"]["verdict"], "refused")
        self.assertIn("copy-0", partitions["events-0"]["reason"])
        self.assertNotEqual(tool("accept", "--yes", broker.data, "events-0").rc, 0)
        shutil.rmtree(copy)
        slot = os.path.join(broker.data, "journal/core-0000/checkpoint.0")
        flip(slot, 20)
        rc, journal, _ = self.verify(broker)
        self.assertEqual((rc, journal["findings"][0]["file"]), (1, slot))
        os.unlink(os.path.join(broker.data, "journal/MANIFEST"))
        rc, journal, _ = self.verify(broker)
        self.assertEqual(rc, 1)
        self.assertIn("MANIFEST", journal["findings"][0]["what"])

    def test_index_entries_behind_the_end_are_told(self):
        broker = self.start()
        broker.create_topic("events")
        self.produce(broker, "events")
        broker.stop()
        segment = broker.segment("events")
        for suffix, layout, entry in ((".index", ">ii", (900, os.path.getsize(segment))),
                                      (".timeindex", ">qi", (1 << 50, 500))):
            path = segment.replace(".log", suffix)
            with open(path, "r+b") as file:
                before = file.read()
                file.write(struct.pack(layout, *entry))
            rc, _, partitions = self.verify(broker)
            self.assertEqual((rc, [one["file"] for one in partitions["events-0"].get("findings", [])]),
                             (1, [path]))
            with open(path, "wb") as file:
                file.write(before)
            self.assertEqual(self.verify(broker)[0], 0)


class RunbookTest(unittest.TestCase):
    """The README's commands and flags are those of --help."""

    def test_the_commands_are_there(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
            readme = file.read()
        commands = set(re.findall(r"ringtail (topic|broker|group|log|import) ([a-z-]+)", readme))
        self.assertIn(("log", "accept"), commands)
        for group, command in sorted(commands):
            done = harness.execute([harness.RINGTAIL, group, command, "--help"])
            self.assertEqual(done.rc, 0, done.text)
            self.assertIn(f"ringtail {group} {command}", done.text)
        known = harness.execute([harness.RINGTAILD, "--help"]).text
        for flag in set(re.findall(r"`--([a-z][a-z_]+)", readme)):
            if flag not in ("help", "config", "once", "ulimit"):
                self.assertIn("--" + flag, known + self.ringtail_flags(), flag)

    def ringtail_flags(self):
        text = ""
        for words in ([], ["topic", "create"], ["produce"], ["consume"], ["log", "accept"],
                      ["log", "verify"], ["log", "journal"], ["log", "dump"],
                      ["import", "kafka-dir"]):
            text += harness.execute([harness.RINGTAIL, *words, "--help"]).text
        return text


if __name__ == "__main__":
    harness.main()
