"""A listener begins in the call, ends in the call, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

import eventlog
import eventlog.aio
import eventlog.kafka
from eventlog import testing
from eventlog.kafka import AsyncListener
from eventlog.kafka.protocol import ApiKey
from tests.kafka.record_batches import record_batch
from tests.kafka.wire import Wire

METADATA: dict[str, object] = {"topics": []}


def descriptors() -> list[str]:
    """The files that this process has open."""
    return sorted(str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink())


def test_it_listens_when_the_call_returns(log: eventlog.EventLog) -> None:
    """At a free port of this machine alone, which it names."""
    with eventlog.kafka.listen(log) as kafka:
        assert kafka.bootstrap_servers == f"127.0.0.1:{kafka.port}"
        assert kafka.host == "127.0.0.1"
        assert kafka.port > 0
        with Wire(kafka) as wire:
            [broker] = wire.ask(ApiKey.METADATA, 12, METADATA)["brokers"]
            assert (broker["host"], broker["port"]) == ("127.0.0.1", kafka.port)
    assert kafka.is_closed


def test_nothing_is_left_when_it_is_closed(log: eventlog.EventLog) -> None:
    """No thread, no descriptor, no connection; closing again does nothing."""
    before, threads = descriptors(), threading.active_count()
    for _ in range(3):
        kafka = eventlog.kafka.listen(log)
        with Wire(kafka) as wire:
            wire.ask(ApiKey.METADATA, 12, {"topics": [{"name": "orders"}]})
            kafka.close()
            assert wire.is_closed()
        kafka.close()
    assert threading.active_count() == threads
    assert descriptors() == before


def test_a_listener_that_is_dropped_ends(log: eventlog.EventLog) -> None:
    """Its finalizer has it closed."""
    threads = threading.active_count()
    kafka = eventlog.kafka.listen(log)
    address = (kafka.host, kafka.port)
    del kafka
    gc.collect()
    end_s = monotonic() + 20.0
    while threading.active_count() > threads:  # a finalizer waits for nothing
        assert monotonic() < end_s
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(address)


def test_a_listener_that_is_dropped_in_its_own_thread_ends(log: eventlog.EventLog) -> None:
    """The garbage collector runs in any thread, also in the middle of a request."""
    threads = threading.active_count()
    kafka: list[object] = [eventlog.kafka.listen(log)]
    core = kafka[0]._core  # type: ignore[attr-defined]
    core.in_loop(kafka.clear)
    end_s = monotonic() + 20.0
    while threading.active_count() > threads:
        assert monotonic() < end_s
    assert core.is_closed
    assert log.topics() == []


def test_a_signal_handler_closes_it_in_the_middle_of_a_commit(path: Path) -> None:
    """It waits for nothing there; what is in hand is answered when the commit is done."""
    data = [{"index": 0, "records": record_batch(b"tea")}]
    body = {"acks": -1, "timeout_ms": 9_000, "topic_data": [{"name": "orders", "partition_data": data}]}
    with testing.open(path) as log:
        topic, main = log.topic("orders"), threading.get_ident()
        kafka = eventlog.kafka.listen(log)
        with Wire(kafka) as wire:
            wire.ask(ApiKey.API_VERSIONS, 0, {})
            closed: list[bool] = []

            def close(*_: object) -> None:
                wire.send(ApiKey.PRODUCE, 9, body)
                while not any(one._in_hand for one in kafka._core.server._connections):
                    pass
                kafka.close()
                closed.append(kafka.is_closed)

            def interrupt() -> None:
                while not log._store.is_committing:
                    pass
                signal.pthread_kill(main, signal.SIGUSR1)

            before = signal.signal(signal.SIGUSR1, close)
            try:
                with testing.slow_disk(log, 0.3):
                    thread = threading.Thread(target=interrupt)
                    thread.start()
                    topic.append(b"coffee")
                    thread.join()
            finally:
                signal.signal(signal.SIGUSR1, before)
            assert closed == [False]
            assert wire.receive()["responses"][0]["partition_responses"][0]["error_code"] == 0
            kafka.close()
            assert kafka.is_closed
        assert [record.value for record in topic.read()] == [b"coffee", b"tea"]


def test_a_closed_listener_says_so(log: eventlog.EventLog) -> None:
    """And where to get another one."""
    with eventlog.kafka.listen(log) as kafka:
        pass
    with pytest.raises(eventlog.LogClosed, match=r"is closed. .* Call eventlog.kafka.listen\(\) again."):
        _ = kafka.bootstrap_servers
    assert "closed" in repr(kafka)


def test_a_port_that_is_taken_is_an_error_that_says_so(log: eventlog.EventLog) -> None:
    """Nothing is left open."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        threads = threading.active_count()
        with pytest.raises(eventlog.kafka.CannotListen, match=f"cannot listen on 127.0.0.1:{port}: .*in use") as caught:
            eventlog.kafka.listen(log, port=port)
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)
        assert threading.active_count() == threads


def test_a_host_that_is_not_of_this_machine_is_an_error(log: eventlog.EventLog) -> None:
    """An address of another machine, and a name that there is not."""
    words = ("plaintext", "anonymous")
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(eventlog.kafka.CannotListen, match="Nothing was opened"):
            eventlog.kafka.listen(log, host=host, insecure=words)


def test_the_port_can_be_had_again_at_once(log: eventlog.EventLog) -> None:
    """Connections that were closed do not hold it."""
    with eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire:
        wire.ask(ApiKey.METADATA, 12, METADATA)
        port = kafka.port
    with eventlog.kafka.listen(log, port=port) as kafka:
        assert kafka.port == port


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.7.7", "example.org"])
def test_other_machines_do_not_reach_it_by_mistake(log: eventlog.EventLog, host: str) -> None:
    """Without TLS and authentication, or the words that say that it is meant."""
    with pytest.raises(ValueError, match="Nothing was opened"):
        eventlog.kafka.listen(log, host=host)
    for words in (["plaintext"], ["anonymous"], [], "plaintext"):
        with pytest.raises(ValueError, match="Nothing was opened"):
            eventlog.kafka.listen(log, host=host, insecure=words)


def test_other_machines_reach_it_where_it_is_meant(log: eventlog.EventLog) -> None:
    """The advertised address is what clients are told."""
    with eventlog.kafka.listen(
        log, host="0.0.0.0", insecure=["plaintext", "anonymous"], advertised_host="kafka.test", advertised_port=9092
    ) as kafka:
        assert kafka.bootstrap_servers == "kafka.test:9092"


@pytest.mark.parametrize(
    "options",
    [{"host": "0.0.0.0"}, {"host": "::"}, {"host": "0.0.0.0", "advertised_port": 9092}, {"advertised_host": "0.0.0.0"}],
)
def test_clients_are_not_told_to_connect_to_all_addresses(log: eventlog.EventLog, options: dict[str, Any]) -> None:
    """A client of another machine would connect to its own."""
    with pytest.raises(ValueError, match="advertised_host="):
        eventlog.kafka.listen(log, insecure=["plaintext", "anonymous"], **options)


@pytest.mark.parametrize(
    "options",
    [
        {"port": -1}, {"port": 65_536}, {"port": "9092"}, {"partitions": 0}, {"max_connections": 0}, {"host": 5},
        {"max_in_flight": 0}, {"max_request_bytes": 5}, {"idle_timeout": 0}, {"rebalance_delay": -1.0},
        {"node_id": -1}, {"auto_create_topics": 1}, {"insecure": ["tls"]}, {"insecure": 5}, {"ssl_context": "yes"},
        {"advertised_port": 0}, {"advertised_host": ""}, {"max_buffered_bytes": 1},
    ],
)  # fmt: skip
def test_an_option_that_no_listener_can_have_is_refused(log: eventlog.EventLog, options: dict[str, object]) -> None:
    """At the call, before anything is opened."""
    with pytest.raises((ValueError, TypeError), match=r"Nothing was|must be"):
        eventlog.kafka.listen(log, **options)  # type: ignore[arg-type]


def test_it_serves_a_log_by_its_path(path: Path) -> None:
    """It opens the log, and closes it in the end."""
    with eventlog.kafka.listen(path) as kafka, Wire(kafka) as wire:
        wire.ask(ApiKey.METADATA, 12, {"topics": [{"name": "orders"}]})
    with eventlog.open(path, create=False) as log:
        assert log.topics() == ["orders"]


def test_what_is_no_log_is_refused() -> None:
    """As is a log that is closed."""
    with pytest.raises(TypeError, match="Nothing was opened"):
        eventlog.kafka.listen(5)  # type: ignore[arg-type]
    with eventlog.open(":memory:") as log:
        pass
    with pytest.raises(eventlog.LogClosed):
        eventlog.kafka.listen(log)


def test_it_keeps_the_log_open(log: eventlog.EventLog) -> None:
    """Whoever closes the log first leaves the listener working."""
    with eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire:
        log.close()
        assert wire.ask(ApiKey.METADATA, 12, METADATA)["controller_id"] == 1


def test_a_forked_child_does_not_listen(log: eventlog.EventLog) -> None:
    """It says so, and the parent's listener goes on; the child may have one of its own over a log of its own."""
    with eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire:
        wire.ask(ApiKey.METADATA, 12, METADATA)
        child = os.fork()
        if child == 0:
            outcome = 1
            try:
                try:
                    _ = kafka.port
                except eventlog.UsedAfterFork:
                    kafka.close()
                    with eventlog.kafka.listen(":memory:") as own, Wire(own) as other:
                        other.ask(ApiKey.METADATA, 12, METADATA)
                        outcome = 0
            finally:
                os._exit(outcome)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert wire.ask(ApiKey.METADATA, 12, METADATA)["controller_id"] == 1
        with Wire(kafka) as another:
            assert another.ask(ApiKey.METADATA, 12, METADATA)["controller_id"] == 1


def test_a_connection_ends_with_the_parent_although_a_child_lives(log: eventlog.EventLog) -> None:
    """The child has closed its copies of the sockets."""
    kafka = eventlog.kafka.listen(log)
    with Wire(kafka) as wire:
        wire.ask(ApiKey.METADATA, 12, METADATA)
        (began, begins), (ended, ends) = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ends)
            os.write(begins, b"!")
            os.read(ended, 1)
            os._exit(0)
        assert os.read(began, 1) == b"!"
        address = (kafka.host, kafka.port)
        kafka.close()
        assert wire.is_closed()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(address)
    for one in (began, begins, ended, ends):
        os.close(one)
    os.waitpid(child, 0)


def test_a_program_with_its_own_loop_listens_without_waiting_in_it() -> None:
    """By `async with`, over a log of `eventlog.aio`, and by `await` over a path."""

    async def main() -> None:
        async with eventlog.aio.open(":memory:") as log:
            async with eventlog.kafka.listen_async(log, partitions=3) as kafka:
                assert kafka.bootstrap_servers == f"127.0.0.1:{kafka.port}"
                answer = await asyncio.to_thread(_ask, kafka)
                assert len(answer["topics"][0]["partitions"]) == 3
                assert await log.topics() == ["orders"]
            assert kafka.is_closed
        other = await eventlog.kafka.listen_async(":memory:")
        await other.close()
        await other.close()
        with pytest.raises(ValueError, match="port"):
            await eventlog.kafka.listen_async(":memory:", port=-1)

    asyncio.run(main())


def _ask(kafka: AsyncListener) -> dict[str, Any]:
    with Wire(kafka) as wire:
        return wire.ask(ApiKey.METADATA, 12, {"topics": [{"name": "orders"}]})


def test_a_program_that_forgets_to_close_it_ends() -> None:
    """Without a warning, and with status 0."""
    program = (
        "import eventlog, eventlog.kafka\n"
        "kafka = eventlog.kafka.listen(':memory:')\n"
        "import socket; one = socket.create_connection((kafka.host, kafka.port)); one.close()\n"
        "print(kafka.port)"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_library_alone_imports_none_of_it() -> None:
    """Neither `import eventlog` nor `import eventlog.kafka` has asyncio."""
    program = (
        "import sys, eventlog\n"
        "assert not [name for name in sys.modules if name.startswith('eventlog.kafka')]\n"
        "import eventlog.kafka\n"
        "assert 'asyncio' not in sys.modules and 'eventlog.kafka.protocol' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
