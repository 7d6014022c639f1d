"""
The listener gives the answers that a real Kafka gave, but for those that the table of differences explains.

What Kafka answered is recorded beside this file: neither Java nor a network is needed. `make differential` compares
live, and records again.
"""

from __future__ import annotations

import pytest

import eventlog
import eventlog.kafka
from tests.kafka.differential.client import Address
from tests.kafka.differential.comparing import Difference, Found, differences, unexplained, unused
from tests.kafka.differential.differences import TABLE
from tests.kafka.differential.page import PAGE, page
from tests.kafka.differential.recording import FOLDER, load
from tests.kafka.differential.running import OPTIONS, run
from tests.kafka.differential.scripts.catalogue import SCRIPTS
from tests.kafka.differential.talk import NotOffered, Step


@pytest.mark.parametrize("script", SCRIPTS)
def test_answers_are_those_of_kafka(log: eventlog.EventLog, script: str) -> None:
    """Each answer of a script is Kafka's, or the table says why not, and the table says nothing that is not so."""
    with eventlog.kafka.listen(log, **OPTIONS) as kafka:
        try:
            steps = run(script, Address(kafka.host, kafka.port))
        except NotOffered as missing:
            pytest.skip(f"not offered: {missing}")
    found = list(differences(script, load(script), steps))
    assert steps
    assert not unexplained(found, TABLE), "\n".join(map(str, unexplained(found, TABLE)))
    assert not unused(script, found, TABLE)


def test_every_script_is_recorded() -> None:
    """There is a recording of each script, and none of another."""
    assert {path.stem for path in FOLDER.glob("*.json")} == set(SCRIPTS)


def test_entries_of_the_table_name_scripts() -> None:
    """A difference belongs to scripts that there are, and has a reason."""
    for entry in TABLE:
        assert entry.scripts, entry
        assert set(entry.scripts) <= set(SCRIPTS), entry
        assert entry.reason.endswith("."), entry


def test_page_is_what_the_table_says() -> None:
    """The page in the documentation was written after the last change of the table."""
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.kafka.differential.page"


def test_harness_finds_a_wrong_code() -> None:
    """A code, a field and an element that differ are found, and an entry explains no other difference than its own."""
    kafka = [Step("a", "METADATA", 1, {"topics": [{"error_code": "NONE"}, {"error_code": "NONE"}], "extra": 1})]
    ours = [Step("a", "METADATA", 1, {"topics": [{"error_code": "INVALID_REQUEST"}]})]
    found = list(differences("metadata", kafka, ours))
    assert [one.where for one in found] == ["extra", "topics.0.error_code", "topics.1"]
    entry = Difference(
        ("metadata",), "METADATA", "topics.*.error_code", "NONE", "INVALID_REQUEST", "a title", "A reason."
    )
    assert unexplained(found, [entry]) == [found[0], found[2]]
    assert unused("metadata", found[:1], [entry]) == [entry]


def test_harness_finds_a_step_that_kafka_has_not() -> None:
    """A step of the listener that was not recorded is a difference."""
    assert list(differences("metadata", [], [Step("a", "METADATA", 1, {})])) == [
        Found("metadata", "a", "METADATA", 1, "", "<absent>", {})
    ]
