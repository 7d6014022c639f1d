"""
The page of what differs from Kafka, made from the table of differences.

`python -m tests.kafka.differential.page` writes it; `test_recorded.py` fails when it is not what this would write.
"""

from __future__ import annotations

from pathlib import Path

from eventlog.kafka.protocol import APIS, ApiKey
from tests.kafka.differential.differences import TABLE
from tests.kafka.differential.real_broker import version
from tests.kafka.differential.recording import load
from tests.kafka.differential.scripts.catalogue import SCRIPTS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "kafka-differences.md"

_HEAD = """# What differs from Kafka

The listener of `eventlog.kafka` is compared with a real Kafka {version}.
Scripts send the same requests to both, right and wrong, in every version that both offer: {steps:,} requests in
{scripts} scripts. Where an answer differs, it stands in this table with the reason, or the test fails.
`make differential` compares live, with Java and Maven; the quick tests compare with recordings of Kafka's answers.

What is not compared: ids that a broker makes up, ports, times of now, how long a client is throttled, the words of
error messages, the order of lists, and which APIs and versions there are.

This page is made from the table of the tests: `python -m tests.kafka.differential.page`.

| API | here | why |
| --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    apis: dict[tuple[str, str], dict[str, None]] = {}
    for entry in TABLE:
        apis.setdefault((entry.title, entry.reason), {})[APIS[ApiKey[entry.api]].name] = None
    rows = sorted((", ".join(names), title, reason) for (title, reason), names in apis.items())
    steps = sum(len(load(script)) for script in SCRIPTS)
    head = _HEAD.format(version=version(), steps=steps, scripts=len(SCRIPTS))
    return head + "".join(f"| {names} | {title} | {reason} |\n" for names, title, reason in rows)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.name}")
