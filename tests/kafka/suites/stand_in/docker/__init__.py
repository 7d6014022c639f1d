"""
A stand-in for the package `docker`, as far as the suite of aiokafka uses it: its container is our listener.

The suite asks for a container that makes certificates, where the script of its own runs here, and for one with Kafka.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class Container:
    """A process in place of a container."""

    def __init__(self, folder: str, options: Mapping[str, Any] | None) -> None:
        self._folder = folder
        self._log = tempfile.TemporaryDirectory()
        self._child: subprocess.Popen[str] | None = None
        if options is not None:
            command = [os.environ["EVENTLOG_PYTHON"], "-m", "tests.kafka.suites.broker"]
            given = {"path": f"{self._log.name}/log", **options}
            self._child = subprocess.Popen(
                [*command, json.dumps(given)],
                cwd=os.environ["EVENTLOG_TREE"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._say("")

    def exec_run(self, command: str | list[str], **_: object) -> tuple[int, bytes]:
        """Run the script that makes certificates, or have the listener do what a tool of Kafka's would."""
        if isinstance(command, list):
            done = subprocess.run(
                ["bash", str(Path("gen-ssl-certs.sh").resolve())], cwd=self._folder, capture_output=True
            )
            return done.returncode, done.stdout + done.stderr
        return (0, b"") if self._say(command + "\n") else (1, b"the listener has ended")

    def stop(self) -> None:
        """End the listener."""
        if self._child is not None:
            self._child.communicate(timeout=30)
        self._log.cleanup()

    def _say(self, line: str) -> bool:
        assert self._child is not None
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(line)
        self._child.stdin.flush()
        return bool(self._child.stdout.readline())


def _run(
    *, volumes: Mapping[str, Mapping[str, str]], environment: Mapping[str, Any] | None = None, **_: object
) -> Container:
    folder = next(host for host, inside in volumes.items() if inside["bind"] == "/ssl_cert")
    if environment is None:
        return Container(folder, None)
    ports = {"port": environment["ADVERTISED_PORT"], "sasl_port": environment["ADVERTISED_SASL_PLAINTEXT_PORT"]}
    return Container(folder, {**ports, "partitions": environment["NUM_PARTITIONS"]})


def from_env() -> SimpleNamespace:
    """The client of a daemon that there is none of."""
    return SimpleNamespace(
        images=SimpleNamespace(pull=lambda image: None),
        containers=SimpleNamespace(run=_run),
        close=lambda: None,
    )


models = SimpleNamespace(containers=SimpleNamespace(Container=Container))
