"""
The page docs/reference/kafka-api.md, made from the docstrings of `eventlog.kafka`.

`python -m tests.docs.kafka_api_page` writes it; `test_kafka_page.py` fails when it is not what this would write.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import eventlog.kafka
from tests.docs.api_page import _fields, _member, _members, _signature, _text

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "kafka-api.md"
FIRST = ("listen", "listen_async", "Listener", "AsyncListener", "CannotListen")
"""What a reader looks for; the others come after them, by name."""
HEAD = """\
# API of the Kafka listener

Everything in `eventlog.kafka`, which `import eventlog.kafka` brings.
How it is used is on [its page](../how-to/one-host-kafka.md), and [in tests](../how-to/replace-kafka-container.md); what is served is [a table](kafka.md).
This page is generated from the docstrings.
"""  # noqa: E501 - one line for each sentence


def page() -> str:
    """The whole page."""
    names = [*FIRST, *sorted(set(eventlog.kafka.__all__) - set(FIRST))]
    return "\n".join([HEAD, *map(_entry, names)])


def _entry(name: str) -> str:
    value = getattr(eventlog.kafka, name)
    if not inspect.isclass(value):
        return f"## `eventlog.kafka.{name}()`\n\n{_signature('eventlog.kafka.' + name, value)}\n{_text(value)}"
    members = [_member(name, member, found) for member, found in _members(value)]
    return "\n".join([f"## `{name}`\n", *_fields(value), _text(value), *members])


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.name}")
