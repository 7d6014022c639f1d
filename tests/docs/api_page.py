"""
The page docs/reference/api.md, made from the docstrings of the front door.

`python -m tests.docs.api_page` writes it; `test_reference.py` fails when it is not what this would write. Knows
nothing of single classes but the order in which readers meet them.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

import eventlog

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "api.md"

ORDER = (
    "open",
    "upgrade",
    "EventLog",
    "Topic",
    "TopicCopy",
    "Event",
    "Snapshot",
    "Transaction",
    "State",
    "StateView",
    "Processor",
    "Responder",
    "Projection",
    "Follower",
    "ValueCodec",
    "Producer",
    "Delivery",
    "Consumer",
    "Queue",
    "Job",
    "Queues",
    "QueueDescription",
    "WorkerDescription",
    "PartitionProgress",
    "Schedules",
    "Schedule",
    "ScheduleTotals",
    "Assignor",
    "GroupMember",
    "Groups",
    "GroupDescription",
    "MemberDescription",
    "PartitionOffsets",
    "CommittedOffset",
    "Record",
    "RecordBatch",
    "RecordMetadata",
    "PartitionRange",
    "TopicPartition",
    "VerifyReport",
    "restore",
    "RestoreReport",
    "check_backup",
    "prune_backup",
    "BackupContents",
    "PruneReport",
    "BackupReport",
    "repair",
    "RepairReport",
    "PartitionRepair",
    "TableRepair",
    "CleanReport",
    "RedactReport",
    "LogStats",
    "TopicStats",
    "ReaderStats",
    "is_compiled",
)

_HEAD = """\
<!-- Made by `python -m tests.docs.api_page` from the docstrings. Do not edit. -->

# The API

Everything here is imported from `eventlog`.
Errors have a page of their own: [errors](errors.md); so have the [options](options.md), with their units and bounds.
Durations are seconds; timestamps are milliseconds since 1970 UTC and end in `_ms`; an `end` is exclusive.

Some types in the signatures have short names:

* `Durability` is `"commit"` or `"ordered"`.
* `Start` is `"earliest"`, `"latest"`, an offset (`int`), or a `datetime` with a time zone.
* `HeadersInput` is a mapping, or pairs, of `str` and `bytes`; a `str` is stored as UTF-8, `None` is allowed.
* `Index` is `"key"`.
* `Upcasters` is a mapping from names of classes to lists of functions of a dict.
* `Partitioner` is a function of `(key: bytes, partitions: int)` that returns a partition.
* `Callback` is a function of a list of `TopicPartition`.
* `Function` is a function of a `Transaction` and a `Record`; `OnFailure` is one of these two and an exception.
* `Fold` is a function of a `State` and a `Record`.
* `ReplyTo` is the name of a topic, a `Topic`, a `Pair`, or None.
* `Pair` is a `TopicPartition`, or a pair of `str` and `int`.
* `GroupState` is `"empty"`, `"assigning"` or `"stable"`; `MemberState` is `"alive"`, `"away"` or `"dead"`.
* `JobState` is `"open"`, `"accepted"`, `"released"` or `"rejected"`.
* `K` and `V` are the types of the keys and values of a topic or a state; `S` and `T` are any.

```python
import eventlog
from eventlog import TopicPartition
```
"""
_SECTION = re.compile(r"^(Args|Returns|Raises|Example):$", re.MULTILINE)
_WIDTH = 100


def page() -> str:
    """The whole page."""
    missing = {name for name in eventlog.__all__ if _has_entry(getattr(eventlog, name))} - set(ORDER)
    assert not missing, f"ORDER lacks {sorted(missing)}"
    return "\n".join([_HEAD, *(_entry(name) for name in ORDER)])


def _entry(name: str) -> str:
    value = getattr(eventlog, name)
    if not inspect.isclass(value):
        return f"## `eventlog.{name}()`\n\n{_signature('eventlog.' + name, value)}\n{_text(value)}"
    parts = [f"## `{name}`\n", *_fields(value), _text(value), *_bases(value)]
    parts += [_member(name, member, found) for member, found in _members(value)]
    return "\n".join(parts)


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    for part in parts_of(cls):
        for name, member in vars(part).items():
            is_function = inspect.isfunction(inspect.unwrap(member))  # also behind an accelerator
            if (is_function or isinstance(member, (property, staticmethod, classmethod))) and not name.startswith("_"):
                yield name, member


def parts_of(cls: type) -> list[type]:
    """The class and what it is put together of; without bases that are public, which have an entry of their own."""
    return [*(base for base in cls.__mro__[1:] if _is_ours(base) and not _is_public(base)), cls]


def _is_ours(cls: type) -> bool:
    return cls.__module__.split(".")[0] == "eventlog"


def _is_public(cls: type) -> bool:
    return getattr(eventlog, cls.__name__, None) is cls


def _bases(cls: type) -> Iterator[str]:
    for base in cls.__mro__[1:]:
        if _is_ours(base) and _is_public(base):
            yield f"Has everything that [`{base.__name__}`](#{base.__name__.lower()}) has.\n"


def _member(class_name: str, name: str, member: Any) -> str:
    if isinstance(member, property):
        return f"### `{class_name}.{name}`\n\n{_text(member)}"
    return f"### `{class_name}.{name}()`\n\n{_signature(name, member)}\n{_text(member)}"


def _fields(cls: type) -> Iterator[str]:
    if attrs.has(cls):
        names = [(field.name, field.type) for field in attrs.fields(cls)]
    else:
        names = list(getattr(cls, "__annotations__", {}).items()) if issubclass(cls, tuple) else []
    for name, kind in names:
        yield f"* `{name}: {kind if isinstance(kind, str) else getattr(kind, '__name__', kind)}`"
    if names:
        yield ""


def _signature(name: str, function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    parts = []
    is_keyword_only = False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            is_keyword_only = True
        if parameter.kind is parameter.KEYWORD_ONLY and not is_keyword_only:
            is_keyword_only = True
            parts.append("*")
        parts.append(_parameter(parameter).replace("api.", ""))
    returns = "" if signature.return_annotation is signature.empty else f" -> {signature.return_annotation}"
    returns = returns.replace("builtins.", "").replace("api.", "")
    line = f"{name}({', '.join(parts)}){returns}"
    if len(line) > _WIDTH:
        line = f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){returns}"
    return f"```text\n{line}\n```\n"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    if parameter.name == "mode":
        default = f" = {parameter.default:#o}"
    return f"{stars}{parameter.name}: {parameter.annotation}{default}"


def _text(value: Any) -> str:
    doc = inspect.getdoc(value) or ""
    pieces = _SECTION.split(doc)
    lines = [_prose(pieces[0])]
    for title, body in zip(pieces[1::2], pieces[2::2], strict=True):
        lines += [f"{title}:\n", _section(title, body.lstrip("\n"))]
    return "\n".join(lines)


def _section(title: str, text: str) -> str:
    indented = re.match(r"(?:[ ]+[^\n]*\n?|\n)*", text)
    assert indented is not None
    body, rest = textwrap.dedent(indented[0]).strip("\n"), text[indented.end() :]
    if title == "Example":
        shown = f"```python\n{body}\n```\n"
    elif title == "Returns":
        shown = _prose(body)
    else:
        shown = "".join(f"* {_item(item)}\n" for item in re.split(r"\n(?=\S)", body))
    return shown + ("\n" + _prose(rest) if rest.strip() else "")


def _item(item: str) -> str:
    name, _, meaning = item.partition(":")
    names = ", ".join(f"`{one.strip()}`" for one in name.split(","))
    return f"{names}: {' '.join(meaning.split())}"


def _prose(text: str) -> str:
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph.lstrip().startswith("* ") or re.search(r"\n {4}", paragraph):
            paragraphs.append(paragraph)
        else:
            paragraphs.append("\n".join(re.split(r"(?<=[.!?]) (?=[A-Z`\"])", " ".join(paragraph.split()))))
    return "\n\n".join(paragraphs) + "\n"


def _has_entry(value: object) -> bool:
    """Errors have a page of their own, and short names of types stand in the head."""
    is_error = inspect.isclass(value) and issubclass(value, BaseException)
    return (inspect.isclass(value) or inspect.isroutine(value)) and not is_error


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.name}")
