"""The listener as a program: `python -m tests.kafka.differential.our_listener [PATH]`; it ends with its input."""

from __future__ import annotations

import sys

import eventlog
import eventlog.kafka
from tests.kafka.differential.running import OPTIONS

if __name__ == "__main__":
    where = sys.argv[1] if len(sys.argv) > 1 else ":memory:"
    with eventlog.open(where) as log, eventlog.kafka.listen(log, **OPTIONS) as kafka:
        print(kafka.host, kafka.port, flush=True)
        sys.stdin.read()
