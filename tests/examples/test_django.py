"""The Django site: its processes are killed between a commit of the database and one of the log, both ways round."""

from __future__ import annotations

import random
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

import eventlog
from tests.examples.postgres import postgres
from tests.examples.programs import Program


class Site:
    """The site's processes, database and log in one directory."""

    def __init__(self, path: Path, postgres: dict[str, str] | None = None) -> None:
        self._path = path
        self._postgres = postgres or {}

    def run(self, *arguments: str) -> Program:
        """One of its commands, or a scene."""
        return Program("-m", *arguments, environment={"SHOP_DATA": str(self._path), **self._postgres})

    def manage(self, command: str) -> Program:
        """A command, as its users run it."""
        return self.run("examples.django_site.manage", command)

    def scene(self, name: str) -> Program:
        """A scene; those that kill themselves are played to that end."""
        return self.run("tests.examples.django_scenes", name)

    def dies_in(self, name: str) -> None:
        """Plays a scene that kills itself."""
        with self.scene(name) as program:
            assert program.end() == -signal.SIGKILL, program.output

    def rows(self, question: str) -> list[tuple]:
        """Asks the database, or changes it."""
        if self._postgres:
            import psycopg

            where = f"host={self._postgres['PGHOST']} user=shop dbname=shop"
            with psycopg.connect(where, autocommit=True) as connection:
                answer = connection.execute(question)
                return answer.fetchall() if answer.description else []
        with closing(sqlite3.connect(self._path / "shop.sqlite3", isolation_level=None)) as database:
            return database.execute(question).fetchall()

    def log(self) -> eventlog.EventLog:
        """The log, open."""
        return eventlog.open(self._path / "log")

    def stored(self) -> list[int]:
        """The orders in the log."""
        with self.log() as log:
            return sorted(record.value["order"] for record in log.topic("orders").read())

    def billed(self) -> list[tuple]:
        """What was billed, by customer and cents."""
        return sorted(self.rows("SELECT customer, cents FROM shop_invoice"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A site with a database and five orders."""
    with postgres() if request.param == "postgresql" else nullcontext() as server:
        site = Site(tmp_path, server)
        with site.scene("orders") as program:
            assert program.end() == 0, program.output
        assert site.stored() == [1, 2, 3, 4, 5]
        assert site.rows("SELECT * FROM shop_outboxrow") == []
        yield site


def test_the_outbox_loses_nothing_where_on_commit_alone_does(site: Site) -> None:
    """Killed after the commit of an order, and killed after its append: the event is in the log, once."""
    site.dies_in("hoping")
    assert site.rows("SELECT customer FROM shop_order WHERE id > 5 ORDER BY id") == [("carol",), ("hoping",)]
    site.dies_in("publishing")
    assert site.stored() == [1, 2, 3, 4, 5]
    assert site.rows("SELECT key FROM shop_outboxrow ORDER BY id") == [("carol",), ("bob",)]  # one is lost
    site.dies_in("relaying")
    assert site.stored() == [1, 2, 3, 4, 5, 6, 8]
    assert len(site.rows("SELECT * FROM shop_outboxrow")) == 2
    with site.manage("relay") as program:
        assert program.end() == 0
        assert program.output == "relayed 2\n"
    assert site.stored() == [1, 2, 3, 4, 5, 6, 8]
    assert site.rows("SELECT * FROM shop_outboxrow") == []


def test_the_consumer_does_each_record_once_and_ends_on_sigterm(site: Site) -> None:
    """Killed right before the database commits an invoice, and right after; stopped gently; set back by its rows."""
    site.dies_in("billing_not_done")
    assert site.billed() == []
    site.dies_in("billing_done")
    assert site.billed() == [("alice", 250)]
    with site.log() as log:
        assert log.groups.describe("billing").lag == 5  # the group knows nothing of it
    with site.scene("billing_told_to_stop") as program:
        assert program.end() == 0, program.output
        assert program.output == "billed order 2\n"  # of the four at hand
    with site.log() as log:
        assert log.groups.describe("billing").lag == 3
    with site.manage("runconsumer") as program:
        for order in (3, 4, 5):
            program.wait_for(f"billed order {order}")
        assert program.end(signal.SIGTERM) == 0
        assert "order 1\n" not in program.output
        assert "order 2\n" not in program.output
        assert "Traceback" not in program.output
    assert site.billed() == [("alice", 250 * cups) for cups in (1, 2, 3, 4, 5)]
    with site.log() as log:
        assert log.groups.describe("billing").lag == 0
        assert log.groups.describe("billing").members == ()
    site.rows("DELETE FROM shop_position")  # as a database of yesterday would be
    site.rows("DELETE FROM shop_invoice")
    with site.manage("runconsumer") as program:
        program.wait_for("billed order 5")
        assert program.end(signal.SIGTERM) == 0
    assert site.billed() == [("alice", 250 * cups) for cups in (1, 2, 3, 4, 5)]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_twenty_kills_lose_no_order_and_bill_none_twice(site: Site, rng: random.Random) -> None:
    """Two programs that place orders and two consumers, one of which is killed at a time and started again."""
    begin = [lambda: site.scene("many_orders")] * 2 + [lambda: site.manage("runconsumer")] * 2
    words = ["placed order", "placed order", "billed order", "billed order"]
    programs = [start() for start in begin]
    try:
        for _ in range(20):
            which = rng.randrange(4)
            for _ in range(rng.randrange(1, 20)):
                programs[rng.choice([0, 1])].wait_for("placed order")
            programs[which].send(signal.SIGKILL)
            assert programs[which].end() == -signal.SIGKILL
            programs[which].__exit__(None, None, None)
            programs[which] = begin[which]()
            programs[which].wait_for(words[which])
        for program in programs[:2]:
            program.end(signal.SIGKILL)
        with site.manage("relay") as program:
            assert program.end() == 0
        with site.log() as log:
            log.groups.wait("billing", timeout=300.0)
        assert [program.end(signal.SIGTERM) for program in programs[2:]] == [0, 0]
    finally:
        for program in programs:
            program.__exit__(None, None, None)
    orders = site.rows("SELECT id, customer, cups FROM shop_order")
    assert len(orders) > 20
    assert site.stored() == sorted(number for number, _, _ in orders)
    assert site.billed() == sorted((customer, 250 * cups) for _, customer, cups in orders)
