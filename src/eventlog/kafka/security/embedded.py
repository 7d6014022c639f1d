"""The log of this process behind what a user passes."""

from __future__ import annotations

from typing import Any

from eventlog.log.event_log import EmbeddedLog


def embedded(log: Any) -> EmbeddedLog:
    """The log in this process that somebody has opened, by `eventlog.open` or by `eventlog.aio.open`."""
    inner = getattr(log, "_inner", log)  # one of `eventlog.aio` has ours inside
    if not isinstance(inner, EmbeddedLog):
        raise TypeError(
            f"users and access control lists are those of an open log, not of {log!r}. Nothing was changed."
        )
    inner._check_open()
    return inner
