"""
Suites of other projects, unmodified, against a listener: `python -m tests.kafka.suites [faststream] [aiokafka]`.

A suite is fetched from its repository at a tag, and gets a virtual environment of its own, both in a folder of the
user's cache. A listener in another process is its broker. Each test that fails has to stand in `NAME.txt` beside this
file, with the reason, and each that stands there has to fail: else the command fails, and says which.

`--from DIR` takes the repositories from DIR/NAME in place of GitHub.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
TREE = HERE.parents[2]
CACHE = Path(
    os.environ.get("EVENTLOG_SUITES")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "eventlog", "suites")
)


class Suite(NamedTuple):
    """A suite: where it is, what it needs, and how it is called."""

    url: str
    tag: str
    requirements: tuple[str, ...]
    arguments: tuple[str, ...]
    has_own_broker: bool
    """The suite starts its broker, by the stand-in for docker; else it wants one at port 9092."""


SUITES = {
    "faststream": Suite(
        "https://github.com/ag2ai/faststream",
        "0.7.4",
        (
            "faststream[kafka,confluent,rabbit,nats,redis,mqtt,prometheus,otel,cli]==0.7.4",
            *("pytest==9.0.2", "pytest-asyncio==1.3.0", "pytest-timeout", "dirty-equals", "fastapi", "httpx"),
            *("pydantic-settings", "freezegun", "psutil", "msgspec", "uvicorn", "PyYAML", "email-validator"),
        ),
        ("-o", "addopts=", "-m", "connected and not slow", "tests/brokers/kafka", "tests/brokers/confluent"),
        has_own_broker=False,
    ),
    "aiokafka": Suite(
        "https://github.com/aio-libs/aiokafka",
        "v0.14.0",
        (
            "aiokafka==0.14.0",
            *("pytest==9.0.2", "pytest-asyncio==1.3.0", "pytest-mock==3.15.1", "pytest-timeout"),
            *("async-timeout==5.0.1", "cramjam==2.11.0"),
        ),
        # The version is the one whose tests are run: the suite knows none of Kafka 4. Kerberos is not there.
        ("--docker-image", "eventlog:kafka_2.8.1", "-k", "not ssl and not kerberos and not gssapi", "tests"),
        has_own_broker=True,
    ),
}


def run(name: str, source: str | None, more: Sequence[str]) -> list[str]:
    """Run a suite, and return what is not as it should be."""
    suite = SUITES[name]
    folder = CACHE / f"{name}-{suite.tag}"
    if not (folder / "ready").exists():
        prepare(suite, folder, source or suite.url)
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "EVENTLOG_PYTHON": sys.executable,
        "EVENTLOG_TREE": str(TREE),
        "PYTHONPATH": str(HERE / "stand_in") if suite.has_own_broker else "",
        "PATH": f"{HERE / 'stand_in' / 'bin'}:{os.environ['PATH']}",
    }
    command = [folder / "venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "120"]
    command += [*suite.arguments, "--junitxml", report, *more]
    with tempfile.TemporaryDirectory() as log:
        broker = None if suite.has_own_broker else start_broker(log)
        try:
            subprocess.run(command, cwd=folder / "tree", env=environment, stdin=subprocess.DEVNULL, check=False)
        finally:
            if broker is not None:
                broker.communicate(timeout=30)
    return judge(name, report)


def prepare(suite: Suite, folder: Path, source: str) -> None:
    """Fetch a suite, and install what it needs. Its package comes as a wheel, and not from its tree."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "git").exists():
        clone = ["git", "clone", "--quiet", "--depth", "1", "--branch", suite.tag, "--bare", source, folder / "git"]
        subprocess.run(clone, check=True)
    (folder / "tree").mkdir(exist_ok=True)
    paths = ["tests", "pyproject.toml"]
    paths += ["gen-ssl-certs.sh", "docker"] if suite.has_own_broker else ["docs/docs_src"]
    archive = ["git", f"--git-dir={folder / 'git'}", "archive", suite.tag, *paths]
    tree = subprocess.run(archive, check=True, capture_output=True).stdout
    subprocess.run(["tar", "x", "-C", folder / "tree"], input=tree, check=True)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    install = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
    subprocess.run([*install, *suite.requirements], check=True)
    (folder / "ready").touch()


def start_broker(log: str) -> subprocess.Popen[str]:
    """A listener at the port that the suite has written down."""
    options = json.dumps({"path": f"{log}/log", "port": 9092, "partitions": 1})
    command = [sys.executable, "-m", "tests.kafka.suites.broker", options]
    broker = subprocess.Popen(command, cwd=TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert broker.stdout is not None
    if not broker.stdout.readline():
        sys.exit("there is no listener: is port 9092 taken?")
    return broker


def judge(name: str, report: Path) -> list[str]:
    """Compare what failed with what is known to fail."""
    passed, skipped, failed = set(), set(), set()
    for case in ET.parse(report).iter("testcase"):
        test = f"{case.get('classname')}.{case.get('name')}"
        error = case.find("error")
        if case.find("failure") is not None:
            failed.add(test)
        elif error is not None and "teardown" not in (error.get("message") or ""):
            failed.add(test)  # what is found in a teardown is what the failed test before has left open
        elif case.find("skipped") is not None:
            skipped.add(test)
        else:
            passed.add(test)
    passed -= failed
    known = set(re.findall(r"^(\S+)$", (HERE / f"{name}.txt").read_text(), re.MULTILINE))
    print(f"{name}: {len(passed)} of {len(passed | failed)} pass, {len(skipped)} are skipped")
    return [
        *(f"{name}: {test} fails, and is not in {name}.txt" for test in sorted(failed - known)),
        *(f"{name}: {test} is in {name}.txt, and passes" for test in sorted(known & passed)),
    ]


def main() -> None:
    """Run the suites that are named, or all, and fail for what is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.kafka.suites", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []], metavar="SUITE")
    parser.add_argument("--from", dest="source", type=Path)
    asked, more = parser.parse_known_args()
    wrong = []
    for name in asked.suites or SUITES:
        wrong += run(name, str(asked.source / name) if asked.source else None, more)
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
