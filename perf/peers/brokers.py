"""The two brokers of a comparison: processes over directories of their own, on ports of the kernel's
choice, asked over the Kafka protocol in the same words."""

import ctypes
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
sys.path.insert(0, os.path.join(ROOT, "tests/e2e"))
import kafka_wire  # noqa: E402

KAFKA_VERSION = "4.1.1"
CPUS = sorted(os.sched_getaffinity(0))
READY_S = 300
POLL_S = 0.001
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Failed(Exception):
    """Something that could not be measured."""


def start_process(command, log_file, cwd=None):
    """In a session of its own: Ctrl-C is for us, and we end what we started."""
    with open(log_file, "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=cwd,
                                start_new_session=True, preexec_fn=_die_with_parent)


class Broker:
    """Below `root`; the subclasses say `command`, and which port it has."""

    def __init__(self, root):
        self.root = root
        self.log_file = os.path.join(root, "broker.log")
        self.process = None
        self.topics = 0
        os.mkdir(root)

    def start(self, topic=None, partitions=0):
        """Seconds from exec until every partition of the topic has a leader, or there is a broker at all."""
        self.prepare()
        started = time.monotonic()
        self.process = start_process(self.command(), self.log_file, self.root)
        while not self._serves(topic, partitions):
            if self.process.poll() is not None or time.monotonic() > started + READY_S:
                raise Failed(f"{self.name} does not start:\n{self.log()}")
            time.sleep(POLL_S)
        return time.monotonic() - started

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def log(self):
        with open(self.log_file, encoding="utf-8", errors="replace") as file:
            return file.read()[-3000:]

    def pid(self):
        return self.process.pid

    def address(self):
        return f"127.0.0.1:{self.port()}"

    def _serves(self, topic, partitions):
        try:
            with kafka_wire.Connection(self.port()) as peer:
                nodes, leaders = _metadata(peer, topic)
        except (OSError, ValueError, struct.error):
            return False
        return bool(nodes) and len(leaders) >= partitions and all(leader in nodes for leader in leaders)

    def create_topic(self, name, partitions=1, configs=None):
        """Seconds until each partition has a leader; and the leaders."""
        started = time.monotonic()
        with kafka_wire.Connection(self.port()) as peer:
            answer = peer.call(kafka_wire.create_topic(name, partitions, configs or {}))
            error, = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(name))
            if error != 0:
                raise Failed(f"{self.name}: creating {name}: error {error}")
            while True:
                nodes, leaders = _metadata(peer, name)
                if len(leaders) == partitions and all(leader in nodes for leader in leaders):
                    return time.monotonic() - started, [nodes.index(leader) for leader in leaders]
                if time.monotonic() > started + READY_S:
                    raise Failed(f"{self.name}: {name} gets no leaders")
                time.sleep(POLL_S)

    def fresh_topic(self, configs=None):
        """A topic of one partition that the first node leads: with Ringtail, core 0 on the first CPU."""
        elsewhere = []
        while True:
            self.topics += 1
            name = f"t{self.topics}"
            if self.create_topic(name, 1, configs)[1] == [0]:
                break
            elsewhere.append(name)
        for other in elsewhere:
            self.delete_topic(other)
        return name

    def delete_topic(self, name):
        with kafka_wire.Connection(self.port()) as peer:
            answer = peer.call(kafka_wire.delete_topic(name))
        error, = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(name))
        if error != 0:
            raise Failed(f"{self.name}: deleting {name}: error {error}")


class Ringtail(Broker):
    name = "Ringtail"

    def __init__(self, root, program):
        super().__init__(root)
        self.program = program
        self.ports_file = os.path.join(root, "ports.json")

    def prepare(self):
        if os.path.exists(self.ports_file):
            os.unlink(self.ports_file)

    def command(self):
        return [self.program, f"--data_dir={self.root}/data", f"--ports_file={self.ports_file}",
                "--kafka_port=0", "--native_port=0", "--admin_port=0"]

    def port(self):
        """Until it serves there is no ports file, which is an OSError."""
        with open(self.ports_file, encoding="utf-8") as file:
            return json.load(file)["kafka"]


class Kafka(Broker):
    name = "Kafka"
    # Those of its own start script, and the heap.
    JVM = ["-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
           "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
           "-Djava.awt.headless=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]

    def __init__(self, root, lib):
        super().__init__(root)
        self.classes = ["-cp", lib + "/*"]
        self.config = os.path.join(root, "server.properties")
        self._port, controller = _free_ports(2)
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"process.roles=broker,controller\nnode.id=1\nlog.dirs={root}/data\n"
                       f"listeners=PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{controller}\n"
                       "controller.listener.names=CONTROLLER\n"
                       f"controller.quorum.voters=1@127.0.0.1:{controller}\n")
        done = subprocess.run(["java", *self.JVM[-1:], *self.classes, "kafka.tools.StorageTool", "format",
                               "-t", "ringtail-comparisons-A", "-c", self.config],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"Kafka cannot format its directory:\n{(done.stdout + done.stderr)[-2000:]}")

    def prepare(self):
        pass

    def command(self):
        return ["java", *self.JVM, *self.classes, "kafka.Kafka", self.config]

    def port(self):
        return self._port


def fetch_kafka():
    """The folder with Kafka's jars, fetched once."""
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if missing:
        raise Failed(f"Kafka {KAFKA_VERSION} needs Java 17 or newer and Maven; not on this machine: "
                     f"{', '.join(missing)} (apt-get install openjdk-17-jre-headless maven)")
    out = os.path.join(ROOT, ".cache/peers/kafka")
    os.makedirs(out, exist_ok=True)
    done = subprocess.run([os.path.join(ROOT, "tests/compat/clients/java/build.sh"), "kafka-tools", out],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"Kafka {KAFKA_VERSION} cannot be fetched from Maven Central:\n"
                     f"{(done.stdout + done.stderr)[-1500:]}")
    return os.path.join(out, "lib")


def _free_ports(count):
    """Kafka wants its ports named. They are free now, and the kernel does not hand them out again soon."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _metadata(peer, topic):
    """The nodes, and the leader of each partition of the topic (-1 where there is none)."""
    reader = _Reader(peer.call(kafka_wire.metadata(topic)))
    nodes = []
    for _ in range(reader.take("i")):
        nodes.append(reader.take("i"))
        reader.string()
        reader.take("i")
        reader.string()
    reader.take("i")
    leaders = []
    for _ in range(reader.take("i")):
        reader.take("h")
        reader.string()
        reader.take("b")
        for _ in range(reader.take("i")):
            error, _, leader = reader.take("h"), reader.take("i"), reader.take("i")
            leaders.append(leader if error == 0 else -1)
            for _ in ("replicas", "in sync"):
                for _ in range(reader.take("i")):
                    reader.take("i")
    return sorted(nodes), leaders


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, kind):
        value, = struct.unpack_from(">" + kind, self.data, self.at)
        self.at += struct.calcsize(kind)
        return value

    def string(self):
        length = self.take("h")  # -1: null
        self.at += max(0, length)
