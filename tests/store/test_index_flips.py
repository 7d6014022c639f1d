"""
A changed bit in a key of the index: what then gives another answer, `verify` tells.

The number of a row is in its key, which no checksum covers: a later number of the last row of an entity is a later
version. `verify` knows from the deletions how many versions may be missing.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog.store.lmdb.environment import FORMAT, INDEX
from eventlog.store.lmdb.pages import Branch, PageFile
from eventlog.store.rows.tables import KEYLESS_KEY
from tests.store.test_changed_keys import KEYS, Place, changes, fill, keys_of
from tests.store.test_page_verification import root_of


def _letters(log: eventlog.EventLog, keyless_count: int, **options: Any) -> eventlog.Topic[Any, Any]:
    topic = log.topic("letters", partitions=2, key=str, index="key", **options)
    for number in range(20):
        if keyless_count:
            topic.append_many([b"n"] * keyless_count, partition=number % 2)
        topic.append_many([b"v" * (200 if number % 2 else 20)] * 4, keys=KEYS, partition=number % 2)
    topic.append(b"x", key="once")
    return topic


def plain(path: Path) -> None:
    """Nothing was deleted."""
    with eventlog.open(path) as log:
        _letters(log, 0)


def trimmed(path: Path) -> None:
    """A part of the versions is gone, and all of one key."""
    with eventlog.open(path) as log:
        topic = _letters(log, 0)
        topic.delete_records({0: 20, 1: 10})
        topic.append(b"y", key="k9")
        topic.delete_records({0: 27})


def trimmed_keyless(path: Path) -> None:
    """Most of the deleted records had no key, so that deletions explain few missing versions; found by this test."""
    with eventlog.open(path) as log:
        topic = _letters(log, 20)
        topic.delete_records({0: 100, 1: 60})
        topic.delete_records({0: 130})
        topic.append(b"y", key="k9")


def compacted(path: Path) -> None:
    """Compaction has dropped versions in the middle."""
    with eventlog.open(path, cleaner=False) as log:
        topic = _letters(log, 0, compaction="key", compaction_lag=0.0)
        log.clean()
        for key in KEYS:
            topic.append(b"z", key=key)


def large(path: Path) -> None:
    """Its index has branch pages."""
    fill(path, trims=True)


def branch_keys(path: Path) -> Iterator[Place]:
    """The keys on the branch pages of the index."""
    data = (path / "data.mdb").read_bytes()
    file = PageFile(str(path / "data.mdb"))
    pages = [root_of(path, INDEX)]
    for number in pages:
        page = file.page(number)
        if isinstance(page, Branch):
            pages += [child for _, child in page.children]
            for index, (key, _) in enumerate(page.children):
                (row,) = struct.unpack_from("=H", data, number * file.page_bytes + 16 + 2 * index)
                at = number * file.page_bytes + row + 8
                assert data[at : at + len(key)] == key
                yield Place(at, len(key), at + len(key))
    file.close()


def leaf_keys(path: Path) -> Iterator[Place]:
    """The keys of its rows."""
    return keys_of(path, INDEX)


def answers(log: eventlog.EventLog) -> list[Any]:
    """All that a topic says of its keys; an error where it says that it is damaged."""
    topic: eventlog.Topic[Any, Any] = log.topic("letters")

    def shown(event: Any) -> Any:
        return event and (event.version, event.offset, event.value)

    def said(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except eventlog.EventLogError as error:
            return type(error)

    found: list[Any] = [said(lambda: list(topic.keys()))]
    for key in (*KEYS, "once", "k9"):
        found += [
            said(lambda key=key: topic.version(key)),
            said(lambda key=key: shown(topic.latest(key))),
            said(lambda key=key: list(map(shown, topic.history(key)))),
        ]
    return found


def silent_changes(path: Path, keys: Callable[[Path], Iterator[Place]], every: int) -> list[str]:
    """The changed bits after which a topic answers otherwise, without an error, and `verify` finds nothing."""
    with eventlog.open(path, cleaner=False) as log:
        wanted = answers(log)
        assert log.verify().problems == ()
    spoiled = Path(shutil.copytree(path, path.with_name("spoiled")))
    places = list(keys(spoiled))
    assert places
    silent = []
    change_count = 0
    for place, at, bit in changes(spoiled, places, every=every):
        with eventlog.open(spoiled, cleaner=False) as log:
            found = answers(log)
            is_other = [now for now, then in zip(found, wanted, strict=True) if now != then]
            change_count += bool(is_other)
            if any(not isinstance(one, type) for one in is_other) and log.verify().is_sound:
                silent.append(f"byte {at - place.at} of {place.length}, bit {bit}: {is_other[0]}"[:200])
    assert change_count
    return silent


MADE = [plain, trimmed, trimmed_keyless, compacted]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_verify_finds_each_changed_key_that_changes_an_answer(path: Path, make: Callable[[Path], None]) -> None:
    """Every fifth bit: five has no divisor in common with the bits of a key, so each of its bytes has its turn."""
    make(path)
    assert silent_changes(path, leaf_keys, 5) == []


def test_verify_finds_changed_keys_of_branches(path: Path) -> None:
    """They lead a search astray."""
    large(path)
    assert silent_changes(path, branch_keys, 3) == []


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("make", [*MADE, large], ids=lambda make: make.__name__)
def test_verify_finds_every_changed_key_that_changes_an_answer(path: Path, make: Callable[[Path], None]) -> None:
    """Every bit of every key."""
    make(path)
    assert silent_changes(path, leaf_keys, 1) == []


def test_harness_finds_the_versions_that_keyless_records_explained(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the count of deleted records without a key, their number hides a later version."""
    trimmed_keyless(path)
    with eventlog.open(path) as log:
        store: Any = log._store  # type: ignore[attr-defined]
        transaction = store.environment.begin_writing()
        for key in [key for key, _ in transaction.cursor(db=store.environment.table(FORMAT))]:
            if key.startswith(KEYLESS_KEY):
                transaction.delete(key, db=store.environment.table(FORMAT))
        store.environment.commit(transaction)
    assert silent_changes(path, leaf_keys, 5)
