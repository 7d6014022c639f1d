"""A process that serves a log to Kafka clients until its input ends: `python -m tests.kafka.foreign.serving PATH`."""

from __future__ import annotations

import sys

from eventlog.kafka import listen


def main(path: str) -> None:
    """Print the address of a listener, and wait."""
    with listen(path) as kafka:
        print(kafka.bootstrap_servers, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
