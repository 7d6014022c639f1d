"""
What every backend does alike, seen through the public API alone.

A backend subclasses `Conformance`, gives a `log` fixture with an empty log, and a `reopen` fixture if it keeps what is
stored. What it lacks it says by `log.supports`; a test of such a feature then shows that it raises `NotSupported`. See
`test_embedded.py`.
"""

from __future__ import annotations

from tests.conformance.consumers import Caring, Consuming, Sharing
from tests.conformance.records import Producing, Reading, Topics, Writing
from tests.conformance.transactions import ByKey, Transacting


class Conformance(Topics, Writing, Reading, Producing, Consuming, Sharing, Transacting, ByKey, Caring):
    """Everything."""
