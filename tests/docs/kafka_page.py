"""
The page docs/reference/kafka.md, made from the table of the listener's APIs.

`python -m tests.docs.kafka_page` writes it; `test_kafka_page.py` fails when it is not what this would write.
"""

from __future__ import annotations

from pathlib import Path

from eventlog.kafka.listener.apis import TABLE
from eventlog.kafka.listener.failures import CODES
from eventlog.kafka.protocol import APIS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "kafka.md"
HEAD = """\
# Kafka's protocol

The requests that a [listener](../how-to/one-host-kafka.md) serves, in which versions, and its errors.
This page is generated: a test compares it with the code.

## APIs

A client asks for this table with ApiVersions, and takes the highest version that both know.
An API that is not here closes the connection, as Kafka does, and so does a version that is not.
ApiVersions alone answers a version that is too high with the table (KIP-511).

| key | API | versions | of Kafka 4 |
| ---: | --- | --- | --- |
"""
ERRORS = """
## Errors

Each error of the engine has one of Kafka's codes in answers. A class stands for those that descend from it.
Any other error is UNKNOWN_SERVER_ERROR, and a line in Python's log with its traceback.

| error | code |
| --- | --- |
"""


def page() -> str:
    """The whole page."""
    rows = []
    for api in sorted(TABLE, key=lambda one: one.key):
        known = APIS[api.key]
        rows.append(f"| {int(api.key)} | {known.name} | {api.least}-{api.most} | {known.first}-{known.last} |\n")
    errors = sorted((kind.__name__, code.name) for kind, code in CODES.items())
    return HEAD + "".join(rows) + ERRORS + "".join(f"| `{name}` | {code} |\n" for name, code in errors)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.name}")
