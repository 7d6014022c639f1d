"""The options of a broker, out of Celery's `broker_transport_options`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

MOST_ATTEMPTS: Final = 65_534


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@frozen
class BrokerOptions:
    """
    What may be set in `broker_transport_options`.

    Args:
        attempts: how often a message is handed out at most; then it is a dead letter.
        session_timeout: the seconds after which the messages of a worker that hangs are handed to others.
    """

    attempts: int = MOST_ATTEMPTS
    session_timeout: float = 10.0
    now_ms: Callable[[], int] = _wall_ms


def broker_options(given: Mapping[str, Any]) -> BrokerOptions:
    """The options that were given."""
    return BrokerOptions(**{name: given[name] for name in ("attempts", "session_timeout") if name in given})
