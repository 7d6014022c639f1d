"""
Server processes of peers: a free port, a start that is waited for, and an end that is certain.

All of them listen on the loopback alone. Knows nothing of what they serve.
"""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

HOST = "127.0.0.1"

_START_S = 15.0
_STOP_S = 10.0
_DIE_WITH_PARENT = 1


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(command: Sequence[str], *, port: int, directory: Path) -> Iterator[int]:
    """A server until the block ends: asked to stop, then killed; gives its process id once the port answers."""
    journal = directory / "server.log"
    with journal.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            stdout=output,
            stderr=output,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - a cell has no threads yet when it starts its server
        )
    try:
        _wait_for(process, port, journal)
        yield process.pid
    finally:
        stop(process)
        journal.unlink(missing_ok=True)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a server of ours and waits until it is gone."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    process.kill()
    process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, journal: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
            return
        time.sleep(0.001)
    last_lines = " | ".join(journal.read_text(errors="replace").splitlines()[-3:])
    raise RuntimeError(f"the server did not listen on port {port} within {_START_S} s; it said: {last_lines}")


def _die_with_parent() -> None:
    """Asks Linux to kill this child when its parent is gone, however that came."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
