"""librdkafka's mock broker as a program: `python -m benchmarks.brokers.mock_program`. It ends with its input."""

from __future__ import annotations

import sys

from benchmarks.brokers.topics import PARTITIONS
from benchmarks.mock_broker import mock_broker

if __name__ == "__main__":
    with mock_broker(PARTITIONS, first_rebalance_ms=0) as address:
        print(address, flush=True)
        sys.stdin.read()
