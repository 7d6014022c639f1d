"""The differences between two answers, and the entries of the table that explain them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import attrs

from tests.kafka.differential.talk import Step

ABSENT = "<absent>"
ANY = "<any>"


@attrs.frozen
class Found:
    """One difference: in which step, where in its answer, and the two values."""

    script: str
    label: str
    api: str
    version: int
    where: str
    kafka: Any
    ours: Any

    def __str__(self) -> str:
        return (
            f"{self.script}: {self.api} v{self.version}, {self.label!r}, {self.where}: "
            f"Kafka {self.kafka!r}, ours {self.ours!r}"
        )


@attrs.frozen
class Difference:
    """
    An entry of the table: a difference that is meant, and why.

    Args:
        scripts: where it occurs; the test of each fails if it does not.
        api: the name of the API.
        where: a pattern of the path in the answer, such as "topics.*.error_code".
        kafka: Kafka's value, or `ANY`.
        ours: the listener's, or `ANY`.
        title: what differs, in one clause, for the page.
        reason: why, in one or two sentences.
        label: a pattern of the step's label.
    """

    scripts: tuple[str, ...]
    api: str
    where: str
    kafka: Any
    ours: Any
    title: str
    reason: str
    label: str = "*"

    def explains(self, found: Found) -> bool:
        """Whether a difference is this one."""
        return (
            found.script in self.scripts
            and found.api == self.api
            and fnmatchcase(found.where, self.where)
            and fnmatchcase(found.label, self.label)
            and self.kafka in (ANY, found.kafka)
            and self.ours in (ANY, found.ours)
        )


def differences(script: str, kafka: Sequence[Step], ours: Sequence[Step]) -> Iterator[Found]:
    """
    The differences of the steps that both have.

    The listener may have fewer, of the versions that it does not offer, but none that Kafka has not.
    """
    known = {step.key: step for step in kafka}
    for step in ours:
        other = known.get(step.key)
        if other is None:
            yield Found(script, *step.key, "", ABSENT, step.answer)
            continue
        for where, theirs, own in _differences("", other.answer, step.answer):
            yield Found(script, *step.key, where, theirs, own)


def _differences(where: str, kafka: Any, ours: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(kafka, dict) and isinstance(ours, dict):
        for name in sorted({*kafka, *ours}):
            yield from _differences(_below(where, name), kafka.get(name, ABSENT), ours.get(name, ABSENT))
    elif isinstance(kafka, list) and isinstance(ours, list):
        for at in range(max(len(kafka), len(ours))):
            theirs = kafka[at] if at < len(kafka) else ABSENT
            yield from _differences(_below(where, str(at)), theirs, ours[at] if at < len(ours) else ABSENT)
    elif kafka != ours:
        yield where, kafka, ours


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def unexplained(found: Sequence[Found], table: Sequence[Difference]) -> list[Found]:
    """The differences that no entry explains."""
    return [one for one in found if not any(entry.explains(one) for entry in table)]


def unused(script: str, found: Sequence[Found], table: Sequence[Difference]) -> list[Difference]:
    """The entries of a script that explain nothing any more."""
    return [entry for entry in table if script in entry.scripts and not any(entry.explains(one) for one in found)]
