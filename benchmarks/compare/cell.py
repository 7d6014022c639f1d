"""
One cell in a process of its own: `python -m benchmarks.compare.cell '<JSON>'` does a task and prints its sample.

So CPU, memory and what is left behind belong to that cell alone. `spawned()` is the other end: it starts the process,
waits for as long as a cell may last, and kills all that it started. Knows nothing of tables.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.compare.catalogue import peer_named
from benchmarks.compare.workloads import Task, perform
from benchmarks.measure import Absent, Sample

_LIMIT_S = 60.0
_REASON_CHARACTERS = 300


def spawned(task: Task) -> Sample | Absent:
    """The sample of a task that ran in a fresh process, or why there is none."""
    command = [sys.executable, "-m", "benchmarks.compare.cell", json.dumps(_to_json(task))]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True
    )
    try:
        output, errors = process.communicate(timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        return Absent(f"took longer than {_LIMIT_S:.0f} s", is_failure=True)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the servers of a cell are in its session
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    if process.returncode:
        lines = errors.strip().splitlines()
        return Absent((lines[-1] if lines else "ended without a word")[:_REASON_CHARACTERS], is_failure=True)
    found = json.loads(output.strip().splitlines()[-1])
    return Sample(found["figure"], found["details"], found["durations_ns"])


def _to_json(task: Task) -> dict[str, Any]:
    return {
        "peer": task.peer.name,
        "workload": task.workload,
        "value_bytes": task.value_bytes,
        "directory": str(task.directory),
        "stock": str(task.stock) if task.stock else None,
        "measured_s": task.measured_s,
        "latency_count": task.latency_count,
    }


def _from_json(given: dict[str, Any]) -> Task:
    paths = {"directory": Path(given["directory"]), "stock": Path(given["stock"]) if given["stock"] else None}
    return Task(**{**given, **paths, "peer": peer_named(given["peer"])})


def main() -> None:
    """The process of a cell."""
    sample = perform(_from_json(json.loads(sys.argv[1])))
    print(json.dumps({"figure": sample.figure, "details": sample.details, "durations_ns": list(sample.durations_ns)}))


if __name__ == "__main__":
    main()
