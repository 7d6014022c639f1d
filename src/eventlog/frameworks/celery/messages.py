"""
Messages of kombu as records.

The value of a record is the body, as it is, so `eventlog tail` and every other reader see what was sent. All else that
kombu has of a message is JSON in one header.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from kombu.utils.json import dumps, loads

from eventlog import Record
from eventlog.interruptions import unless_interrupted

META: Final = "kombu"
"""The header of a record that holds all of a message but its body."""


def to_record(message: dict[str, Any]) -> tuple[bytes, dict[str, bytes]]:
    """The value and the headers of the record for a message."""
    body = message["body"]
    meta = {name: part for name, part in message.items() if name != "body"}
    meta["is_text"] = isinstance(body, str)
    value = body.encode() if isinstance(body, str) else bytes(body or b"")
    return value, {META: dumps(meta).encode()}


def to_message(record: Record[Any, Any]) -> dict[str, Any]:
    """The message of a record."""
    header = dict(record.headers).get(META)
    message: dict[str, Any] = {"properties": {}, "headers": {}} if header is None else loads(header)
    body = record.value or b""
    message["body"] = body.decode() if message.pop("is_text", False) else body
    message["properties"].setdefault("delivery_info", {})
    return message


def seconds_until_eta(message: dict[str, Any], now: datetime) -> float:
    """The seconds until a task of Celery's is to be done; 0.0 for one without a time, or whose time is over."""
    eta = (message.get("headers") or {}).get("eta")
    if not eta:
        return 0.0
    try:
        moment = datetime.fromisoformat(eta) if isinstance(eta, str) else eta
        return max(0.0, (moment - now).total_seconds())
    except unless_interrupted(TypeError, ValueError):  # a time without a zone, or none: Celery knows what it means
        return 0.0
