"""Transactions that meet: what one has read and another has changed, in threads and in one."""

from __future__ import annotations

from typing import Any

import pytest

import eventlog
from tests.clients.helpers import in_threads, last_transaction, values


def put(log: eventlog.EventLog, **rows: int) -> None:
    """Writes some rows of the state that the tests use."""
    with log.transaction() as tx:
        for key, value in rows.items():
            tx.state("s")[key] = value


def rows(log: eventlog.EventLog) -> dict[Any, Any]:
    """All rows of that state."""
    return dict(log.state("s").items())


def test_a_lost_update_is_refused(log):
    """Two read one row and write it: the second one to commit is refused, and stores nothing."""
    put(log, x=1)
    one, other = log.transaction(), log.transaction()
    for tx in (one, other):
        tx.state("s")["x"] = tx.state("s")["x"] + 1
    one.commit()
    with pytest.raises(eventlog.ConflictError, match="Do it again"):
        other.commit()
    assert rows(log) == {"x": 2}


def test_write_skew_is_refused(log):
    """Two read both rows and write one each, so that together they would break what each has checked."""
    put(log, x=1, y=1)
    one, other = log.transaction(), log.transaction()
    for tx, key in ((one, "x"), (other, "y")):
        state = tx.state("s")
        assert state["x"] + state["y"] > 1, "one of them has to stay on call"
        state[key] = 0
    one.commit()
    with pytest.raises(eventlog.ConflictError):
        other.commit()
    assert rows(log) == {"x": 0, "y": 1}


@pytest.mark.parametrize("change", ["insert", "delete", "update"])
@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_phantom_is_refused(log, change, is_reversed):
    """A row that comes into a scanned range, goes from it or changes in it."""
    put(log, b=1, d=1, f=1)
    tx = log.transaction()
    count = len(list(tx.state("s").keys("b", "e", is_reversed=is_reversed)))
    tx.state("s")["count"] = count
    if change == "delete":
        log.transact(lambda other: other.state("s").delete("d"))
    else:
        put(log, **{"c" if change == "insert" else "d": 5})
    with pytest.raises(eventlog.ConflictError):
        tx.commit()


def test_what_lies_outside_of_a_scan_is_nobodys_conflict(log):
    """Nor is what comes after the last row that was looked at."""
    put(log, b=1, d=1, f=1)
    tx = log.transaction()
    state = tx.state("s")
    assert list(state.keys("b", "e")) == ["b", "d"]
    assert next(iter(state.keys("f"))) == "f"
    state["out"] = 1
    put(log, a=1, e=1, g=1, z=1)
    tx.commit()


def test_a_missing_row_that_comes_is_a_conflict(log):
    """To have looked and found nothing is to have read."""
    put(log, x=1)
    tx = log.transaction()
    assert tx.state("s").get("y") is None
    tx.state("s")["z"] = 1
    put(log, y=1)
    with pytest.raises(eventlog.ConflictError):
        tx.commit()


def test_blind_writes_are_no_conflict(log):
    """Who has not read a row may write it; the later commit stays."""
    put(log, x=1)
    one, other = log.transaction(), log.transaction()
    one.state("s")["x"] = 2
    other.state("s")["x"] = 3
    other.commit()
    one.commit()
    assert rows(log) == {"x": 2}


def test_reading_alone_may_be_refused_and_stores_nothing(log):
    """Two rows that were read at different moments belong together, or the commit says not; no commit is made."""
    put(log, x=1, y=1)
    tx = log.transaction()
    assert tx.state("s")["x"] == 1
    put(log, x=2, y=2)
    assert tx.state("s")["y"] == 2
    before = last_transaction(log)
    with pytest.raises(eventlog.ConflictError):
        tx.commit()
    with log.transaction() as tx:
        assert sum(tx.state("s").values()) == 4
    assert last_transaction(log) == before


def test_records_and_states_of_a_conflict_are_all_refused(log):
    """A conflict in one state keeps the others and the records out."""
    topic = log.topic("orders", value=int)
    put(log, x=1)
    tx = log.transaction()
    tx.send("orders", 1)
    tx.state("other")["k"] = 1
    tx.state("s")["x"] = tx.state("s")["x"] + 1
    put(log, x=7)
    with pytest.raises(eventlog.ConflictError):
        tx.commit()
    assert list(topic.read()) == list(log.state("other").items()) == []


def test_no_update_is_lost_among_threads(log):
    """Eight threads count to forty each."""

    def count():
        for _ in range(40):
            log.transact(add, attempts=1000)

    def add(tx):
        state = tx.state("s")
        state["n"] = number = state.get("n", 0) + 1
        tx.send("numbers", number)

    topic = log.topic("numbers", value=int)
    in_threads(*[count] * 8)
    assert rows(log) == {"n": 320}
    assert values(topic.read()) == list(range(1, 321)), "each number once, in the order of the counter"


def test_threads_keep_what_each_transaction_keeps(log, rng):
    """Transfers between ten accounts in four threads, with scans between them: the sum is always the same."""
    with log.transaction() as tx:
        for number in range(10):
            tx.state("accounts", key=int, value=int)[number] = 100

    def move(seed):
        import random

        chance = random.Random(seed)
        for _ in range(60):
            one, other = chance.sample(range(10), 2)
            amount = chance.randrange(1, 30)

            def transfer(tx, one=one, other=other, amount=amount):
                accounts = tx.state("accounts")
                if accounts[one] >= amount:
                    accounts[one] -= amount
                    accounts[other] += amount

            log.transact(transfer, attempts=1000)

    def audit():
        for _ in range(60):
            assert log.transact(lambda tx: sum(tx.state("accounts").values()), attempts=1000) == 1000

    seeds = [rng.random() for _ in range(3)]
    in_threads(*[lambda seed=seed: move(seed) for seed in seeds], audit)
    balances = list(log.state("accounts").values())
    assert sum(balances) == 1000
    assert min(balances) >= 0


def test_transact_gives_up_after_its_attempts(log):
    """It raises the last conflict, and stores nothing."""
    calls: list[int] = []

    def function(tx):
        calls.append(tx.state("s").get("x", 0))
        put(log, x=len(calls))
        tx.state("s")["y"] = 1

    with pytest.raises(eventlog.ConflictError):
        log.transact(function, attempts=3)
    assert calls == [0, 1, 2]
    assert rows(log) == {"x": 3}


def test_transact_does_not_repeat_other_errors(log):
    """What the function raises comes out at once, with nothing stored."""
    calls: list[int] = []

    def function(tx):
        calls.append(1)
        tx.state("s")["x"] = 1
        raise LookupError

    with pytest.raises(LookupError):
        log.transact(function)
    assert calls == [1]
    assert rows(log) == {}


# --- versions and ids ---------------------------------------------------------------------------------------------


@pytest.fixture
def accounts(log: eventlog.EventLog) -> eventlog.Topic[str, int]:
    """An indexed topic with two events of one key."""
    topic = log.topic("accounts", key=str, value=int, partitions=3, index="key")
    topic.append_many([1, 2], key="alice")
    return topic


def test_several_events_of_one_key_count_each_other(log, accounts):
    """Each expects the version that those before it in the transaction make."""
    with log.transaction() as tx:
        deliveries = [tx.send("accounts", number, key="alice", expected_version=number) for number in (2, 3, 4)]
        deliveries.append(tx.send("accounts", 9, key="alice"))
        deliveries.append(tx.send("accounts", 5, key="alice", expected_version=6))
        deliveries.append(tx.send("accounts", 1, key="bob", expected_version=0))
    assert [delivery.result().version for delivery in deliveries] == [3, 4, 5, 6, 7, 1]
    assert [event.value for event in accounts.history("alice")] == [1, 2, 2, 3, 4, 9, 5]


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_a_wrong_version_keeps_all_out(log, accounts, expected):
    """It names both versions."""
    tx = log.transaction()
    tx.send("accounts", 1, key="bob", expected_version=0)
    tx.send("accounts", 3, key="alice", expected_version=expected)
    with pytest.raises(eventlog.WrongVersion) as raised:
        tx.commit()
    assert (raised.value.expected, raised.value.actual) == (expected, 2)
    assert accounts.version("bob") == 0


def test_one_of_two_that_expect_the_same_version_is_refused(log, accounts):
    """In threads: each version has one winner."""
    lost: list[tuple[int, int, int]] = []

    def race():
        won = 0
        for version in range(2, 42):
            try:
                with log.transaction() as tx:
                    tx.send("accounts", version, key="alice", expected_version=version)
                won += 1
            except eventlog.WrongVersion as error:
                lost.append((version, error.expected, error.actual))
        return won

    assert sum(in_threads(*[race] * 3)) == 40
    assert all(version == expected < actual for version, expected, actual in lost)
    assert [event.version for event in accounts.history("alice")] == list(range(1, 43))


def test_a_message_id_is_stored_once(log, accounts):
    """In the same transaction, in the next and before it; every delivery tells the first one's place."""
    first = accounts.append(7, key="carol", message_id="a")
    tx = log.transaction()
    again = tx.send("accounts", 7, key="carol", message_id="a")
    one = tx.send("accounts", 8, key="carol", message_id="b")
    twin = tx.send("accounts", 8, key="carol", message_id="b")
    tx.commit()
    with log.transaction() as tx:
        later = tx.send("accounts", 8, key="carol", message_id="b", expected_version=1)
    assert again.result() == first
    assert one.result() == twin.result() == later.result()
    assert [(event.version, event.value) for event in accounts.history("carol")] == [(1, 7), (2, 8)]


def test_a_reused_message_id_keeps_all_out(log, accounts):
    """Whether its first use is stored or in the same transaction."""
    accounts.append(7, key="carol", message_id="a")
    for message_id in ("a", "fresh"):
        tx = log.transaction()
        tx.send("accounts", 1, key="dave", message_id="d")
        tx.send("accounts", 8, key="carol", message_id=message_id)
        tx.send("accounts", 9, key="carol", message_id=message_id)
        with pytest.raises(eventlog.MessageIdReused):
            tx.commit()
    assert accounts.version("dave") == 0
    assert accounts.version("carol") == 1


def test_an_id_of_a_refused_transaction_is_free(log, accounts):
    """It was never stored."""
    tx = log.transaction()
    tx.send("accounts", 1, key="dave", message_id="d")
    tx.send("accounts", 1, key="alice", expected_version=9)
    with pytest.raises(eventlog.WrongVersion):
        tx.commit()
    assert accounts.append(2, key="dave", message_id="d").version == 1


def test_transact_decides_again_when_a_key_has_moved_on(log):
    """After a WrongVersion the function is called again, and sees what happened meanwhile."""
    events = log.topic("events", key=str, index="key")
    seen = []

    def add(tx):
        version = events.version("a")
        seen.append(version)
        if version == 0:
            events.append(b"faster", key="a")
        tx.send(events, b"later", key="a", expected_version=version)

    log.transact(add)
    assert seen == [0, 1]
    assert [event.value for event in events.history("a")] == [b"faster", b"later"]


def test_transact_gives_up_on_a_version_that_never_comes(log):
    """A function that expects a fixed version is called so many times, and nothing is stored."""
    events = log.topic("events", key=str, index="key")
    calls = []

    def add(tx):
        calls.append(tx)
        tx.send(events, b"x", key="a", expected_version=7)

    with pytest.raises(eventlog.WrongVersion):
        log.transact(add, attempts=3)
    assert (len(calls), events.version("a")) == (3, 0)
