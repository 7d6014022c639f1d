"""
What a real Kafka answered, in files: one for each script, by step, an answer once for all versions that have it.

`make differential` writes them again. They are our own recordings of a broker that we started.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.kafka.differential.talk import Step

FOLDER = Path(__file__).parent / "recorded"


def save(script: str, release: str, steps: Sequence[Step]) -> bool:
    """Write what a script recorded; whether it is new."""
    path = _path(script)
    text = _text(release, steps)
    is_new = not path.exists() or path.read_text("utf-8") != text
    path.write_text(text, "utf-8")
    return is_new


def load(script: str) -> list[Step]:
    """What a real Kafka answered to a script."""
    return [
        Step(step["label"], step["api"], version, step["answer"])
        for step in json.loads(_path(script).read_text("utf-8"))["steps"]
        for version in step["versions"]
    ]


def as_recorded(steps: Sequence[Step]) -> list[Step]:
    """Steps as they would be loaded: JSON has no tuples, and its keys are strings."""
    return [Step(step.label, step.api, step.version, json.loads(json.dumps(step.answer))) for step in steps]


def _path(script: str) -> Path:
    return FOLDER / f"{script}.json"


def _text(release: str, steps: Sequence[Step]) -> str:
    """One line for each step."""
    versions: dict[tuple[str, str, str], list[int]] = {}
    for step in steps:
        versions.setdefault((step.label, step.api, json.dumps(step.answer)), []).append(step.version)
    lines = [
        f'{{"label": {json.dumps(label)}, "api": "{api}", "versions": {json.dumps(numbers)}, "answer": {answer}}}'
        for (label, api, answer), numbers in versions.items()
    ]
    return f'{{"kafka": "{release}", "steps": [\n' + ",\n".join(lines) + "\n]}\n"
