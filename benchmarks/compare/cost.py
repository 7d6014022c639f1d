"""
What a piece of work takes of the machine: CPU seconds and memory, of this process and of a server.

Knows Linux; elsewhere memory is what `getrusage` says, and a server's is unknown. Knows nothing of peers.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

_PROC = Path("/proc")
_RESET_PEAK = "5"


@attrs.define
class Cost:
    """What `measured()` found; all zero before it ends."""

    elapsed_s: float = 0.0
    cpu_s: float = 0.0
    server_cpu_s: float = 0.0


@attrs.frozen
class Memory:
    """Where the memory of this process was when it had only its records and its modules."""

    before_bytes: int
    files_before_bytes: int

    @classmethod
    def begin(cls) -> Memory:
        """Forgets the peak so far."""
        with suppress(OSError):
            (_PROC / "self" / "clear_refs").write_text(_RESET_PEAK)
        return cls(status_bytes("VmRSS"), status_bytes("RssFile"))

    def details(self, server: int | None) -> dict[str, float]:
        """The peak since, above what there was; with that of the server, and how much of ours is mapped files."""
        peak = status_bytes("VmHWM") - self.before_bytes
        files = status_bytes("RssFile") - self.files_before_bytes
        found = {"peak_bytes": float(max(0, peak)), "mapped_file_bytes": float(max(0, files))}
        if server is not None:
            found["server_peak_bytes"] = float(status_bytes("VmHWM", server))
            found["peak_bytes"] += found["server_peak_bytes"]
        return found


@contextmanager
def measured(server: int | None) -> Iterator[Cost]:
    """Time and CPU of what is inside, with the server's share of it."""
    cost = Cost()
    server_before = server_cpu_s(server)
    before = own_cpu_s()
    started = time.perf_counter()
    yield cost
    cost.elapsed_s = time.perf_counter() - started
    cost.cpu_s = own_cpu_s() - before
    cost.server_cpu_s = server_cpu_s(server) - server_before


def own_cpu_s() -> float:
    """CPU seconds of all threads of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def server_cpu_s(server: int | None) -> float:
    """What the scheduler counted for all threads of another process; zero without one."""
    if server is None:
        return 0.0
    tasks = (_PROC / str(server) / "task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def status_bytes(name: str, process_id: int | None = None) -> int:
    """A line of `/proc/<process>/status` in bytes; where there is none, the peak that `getrusage` knows."""
    try:
        lines = (_PROC / str(process_id or "self") / "status").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
