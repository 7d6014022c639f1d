"""
The rows of event sourcing: each workload beside the eventsourcing library and beside hand-written sqlite3.

Three rounds each or one, since a row has two peers and ours runs beside both. Knows nothing of how figures are taken.
"""

from __future__ import annotations

from functools import partial

from benchmarks import event_library, event_sqlite, events
from benchmarks.event_data import Order
from benchmarks.measure import Unit
from benchmarks.row import Bar, Row, Side

_ROUNDS = 3
_LIBRARY = "eventsourcing"
_BY_HAND = "sqlite3"
_BARS = {_LIBRARY: Bar("ratio", 5.0), _BY_HAND: Bar("ratio", 1.0)}


def event_rows() -> list[Row]:
    """Every row of the group, in the order of the table."""
    return [*_appends(), *_reads(), *_projections(), *_loops()]


def _appends() -> list[Row]:
    rows: list[Row] = []
    forms = (
        ("one entity grows", 1, False, "append(expected_version=)"),
        ("a new entity each time", 1, True, "append(expected_version=)"),
        ("100 events a commit", 100, False, "append_many(key=, expected_version=)"),
    )
    for is_in_memory, place in ((False, "disk"), (True, "tmpfs")):
        for form, count, is_new, label in forms:
            options = {"events": count, "is_new": is_new, "in_memory": is_in_memory}
            ours = Side(label, partial(events.append, **options))
            library = Side("insert_events()", partial(event_library.append, **options))
            by_hand = Side("INSERT, unique (entity, version)", partial(event_sqlite.append, **options))
            name = f"append an event, {place}, {form}" if count == 1 else f"append, {place}, {form}"
            rows += _beside(name, "records/s", ours, library, by_hand)
    return rows


def _reads() -> list[Row]:
    rows: list[Row] = []
    orders: tuple[tuple[Order, str], ...] = (("together", "written at once"), ("interleaved", "written far apart"))
    for order, words in orders:
        ours = Side("list(topic.history())", partial(events.read, order=order))
        library = Side("select_events()", partial(event_library.read, order=order))
        by_hand = Side("SELECT", partial(event_sqlite.read, order=order, layout="by position"))
        rows += _beside(f"read an entity of 10 events, {words}", "us", ours, library, by_hand)
    clustered = Side("SELECT, WITHOUT ROWID", partial(event_sqlite.read, order="interleaved", layout="by entity"))
    name = "read an entity of 10 events, written far apart, beside sqlite3 clustered by entity"
    return [*rows, Row("events", name, "us", ours, clustered, _BARS[_BY_HAND], _ROUNDS)]


def _projections() -> list[Row]:
    name = "project 1 M events to 100,000 rows"
    ours = Side("projection.catch_up()", events.project)
    paged = Side("pages of 10,000, tracking recorder", partial(event_library.project, is_paged=True))
    single = Side("an event a transaction, tracking recorder", partial(event_library.project, is_paged=False))
    by_hand = Side("pages of 100,000, upserts and checkpoint", event_sqlite.project)
    return [
        Row("events", f"{name}, beside {_LIBRARY}", "records/s", ours, paged, _BARS[_LIBRARY], rounds=1),
        Row("events", f"{name}, beside {_LIBRARY}, an event at a time", "records/s", ours, single, rounds=1),
        Row("events", f"{name}, beside {_BY_HAND}", "records/s", ours, by_hand, _BARS[_BY_HAND], _ROUNDS),
    ]


def _loops() -> list[Row]:
    rows: list[Row] = []
    for is_in_memory, place in ((False, "disk"), (True, "tmpfs")):
        options = {"in_memory": is_in_memory}
        ours = Side("tx.state(), tx.send_many(), tx.commit_offsets()", partial(events.exactly_once, **options))
        library = Side("insert_events(tracking=)", partial(event_library.exactly_once, **options))
        by_hand = Side("inbox, outbox, totals, offsets", partial(event_sqlite.exactly_once, **options))
        name = f"exactly once, {place}, 100 records a transaction"
        rows += _beside(name, "records/s", ours, library, by_hand)
        single = Side("log.processor()", partial(events.processor, **options))
        rows.append(Row("events", f"{name}, a record at a time", "records/s", single, by_hand, rounds=_ROUNDS))
    return rows


def _beside(name: str, unit: Unit, ours: Side, library: Side, by_hand: Side) -> list[Row]:
    """The same work beside both peers."""
    return [
        Row("events", f"{name}, beside {peer}", unit, ours, side, _BARS[peer], _ROUNDS)
        for peer, side in ((_LIBRARY, library), (_BY_HAND, by_hand))
    ]
