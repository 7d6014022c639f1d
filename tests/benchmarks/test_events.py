"""The rows of event sourcing: their events, their peers, and the stores that rows share."""

import sqlite3
from functools import partial
from pathlib import Path

import pytest

from benchmarks import event_data, event_library, event_sqlite
from benchmarks.event_data import EVENTS_PER_ENTITY
from benchmarks.measure import Skipped
from benchmarks.setting import Setting, Shelf


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """A run so small that its figures mean nothing."""
    return Setting(tmp_path, scale=0.001)


@pytest.fixture
def library() -> None:
    """The test is skipped where the peer is not installed."""
    try:
        event_library.load_library()
    except Skipped as reason:
        pytest.skip(str(reason))


def test_entities_differ_and_come_in_no_order() -> None:
    """A store that only appends at its end would have it too easy."""
    entities = event_data.make_entities(event_data.ENTITY_COUNT)
    assert len(set(entities)) == event_data.ENTITY_COUNT
    assert {len(entity) for entity in entities} == {8}
    assert entities != sorted(entities)


@pytest.mark.parametrize("order", ["together", "interleaved"])
def test_each_entity_gets_each_version_once_and_in_order(order) -> None:
    """However the events of a store are written, an entity's history is the same."""
    found: dict[str, list[int]] = {}
    for rows in event_data.chunks(250, order, entities=100):
        for entity, version, value in rows:
            assert len(value) == 100
            found.setdefault(entity, []).append(version)
    assert len(found) == 250
    assert all(versions == list(range(1, EVENTS_PER_ENTITY + 1)) for versions in found.values())


def test_interleaved_events_of_one_entity_are_far_apart() -> None:
    """Between two of them lie events of the others, in another order each time."""
    rows = [row for part in event_data.chunks(100, "interleaved", entities=30) for row in part]
    turns = [[entity for entity, _, _ in rows[first : first + 100]] for first in range(0, len(rows), 100)]
    assert all(len(set(turn)) == 100 for turn in turns)
    assert turns[0] != turns[1]


@pytest.mark.parametrize("is_new", [True, False])
def test_a_commit_expects_the_version_that_its_entity_has(is_new) -> None:
    """The versions of one entity have no gap and begin after 0."""
    commits = event_data.make_commits(4, events=3, is_new=is_new)
    assert [commit.expected_version for commit in commits] == ([0, 0, 0, 0] if is_new else [0, 3, 6, 9])
    assert len({commit.entity for commit in commits}) == (4 if is_new else 1)
    assert {len(commit.values) for commit in commits} == {3}


@pytest.mark.parametrize("layout", ["by position", "by entity"])
def test_sqlite3_by_hand_refuses_a_version_that_exists(tmp_path: Path, layout) -> None:
    """Without that it would be no peer."""
    insert = "INSERT INTO events (entity, version, position, timestamp_ms, value) VALUES ('a', 1, ?, 0, x'00')"
    with event_sqlite.database(tmp_path, event_sqlite.LAYOUTS[layout]) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        connection.execute(insert, (1,))
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(insert, (2,))


def named(workload) -> str:
    """The name of a workload with its options: the same in every process, as an address is not."""
    if not isinstance(workload, partial):
        return workload.__name__
    return ", ".join([workload.func.__name__, *(f"{name}={value}" for name, value in workload.keywords.items())])


SQLITE3 = [
    partial(event_sqlite.append, events=1, is_new=True, in_memory=True),
    partial(event_sqlite.append, events=100, is_new=False, in_memory=False),
    partial(event_sqlite.read, order="interleaved", layout="by position"),
    partial(event_sqlite.read, order="together", layout="by entity"),
    event_sqlite.project,
    partial(event_sqlite.exactly_once, in_memory=True),
]
LIBRARY = [
    partial(event_library.append, events=1, is_new=False, in_memory=True),
    partial(event_library.append, events=100, is_new=True, in_memory=False),
    partial(event_library.read, order="interleaved"),
    partial(event_library.project, is_paged=True),
    partial(event_library.project, is_paged=False),
    partial(event_library.exactly_once, in_memory=True),
]


@pytest.mark.parametrize("workload", SQLITE3, ids=named)
def test_sqlite3_by_hand_does_its_work(workload, setting: Setting) -> None:
    """A peer that loses events would be an easy one; each round checks that it does not."""
    with workload(setting) as run:
        assert run().figure > 0
        assert run().figure > 0
    assert list(setting.directory.iterdir()) == []


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("workload", LIBRARY, ids=named)
def test_the_library_does_its_work(workload, setting: Setting) -> None:
    """Its API is still the one we measure, and each round checks that no event is lost."""
    with workload(setting) as run:
        assert run().figure > 0
        assert run().figure > 0
    assert list(setting.directory.iterdir()) == []


def test_rows_share_a_store_until_the_run_ends(tmp_path: Path) -> None:
    """It is filled when the first row asks for it, and gone with the shelf."""
    shelf = Shelf(tmp_path)
    fills: list[Path] = []

    def fill(path: Path) -> None:
        (path / "data").write_bytes(b"tea")
        fills.append(path)

    for _ in range(2):
        with Setting(tmp_path, shelf=shelf).filled("tea", fill) as path:
            assert (path / "data").read_bytes() == b"tea"
    assert len(fills) == 1
    shelf.close()
    assert list(tmp_path.iterdir()) == []


def test_a_store_whose_filling_fails_is_not_shared(tmp_path: Path) -> None:
    """The next row tries again, rather than measure half of a store."""
    shelf = Shelf(tmp_path)

    def fail(path: Path) -> None:
        (path / "data").write_bytes(b"half")
        raise OSError("full")

    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            shelf.get("tea", fail)
    assert list(tmp_path.iterdir()) == []
