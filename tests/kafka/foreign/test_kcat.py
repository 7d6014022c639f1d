"""The program kcat, which Debian has, against a listener."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.kafka.foreign.contract import expected_rows
from tests.kafka.foreign.sides import Side

pytestmark = pytest.mark.skipif(shutil.which("kcat") is None, reason="there is no kcat: apt install kcat")


def kcat(side: Side, *arguments: str, stdin: str = "") -> str:
    """What kcat prints."""
    command = ["kcat", "-b", side.bootstrap, "-X", "allow.auto.create.topics=true", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kcat_produces_and_consumes(side: Side, prefix: str) -> None:
    """Keys, headers, tombstones and each compression, from its input to its output, and by a native reader."""
    topic = f"{prefix}.kcat"
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        lines = "".join(f"k{i}:{codec}-{i}\n" for i in range(3)) + "gone:\n"
        kcat(side, "-P", "-t", topic, "-p", "0", "-K", ":", "-Z", "-H", "h=1", "-z", codec, stdin=lines)
    wanted = []
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        wanted += [(f"k{i}", f"{codec}-{i}") for i in range(3)] + [("gone", None)]
    out = [json.loads(line) for line in kcat(side, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J").splitlines()]
    assert [(line["offset"], line["key"], line["payload"], line["headers"]) for line in out] == [
        (offset, key, value, ["h", "1"]) for offset, (key, value) in enumerate(wanted)
    ]
    assert [(row.offset, row.key, row.value, row.headers) for row in side.rows(topic)] == [
        (offset, key, value, (("h", "1"),)) for offset, (key, value) in enumerate(wanted)
    ]


def test_kcat_describes_topics_and_reads_native_records(side: Side, prefix: str) -> None:
    """The list of topics, an offset by its time, and records of a native producer."""
    topic = f"{prefix}.native"
    side.write(topic, 2, expected_rows("none"))
    (described,) = json.loads(kcat(side, "-L", "-J", "-t", topic))["topics"]
    assert (described["topic"], len(described["partitions"])) == (topic, 2)
    assert kcat(side, "-Q", "-t", f"{topic}:0:1700000000006").split() == [topic, "[0]", "offset", "3"]
    out = [json.loads(line) for line in kcat(side, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J").splitlines()]
    found = sorted((line["partition"], line["offset"], line["ts"], line["key"], line["payload"]) for line in out)
    assert found == [row[:5] for row in side.rows(topic)]


def test_kcat_goes_on_where_its_group_has_committed(side: Side, prefix: str) -> None:
    """A balanced consumer of a group, its committed offsets, and a second one behind them."""
    topic = f"{prefix}.group"
    side.write(topic, 1, [(0, 1_700_000_000_000 + i, None, f"v{i}", ()) for i in range(6)])
    reading = ["-G", topic, "-q", "-u", "-c", "4", "-X", "auto.offset.reset=earliest", topic]
    assert kcat(side, *reading).split() == ["v0", "v1", "v2", "v3"]
    assert side.committed(topic, topic) == {0: 4}
    reading[5] = "2"
    assert kcat(side, *reading).split() == ["v4", "v5"]
    assert side.committed(topic, topic) == {0: 6}
