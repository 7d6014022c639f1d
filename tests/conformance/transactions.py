"""The suite on transactions, and on what is found by key, by id or by its place in the log."""

from __future__ import annotations

import pytest

import eventlog
from tests.conformance.kit import Base, needs, poll_all, values


class Transacting(Base):
    """All or nothing."""

    def test_a_transaction_stores_the_records_of_several_topics(self, log):
        """Nothing before the commit, everything after it."""
        orders, payments = log.topic("orders", value=int), log.topic("payments", value=int)
        with log.transaction() as tx:
            one, other = tx.send("orders", 1), tx.send(payments, 2)
            assert (orders.bounds(), payments.bounds()) == ({0: (0, 0)}, {0: (0, 0)})
        assert (one.result().offset, other.result().offset, tx.is_ended) == (0, 0, True)
        assert (values(orders.read()), values(payments.read())) == ([1], [2])

    def test_an_exception_stores_nothing(self, log):
        """It goes on, and the deliveries say why."""
        orders = log.topic("orders", value=int)
        tx = log.transaction()
        delivery = tx.send(orders, 1)
        with pytest.raises(KeyError), tx:
            raise KeyError("no")
        assert values(orders.read()) == []
        assert isinstance(delivery.exception(), eventlog.TransactionEnded)

    def test_offsets_are_stored_with_the_records(self, log):
        """Consume, transform, produce: the group goes on behind what was worked on."""
        log.topic("orders", value=int).append_many([1, 2, 3])
        doubled = log.topic("doubled", value=int)
        with log.consumer("orders", group="g", auto_commit=False) as consumer:
            records = poll_all(consumer, 3)
            with log.transaction() as tx:
                tx.send_many(doubled, [record.value * 2 for record in records])
                tx.commit_offsets(consumer)
        assert values(doubled.read()) == [2, 4, 6]
        with log.consumer("orders", group="g") as consumer:
            assert consumer.committed(("orders", 0)) == 3

    def test_a_transaction_that_is_not_stored_takes_its_consumer_back(self, log):
        """The records come again at the next poll, and each is worked on once in effect."""
        log.topic("orders", value=int).append_many([1, 2, 3])
        doubled = log.topic("doubled", value=int)
        failures = 2
        with log.consumer("orders", group="g", auto_commit=False, max_poll_records=2) as consumer:
            while len(values(doubled.read())) < 3:
                records = poll_all(consumer, 1)
                try:
                    with log.transaction(consumer) as tx:
                        tx.send_many(doubled, [record.value * 2 for record in records])
                        if failures:
                            failures -= 1
                            raise KeyError("no")
                except KeyError:
                    pass
            assert consumer.committed(("orders", 0)) == 3
        assert values(doubled.read()) == [2, 4, 6]

    @needs("states")
    def test_a_state_is_stored_with_the_records(self, log):
        """And can be read without a transaction, and deleted."""
        orders = log.topic("orders", value=int)
        with log.transaction() as tx:
            tx.send(orders, 5)
            tx.state("totals", key=str, value=int)["alice"] = 5
        assert (log.states(), log.state("totals")["alice"]) == (["totals"], 5)
        log.delete_state("totals")
        assert log.states() == []

    @needs("states")
    def test_what_was_read_and_changed_meanwhile_is_a_conflict(self, log):
        """The later commit stores nothing."""
        slow = log.transaction()
        slow.state("totals").get("alice")
        log.transact(lambda tx: tx.state("totals").__setitem__("alice", 1))
        slow.state("totals")["alice"] = 2
        with pytest.raises(eventlog.ConflictError):
            slow.commit()
        assert log.state("totals")["alice"] == 1


class ByKey(Base):
    """Features of records that have a key, an id or a place in the whole log."""

    @needs("index")
    def test_the_records_of_a_key_are_read_by_their_versions(self, log):
        """From 1, and from a snapshot on."""
        accounts = log.topic("accounts", key=str, value=int, index="key")
        accounts.append_many([5, -3, 9], key="alice")
        assert [(event.version, event.value) for event in accounts.history("alice")] == [(1, 5), (2, -3), (3, 9)]
        assert (accounts.latest("alice").value, accounts.version("alice"), list(accounts.keys())) == (9, 3, ["alice"])
        accounts.save_snapshot("alice", 2, version=2)
        assert accounts.snapshot("alice").state == 2
        assert accounts.fold("alice", lambda balance, amount: balance + amount, 0) == (11, 3)

    @needs("index", "expected_version")
    def test_an_append_may_expect_a_version(self, log):
        """The second of two that expect the same stores nothing."""
        accounts = log.topic("accounts", key=str, value=int, index="key")
        accounts.append(1, key="alice", expected_version=0)
        with pytest.raises(eventlog.WrongVersion):
            accounts.append(2, key="alice", expected_version=0)
        assert accounts.version("alice") == 1

    @needs("message_ids")
    def test_a_record_with_an_id_is_stored_once(self, log):
        """The second call says where the first one put it."""
        orders = log.topic("orders")
        first = orders.append(b"tea", message_id="m")
        assert orders.append(b"tea", message_id="m").offset == first.offset
        assert orders.bounds() == {0: (0, 1)}

    @needs("named_producers")
    def test_the_newest_producer_of_a_name_fences_the_others(self, log):
        """Whoever was replaced stores nothing more."""
        orders = log.topic("orders")
        old = log.producer(name="importer")
        old.send(orders, b"1").result()
        with log.producer(name="importer") as new:
            with pytest.raises(eventlog.ProducerFenced):
                old.send(orders, b"2").result()
            new.send(orders, b"3").result()
        old.close()
        assert values(orders.read()) == [b"1", b"3"]

    @needs("log_order")
    def test_the_whole_log_has_one_order(self, log):
        """Over all topics, dense from 0."""
        for name in ("orders", "payments", "orders"):
            meta = log.topic(name).append(name.encode())
        assert (meta.log_position, log.end_log_position()) == (2, 3)
        assert [(number, record.topic) for number, record in log.read_all(1)] == [(1, "payments"), (2, "orders")]
        assert [number for number, _ in log.read_all_batches()] == [0, 1, 2]

    @needs("projections")
    def test_a_projection_folds_the_log(self, log):
        """Up to the end, and is deleted with its state."""
        log.topic("orders", value=int).append_many([1, 2, 3])

        def add(state, record):
            state["sum"] = state.get("sum", 0) + record.value

        projection = log.projection("sum", add)
        assert (projection.catch_up(), projection.state["sum"], log.projections()) == (3, 6, ["sum"])
        log.delete_projection("sum")
        assert log.projections() == []
