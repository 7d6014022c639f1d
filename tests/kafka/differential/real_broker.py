"""
A real Kafka on this machine: one node, started for a run and thrown away after it.

Its jars come from Maven Central, once, into a cache of the user: `EVENTLOG_KAFKA_CACHE`, or
`~/.cache/eventlog-kafka`. It needs Java 17 or newer, and Maven the first time.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.kafka.differential.client import Address

_BROKER = Path(__file__).parent / "broker"
_POM = "{http://maven.apache.org/POM/4.0.0}"
_CLUSTER = "ZXZlbnRsb2cgdGVzdHMhIQ"
_PATIENCE = 90.0

_JVM = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    # What one node must be told: the defaults are for three.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # What the scripts expect: the options of `our_listener.py` are the same.
    "num.partitions": "2",
    "auto.create.topics.enable": "true",
    "group.initial.rebalance.delay.ms": "0",
    "log.retention.ms": "-1",
    "log.roll.ms": str(2**62),  # records of the scripts are old, and control batches are of now: one segment for both
    # What lets a script wait for milliseconds where the default has it wait for seconds.
    "group.min.session.timeout.ms": "100",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "200",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "10000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "100",
    # Small.
    "num.network.threads": "2",
    "num.io.threads": "3",
    "background.threads": "2",
    "log.cleaner.threads": "1",
    "log.cleaner.dedupe.buffer.size": "2097152",
}


class CannotStart(Exception):
    """Why there is no real Kafka on this machine."""


def version() -> str:
    """The release that is pinned."""
    for dependency in ET.parse(_BROKER / "pom.xml").iter(f"{_POM}dependency"):
        if dependency.findtext(f"{_POM}artifactId") == "kafka_2.13":
            return str(dependency.findtext(f"{_POM}version"))
    raise CannotStart("the pom.xml names no Kafka")


def jars() -> Path:
    """The folder with the jars, which Maven fills if it is not there."""
    root = Path(os.environ.get("EVENTLOG_KAFKA_CACHE") or Path.home() / ".cache" / "eventlog-kafka")
    folder = root / version()
    if folder.is_dir():
        return folder
    if shutil.which("mvn") is None:
        raise CannotStart(f"no jars of Kafka in {folder}, and no Maven (mvn) to fetch them")
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as name:
        shutil.copy(_BROKER / "pom.xml", name)
        copy = ["mvn", "-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=libs"]
        done = subprocess.run(copy, cwd=name, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotStart(f"Maven failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        (Path(name) / "libs").rename(folder)
    return folder


@contextmanager
def real_kafka(*, jvm: Sequence[str] = _JVM, **properties: str) -> Iterator[Address]:
    """
    Start a real Kafka with an empty folder, and kill it in the end.

    Args:
        jvm: options of the Java machine; by default those that start fast.
        properties: of the broker, with `_` for their dots.
    """
    java = _java()
    libs = jars()
    port, controller = _free_ports(2)
    with tempfile.TemporaryDirectory(prefix="eventlog-kafka-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        configured = {
            **_PROPERTIES,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "log.dirs": str(folder / "logs"),
            **{key.replace("_", "."): value for key, value in properties.items()},
        }
        settings = folder / "server.properties"
        settings.write_text("".join(f"{key}={value}\n" for key, value in configured.items()), "utf-8")
        logger = f"-Dlog4j2.configurationFile={_BROKER / 'log4j2.properties'}"
        start = [java, *jvm, logger, "-Dlog4j2.disableJmx=true", "-cp", f"{libs}/*"]
        formatting = [*start, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(settings)]
        done = subprocess.run(formatting, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotStart(f"the folder could not be formatted:\n{done.stdout}{done.stderr}")
        with (folder / "out.log").open("wb") as out:
            process = subprocess.Popen([*start, "kafka.Kafka", str(settings)], stdout=out, stderr=out)
        try:
            _wait(process, port, folder / "out.log")
            yield Address("127.0.0.1", port, process.pid)
        finally:
            process.kill()
            process.wait()


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if java is None:
        raise CannotStart("no Java: set JAVA_HOME, or put java on the PATH")
    return java


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the node answers Metadata with itself."""
    request = bytes.fromhex("0000000e 0003 0001 00000007 ffff 00000000".replace(" ", ""))
    deadline = time.monotonic() + _PATIENCE
    pause = threading.Event()
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
                sock.sendall(request)
                answer = sock.recv(4096)
                if len(answer) > 12 and answer[8:12] == b"\0\0\0\1":
                    return
        except OSError:
            pass
        pause.wait(0.02)
    raise CannotStart(f"the broker did not come up:\n{log.read_text('utf-8', 'replace')[-3000:]}")
