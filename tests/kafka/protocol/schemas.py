"""
The message definitions of Kafka as this package ships them, made of a kafka-clients jar.

`python -m tests.kafka.protocol.schemas kafka-clients-4.4.0.jar` writes them to `src/eventlog/kafka/protocol/messages/`,
and prints what `api_keys.py` has to become. Comments and descriptions are left out. Each field has its line, so a new
release can be read as a diff. The jar is one of Maven Central's; `NOTICE` names its release.

The error codes are in no file of the jar. jshell prints them, with the jar and slf4j-api on its class path:

    for (var e : org.apache.kafka.common.protocol.Errors.values())
        System.out.println(e + " " + e.code() + " "
            + (e.exception() instanceof org.apache.kafka.common.errors.RetriableException));
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

from eventlog.kafka.protocol.api_keys import APIS, NEVER, Api
from eventlog.kafka.protocol.schema import parse

FOLDER = Path(__file__).resolve().parents[3] / "src" / "eventlog" / "kafka" / "protocol" / "messages"

OF_MESSAGES = ("apiKey", "type", "listeners", "name", "validVersions", "latestVersionUnstable", "flexibleVersions")
OF_FIELDS = (
    "name",
    "type",
    "versions",
    "nullableVersions",
    "taggedVersions",
    "tag",
    "flexibleVersions",
    "default",
    "ignorable",
    "mapKey",
)


def trimmed(text: str) -> str:
    """Return a definition as it is shipped: without comments and descriptions, one line for each field."""
    definition = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    head = {key: definition[key] for key in OF_MESSAGES if key in definition}
    lines = [json.dumps(head)[:-1] + ","]
    if "commonStructs" in definition:
        lines.append(' "commonStructs": [')
        structs = definition["commonStructs"]
        for number, struct in enumerate(structs):
            first = json.dumps({key: struct[key] for key in ("name", "versions")})[:-1]
            lines += [
                f'  {first}, "fields": [',
                *_fields(struct["fields"], 2),
                "  ]}" + "," * (number + 1 < len(structs)),
            ]
        lines.append(" ],")
    lines += [' "fields": [', *_fields(definition["fields"], 1), " ]}"]
    made = "\n".join(lines) + "\n"
    assert json.loads(made)["name"] == definition["name"]
    return made


def _fields(fields: list[dict[str, Any]], depth: int) -> list[str]:
    lines = []
    for number, field in enumerate(fields):
        comma = "," * (number + 1 < len(fields))
        line = " " * (depth + 1) + json.dumps({key: field[key] for key in OF_FIELDS if key in field})
        if inner := field.get("fields"):
            lines += [f'{line[:-1]}, "fields": [', *_fields(inner, depth + 1), " " * (depth + 1) + "]}" + comma]
        else:
            lines.append(line + comma)
    return lines


def shipped(jar: Path) -> dict[str, str]:
    """Return the files to ship by their names: every message that has a version."""
    files = {}
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if re.fullmatch(r"common/message/\w+\.json", name):
                text = archive.read(name).decode()
                if '"validVersions": "none"' not in text:
                    files[name.rpartition("/")[2]] = trimmed(text)
    return files


def main() -> None:
    """Write the definitions of the jar that the command line names."""
    files = shipped(Path(sys.argv[1]))
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for name, text in files.items():
        (FOLDER / name).write_text(text, "ascii")
    print(f"{len(files)} messages in {FOLDER}")
    print("\n".join(new_rows(files)) or "api_keys.py is right")


def new_rows(files: dict[str, str]) -> list[str]:
    """Return the rows that `APIS` does not have as they are in these definitions."""
    rows = []
    for text in files.values():
        definition = json.loads(text)
        if definition["type"] == "request":
            name, key = definition["name"].removesuffix("Request"), definition["apiKey"]
            message = parse(definition)
            flexible = message.flexible[0] if message.flexible[1] >= 0 else NEVER
            row = Api(name, *message.versions, flexible)
            if APIS.get(key) != row:  # type: ignore[call-overload]
                rows.append(f"{key}: {row}")
    return rows


if __name__ == "__main__":
    main()
