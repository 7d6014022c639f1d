"""A listener as a program: `python -m benchmarks.brokers.listener_program PATH`. It ends with its input."""

from __future__ import annotations

import sys

import eventlog
import eventlog.kafka
from benchmarks.brokers.topics import PARTITIONS

if __name__ == "__main__":
    with eventlog.open(sys.argv[1]) as log:
        for name, count in PARTITIONS.items():
            log.topic(name, partitions=count)
        with eventlog.kafka.listen(log) as kafka:
            print(kafka.bootstrap_servers, flush=True)
            sys.stdin.read()
