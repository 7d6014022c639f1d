"""
The table of differences between the listener and Kafka that are meant, each with its reason.

`python -m tests.kafka.differential.page` makes a page of it. An entry that explains nothing any more fails the test of
its script.
"""

from __future__ import annotations

from tests.kafka.differential.comparing import Difference
from tests.kafka.differential.explained.administration import ADMINISTRATION
from tests.kafka.differential.explained.batches import BATCHES, SIZES
from tests.kafka.differential.explained.connections import CONNECTIONS
from tests.kafka.differential.explained.groups import CLASSIC, CONSUMERS
from tests.kafka.differential.explained.reading import READS
from tests.kafka.differential.explained.shares import SHARES
from tests.kafka.differential.explained.transactions import TRANSACTIONS

TABLE: tuple[Difference, ...] = (
    *CONNECTIONS,
    *BATCHES,
    *SIZES,
    *READS,
    *CLASSIC,
    *CONSUMERS,
    *SHARES,
    *TRANSACTIONS,
    *ADMINISTRATION,
)
