"""The FastAPI service under a real uvicorn: streams, restarts, and the end on SIGTERM."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import eventlog
from examples.fastapi_service.service import app
from tests.examples.programs import Program, Stream, request

COUNT = 20
SOON_SECONDS = 5.0
"""Ends below 2 s where the machine has nothing else to do."""


def service(path: Path, *arguments: str) -> Program:
    """The service, by its own `main`."""
    command = ["-m", "examples.fastapi_service", "--port=0", *arguments]
    return Program(*command, environment={"SHOP_LOG": str(path)})


def port_of(program: Program) -> int:
    """Where uvicorn has begun to listen."""
    return int(program.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1])


def order(port: int, number: int) -> int:
    """Sends one order; its offset."""
    headers = {"Idempotency-Key": f"order-{number}"}
    status, body = request(port, "POST", f"/orders/customer-{number % 3}?cups={number}", headers)
    assert status == 201, body
    return json.loads(body)["offset"]


class Client:
    """Orders one cup more each time, until the server is gone; sends what was not answered again to the next."""

    def __init__(self) -> None:
        self.answered: dict[int, int] = {}
        """The offset of each order."""
        self._number = COUNT

    def run(self, port: int, most: int = 100_000) -> None:
        """Orders until the connection is refused or broken."""
        for _ in range(most):
            try:
                self.answered[self._number] = order(port, self._number)
            except (OSError, http.client.HTTPException):
                return
            self._number += 1


def test_streams_resume_and_sigterm_ends_the_service_with_streams_open(path: Path) -> None:
    """Killed by SIGTERM between orders and streams, started again: every order is streamed and billed once."""
    client = Client()
    with service(path) as program:
        port = port_of(program)
        assert [order(port, number) for number in range(COUNT)] == list(range(COUNT))
        assert order(port, 7) == 7  # the client sends it again: it has its offset
        streams = [Stream(port, "/orders"), Stream(port, "/orders", last=4)]
        for stream in streams:
            stream.wait_for(COUNT - 1)
        thread = threading.Thread(target=client.run, args=[port])
        thread.start()
        streams[0].wait_for(COUNT + 5)
        began_s = time.monotonic()
        assert program.end(signal.SIGTERM, seconds=SOON_SECONDS) == 0
        print(f"ended in {time.monotonic() - began_s:.2f} s")
        thread.join()
        assert "Application shutdown complete" in program.output
        assert "Traceback" not in program.output
        whole, later = (stream.end() for stream in streams)
    assert whole == list(range(len(whole)))
    assert later == list(range(5, 5 + len(later)))

    # By uvicorn's own command, which ends with the signal that it got.
    command = ["-m", "uvicorn", "--port=0", "examples.fastapi_service.service:app"]
    with Program(*command, environment={"SHOP_LOG": str(path)}) as program:
        port = port_of(program)
        client.run(port, 10)
        newest = max(client.answered.values())
        rests = [Stream(port, "/orders", last=whole[-1]), Stream(port, "/orders", last=later[-1])]
        for rest in rests:
            rest.wait_for(newest)
        assert program.end(signal.SIGTERM, seconds=SOON_SECONDS) == -signal.SIGTERM
        assert whole + rests[0].end() == list(range(newest + 1))
        assert later + rests[1].end() == list(range(5, newest + 1))

    with eventlog.open(path) as log:
        stored = {record.offset: record.value["cups"] for record in log.topic("orders").read()}
        assert stored == dict(enumerate(range(newest + 1)))  # each order, once
        assert all(stored[offset] == cups for cups, offset in client.answered.items())
        billed = [record.value["order"] for record in log.topic("invoices").read()]
        assert sorted(billed) == billed[: len(billed)]
        assert log.groups.describe("billing").members == ()
        assert len(billed) + log.groups.describe("billing").lag == newest + 1
        assert log.verify().is_sound


def test_a_client_that_does_not_read_holds_the_end_up_for_the_grace_alone(path: Path) -> None:
    """Its stream is cancelled then, and the log is closed as ever."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", key=str, value="json", max_record_bytes=2**25)
        orders.append({"cups": 1, "wish": "x" * 2**24})  # no buffer takes it all
    with service(path, "--grace=1") as program, socket.socket() as client:
        client.connect(("127.0.0.1", port_of(program)))
        client.sendall(b"GET /orders HTTP/1.1\r\nHost: shop\r\n\r\n")
        answer = b""
        while b"id: 0" not in answer:
            answer += client.recv(4096)
        assert program.end(signal.SIGTERM) == 0
        assert "timeout graceful shutdown exceeded" in program.output
        assert "Application shutdown complete" in program.output


def test_the_service_runs_in_a_test_client(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its loop in a thread, where no handler of signals can be set."""
    monkeypatch.setenv("SHOP_LOG", str(path))
    with TestClient(app) as client, eventlog.open(path) as log:
        assert client.post("/orders/alice?cups=2").json() == {"offset": 0}
        log.groups.wait("billing", timeout=10.0)
        assert [record.value for record in log.topic("invoices").read()] == [{"order": 0, "cents": 500}]


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ("cups=two", None),
        ("cups=-1", None),
        ("cups=99999999999999999999", None),
        ("", None),
        ("cups=1", ""),
        ("cups=1", "k" * 300),
        ("cups=1", "of the first order"),
    ],
)
def test_a_wrong_order_is_refused_and_nothing_stored(
    path: Path, monkeypatch: pytest.MonkeyPatch, order: str, key: str | None
) -> None:
    """With an answer that says what is wrong."""
    monkeypatch.setenv("SHOP_LOG", str(path))
    with TestClient(app) as client, eventlog.open(path) as log:
        client.post("/orders/alice?cups=2", headers={"Idempotency-Key": "of the first order"})
        answer = client.post(f"/orders/bob?{order}", headers={} if key is None else {"Idempotency-Key": key})
        assert (answer.status_code, "detail" in answer.json()) == (422, True)
        assert len(list(log.topic("orders").read())) == 1


def test_ids_that_are_gone_and_the_end_when_the_task_has_failed(path: Path) -> None:
    """A stream goes on behind deleted orders; with a failed task the service ends with exit code 1, and it too."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", key=str, value="json")
        orders.append_many([{"cups": cups} for cups in range(5)])
        orders.delete_records({0: 3})
    with service(path) as program:
        port = port_of(program)
        status, body = request(port, "GET", "/orders", {"Last-Event-ID": "5"})  # nobody can have had it
        assert (status, b"the next one will be 5" in body) == (400, True)
        stream = Stream(port, "/orders", last=0)
        stream.wait_for(4)
        with eventlog.open(path) as log:
            log.groups.wait("billing", timeout=10.0)
            log.topic("orders").append({"nonsense": 1}, key="alice")
        assert program.end(seconds=SOON_SECONDS) == 1  # so that a supervisor starts it again
        assert "KeyError: 'cups'" in program.output
        assert stream.end() in ([3, 4], [3, 4, 5])
    with eventlog.open(path) as log:
        assert [record.value["order"] for record in log.topic("invoices").read()] == [3, 4]
        assert log.groups.describe("billing").lag == 1  # the order comes again
