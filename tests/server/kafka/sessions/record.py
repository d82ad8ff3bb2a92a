#!/usr/bin/env python3
"""Records what Kafka clients send, as seeds of session_fuzz: see README.md."""

import argparse
import base64
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

BYTES_MAX = 4000
TOPIC_ID_MARK = b"\xa5" * 16


def read_exactly(stream, count):
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            return None
        data += piece
    return data


class Proxy:
    """Listens beside the broker, at the address that it advertises, and keeps what clients send."""

    def __init__(self, port):
        self.port = port
        self.sessions = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.2", port))
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            broker = socket.create_connection(("127.0.0.1", self.port))
            frames = []
            self.sessions.append(frames)
            threading.Thread(target=self.requests, args=(client, broker, frames), daemon=True).start()
            threading.Thread(target=self.replies, args=(broker, client), daemon=True).start()

    @staticmethod
    def requests(client, broker, frames):
        while (prefix := read_exactly(client, 4)) is not None:
            body = read_exactly(client, struct.unpack(">i", prefix)[0])
            if body is None:
                break
            frames.append(prefix + body)
            broker.sendall(prefix + body)
        broker.close()

    @staticmethod
    def replies(broker, client):
        try:
            while data := broker.recv(65536):
                client.sendall(data)
        except OSError:
            pass
        client.close()


def kept(frames, topic_id):
    """The first of each API and version, as many as fit, in their order."""
    seen, stream = {}, b""
    for frame in frames[:1000]:
        kind = frame[4:8]
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] > 3 or len(stream) + len(frame) > BYTES_MAX:
            continue
        stream += frame
    return stream.replace(topic_id, TOPIC_ID_MARK)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", default="bazel-bin", help="where Bazel put the programs")
    parser.add_argument("--name", required=True, help="of the client, for the files")
    parser.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("command", nargs="+", help="a shell command; $BROKER is the address")
    options = parser.parse_args()
    scratch = tempfile.mkdtemp(prefix="record-")
    ports_file = os.path.join(scratch, "ports.json")
    with subprocess.Popen([os.path.join(options.bin, "server/ringtaild"), "--data_dir=" + scratch + "/data",
                           "--ports_file=" + ports_file, "--kafka_port=0", "--native_port=0", "--admin_port=0",
                           "--cores=1", "--advertise=broker", "--advertise_host=127.0.0.2"]) as broker:
        try:
            while not os.path.exists(ports_file):
                time.sleep(0.05)
            with open(ports_file, encoding="utf-8") as file:
                ports = json.load(file)
            shell = [os.path.join(options.bin, "tools/ringtail"), "-b", f"127.0.0.1:{ports['native']}"]
            subprocess.run([*shell, "topic", "create", "t", "--partitions", "2"], check=True)
            proxy = Proxy(ports["kafka"])
            environment = dict(os.environ, BROKER=f"127.0.0.2:{ports['kafka']}")
            rc = subprocess.run(" ".join(options.command), shell=True, check=False, env=environment).returncode
        finally:
            broker.terminate()
    with open(os.path.join(scratch, "data/t-0/partition.metadata"), encoding="utf-8") as file:
        text = next(line.split()[1] for line in file if line.startswith("topic_id"))
    topic_id = base64.urlsafe_b64decode(text + "==")
    streams = []
    for frames in proxy.sessions:
        stream = kept(frames, topic_id)
        if stream and stream not in streams:
            streams.append(stream)
    for number, stream in enumerate(streams):
        with open(os.path.join(options.out, f"{options.name}-{number}.bin"), "wb") as file:
            file.write(stream)
    print(f"{len(streams)} sessions of {options.name}")
    return rc


if __name__ == "__main__":
    sys.exit(main())
