"""
Measures the hot paths in a process of its own, where nothing else runs.

`python -m tests.counts.child DIRECTORY` prints the cost of each path as JSON. With the name of a path it prints the
functions that this path calls, and how often.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import eventlog
import eventlog.clock
from eventlog.store.lmdb import file_pair
from tests.counts.counter import CallCounter, Meter
from tests.counts.paths import PATHS


def main(directory: Path, only: str | None = None) -> None:
    """Measure all paths, or one."""
    # Time stands still, so that nothing becomes due sooner on a slow machine. Both are C functions, like the real ones.
    time_ns, monotonic = itertools.repeat(1_700_000_000_000_000_000).__next__, itertools.repeat(1000.0).__next__
    setattr(eventlog.clock, "time", SimpleNamespace(time_ns=time_ns))  # noqa: B010
    setattr(eventlog.clock.SystemClock, "monotonic", staticmethod(monotonic))  # noqa: B010
    file_pair._SETTLED_NS = -(1 << 62)  # however young the directory is
    counter = CallCounter()
    costs = {}
    for number, name in enumerate(PATHS if only is None else [only]):
        with eventlog.open(directory / str(number)) as log:
            costs[name] = PATHS[name](log, Meter(counter, log))
    functions = counter.functions().most_common()
    counter.close()
    if only is None:
        print(json.dumps(costs))
        return
    print(only, *costs.values())
    for function, count in functions:
        print(f"{count:8} {function}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
