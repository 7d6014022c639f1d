"""The shop under a real gunicorn, with and without `--preload`: its workers are killed, reloaded and stopped."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
from pathlib import Path

import pytest

import eventlog
from examples.gunicorn_service.service import Application, bill
from tests.examples.programs import Program, request

CONFIGURATION = "examples/gunicorn_service/gunicorn_conf.py"
APPLICATION = "examples.gunicorn_service.service:application"


def gunicorn(path: Path, *arguments: str) -> Program:
    """The server on a port that the system chooses; what it writes beside the log goes to a folder of the test."""
    places = {"SHOP_LOG": str(path), "HOME": str(path.parent), "XDG_RUNTIME_DIR": str(path.parent)}
    return Program("-m", "gunicorn", "--bind=127.0.0.1:0", *arguments, environment=places)


class Client:
    """Orders one cup more each time, and asks again with the same key until it has an answer."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answered: dict[int, tuple[int, int]] = {}
        """The place of each order, by its number of cups."""
        self._has_more = threading.Condition()

    def run(self, port: int, end: threading.Event) -> None:
        """Orders until it is told to end; the order in hand is left to the next run."""
        while not end.is_set():
            number = len(self.answered)
            try:
                key = {"Idempotency-Key": f"{self.name}-{number}"}
                status, body = request(port, "POST", f"/{self.name}/{number}", key)
            except (OSError, http.client.HTTPException):
                end.wait(0.01)
                continue
            assert status == 201, body
            with self._has_more:
                self.answered[number] = tuple(json.loads(body))
                self._has_more.notify_all()

    def wait_for(self, count: int) -> None:
        """Waits until so many more are answered."""
        goal = len(self.answered) + count
        with self._has_more:
            assert self._has_more.wait_for(lambda: len(self.answered) >= goal, 30.0), "no answers"


class Clients:
    """Some of them, in threads, for as long as the `with` lasts."""

    def __init__(self, clients: list[Client], port: int) -> None:
        self._clients = clients
        self._end = threading.Event()
        self._threads = [threading.Thread(target=client.run, args=[port, self._end]) for client in clients]

    def wait_for(self, count: int) -> None:
        """Waits until each has so many more answers."""
        for client in self._clients:
            client.wait_for(count)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        for thread in self._threads:
            thread.join()


def booted(program: Program) -> list[int]:
    """The workers that were started, the oldest first."""
    return [int(number) for number in re.findall(r"Booting worker with pid: (\d+)", program.output)]


def port_of(program: Program) -> int:
    """Where gunicorn listens."""
    return int(program.wait_for(r"Listening at: http://127\.0\.0\.1:(\d+)")[1])


def harass(path: Path, clients: list[Client], *arguments: str) -> None:
    """One life of the server: a worker is killed, all are reloaded, and the server is stopped, among requests."""
    with gunicorn(path, "--workers=3", *arguments) as program:
        port = port_of(program)
        with Clients(clients, port) as ordering:
            ordering.wait_for(5)
            for _ in range(3):
                program.wait_for("Booting worker")
            os.kill(booted(program)[1], signal.SIGKILL)
            program.wait_for("Booting worker")
            ordering.wait_for(5)
            program.send(signal.SIGHUP)
            for _ in range(3):
                program.wait_for("Worker exiting")
            ordering.wait_for(5)
            assert len(booted(program)) == 7
            assert program.end(signal.SIGTERM) == 0
        assert "Traceback" not in program.output


def check_orders(log: eventlog.EventLog, clients: list[Client]) -> dict[tuple[int, int], tuple[str, int]]:
    """Each order is stored once, where its client was told; the orders by their places."""
    orders = {(record.partition, record.offset): (record.key, record.value) for record in log.topic("orders").read()}
    assert len(set(orders.values())) == len(orders), "an order is there twice"
    for client in clients:
        for cups, place in client.answered.items():
            assert orders[place] == (client.name, cups)
    assert log.verify().is_sound
    return orders


def check_invoices(log: eventlog.EventLog, orders: dict[tuple[int, int], tuple[str, int]]) -> None:
    """Each order is billed once, when what the workers left is done."""
    with log.processor("orders", function=bill, group="billing") as processor:
        processor.run_to_end()
    billed = [tuple(record.value["order"]) for record in log.topic("invoices").read()]
    assert sorted(billed) == sorted(orders)


@pytest.mark.parametrize("mode", [[], ["--preload"]])
def test_nothing_is_lost_and_nothing_is_billed_twice(path: Path, mode: list[str]) -> None:
    """Kill -9 of a worker, a reload and SIGTERM, all of it among requests."""
    clients = [Client("alice"), Client("bob"), Client("carol")]
    harass(path, clients, *mode, f"--config={CONFIGURATION}", APPLICATION)
    with eventlog.open(path) as log:
        assert log.groups.describe("billing").members == ()
        check_invoices(log, check_orders(log, clients))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", [[], ["--preload"], ["--worker-class=gthread", "--threads=2"]])
def test_a_server_goes_on_where_the_one_before_has_ended(path: Path, mode: list[str]) -> None:
    """Six lives on one log; what was not answered in one is asked for again in the next."""
    clients = [Client("alice"), Client("bob"), Client("carol"), Client("dave")]
    for _ in range(6):
        harass(path, clients, *mode, f"--config={CONFIGURATION}", APPLICATION)
    with eventlog.open(path) as log:
        check_invoices(log, check_orders(log, clients))


@pytest.mark.long
def test_workers_that_are_replaced_after_some_requests_lose_nothing(path: Path) -> None:
    """`--max-requests` ends a worker as a reload does."""
    clients = [Client("alice"), Client("bob")]
    arguments = ["--workers=3", "--max-requests=8", f"--config={CONFIGURATION}", APPLICATION]
    with gunicorn(path, *arguments) as program:
        with Clients(clients, port_of(program)) as ordering:
            ordering.wait_for(50)
            assert program.end(signal.SIGTERM) == 0
        assert len(booted(program)) > 10
    with eventlog.open(path) as log:
        check_invoices(log, check_orders(log, clients))


def test_a_wrong_order_is_refused_and_a_name_kept_as_it_was_sent(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WSGI passes the bytes of a path as text of Latin-1."""
    monkeypatch.setenv("SHOP_LOG", str(path))
    application = Application()
    application.open()
    answers = []

    def post(name: str, key: str = "one") -> str:
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": name, "HTTP_IDEMPOTENCY_KEY": key}
        (body,) = application(environ, lambda status, _: answers.append(status))
        return body.decode()

    post("/Jos\u00e9/2".encode().decode("latin-1"))
    assert "one order alone" in post("/bob/2")
    for name in ("/bob/two", "/bob", "/", "/bob/2/3", f"/bob/{10**30}", "/\xff/2"):
        assert "POST /CUSTOMER/CUPS" in post(name, key="another")
    assert "POST /CUSTOMER/CUPS" in post("/bob/2", key="")
    assert [record.key for record in application.orders.read()] == ["Jos\u00e9"]
    assert answers == ["201 Created", *["400 Bad Request"] * 8]
    application.close()


def test_a_log_opened_before_the_fork_is_opened_again_by_each_worker(path: Path) -> None:
    """An application that opens the log when it is imported works under `--preload`, too."""
    clients = [Client("alice"), Client("bob")]
    harass(path, clients, "--preload", "tests.examples.gunicorn_open_at_import:application")
    with eventlog.open(path) as log:
        assert ("master", 0) in check_orders(log, clients).values()
