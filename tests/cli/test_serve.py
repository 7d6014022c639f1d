"""`eventlog serve`: a Kafka of one host, from its first line to its end by a signal."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

import eventlog
import eventlog.kafka
from eventlog.kafka.protocol import ApiKey
from tests.kafka.wire import Wire

Start = Callable[..., "Popen[bytes]"]
PATIENCE_SECONDS = 20.0


class Address:
    """Where a process listens, for `Wire`."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.host = ready["host"]
        self.port = ready["port"]


def ready_line(process: Popen[bytes]) -> dict[str, Any]:
    """What a process that serves says when clients can connect."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1].decode()
    found: dict[str, Any] = json.loads(line)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_exits_with_0(path: Path, start_eventlog: Start, number: signal.Signals) -> None:
    """Topics that were made for a client are there afterwards."""
    with start_eventlog("serve", path, "--port", 0, "--partitions", 3, "--json") as process:
        ready = ready_line(process)
        assert ready["bootstrap_servers"] == f"127.0.0.1:{ready['port']}"
        with Wire(Address(ready)) as wire:  # type: ignore[arg-type]
            wire.ask(ApiKey.METADATA, 12, {"topics": [{"name": "orders"}]})
            wire.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert wire.is_closed()
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    lines = errors.decode().splitlines()
    assert [line.split(" ", 3)[2] for line in lines] == ["INFO", "INFO", "WARNING", "INFO"]
    assert "speaks HTTP" in lines[2]
    with eventlog.open(path, create=False) as log:
        assert log.topic("orders").partitions == 3


def test_a_log_in_memory_ends_with_the_program(
    tmp_path: Path, start_eventlog: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For tests of programs in other languages; nothing is left."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with start_eventlog("serve", ":memory:", "--port", 0, "--json") as process:
        with Wire(Address(ready_line(process))) as wire:  # type: ignore[arg-type]
            wire.ask(ApiKey.METADATA, 12, {"topics": [{"name": "orders"}]})
        assert list(tmp_path.iterdir()) != []
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []
    assert not Path(":memory:").exists()


def test_it_creates_no_topic_where_it_may_not_and_is_quiet(path: Path, start_eventlog: Start) -> None:
    """`--no-auto-create`, `--quiet`, `--advertised`."""
    options = ("--port", 0, "--no-auto-create", "--quiet", "--json", "--advertised", "kafka.test:9095", "--node-id", 7)
    with start_eventlog("serve", path, *options) as process:
        ready = ready_line(process)
        assert ready["bootstrap_servers"] == "kafka.test:9095"
        with Wire(Address(ready)) as wire:  # type: ignore[arg-type]
            answer = wire.ask(ApiKey.METADATA, 12, {"topics": [{"name": "orders"}]})
        assert [(one["node_id"], one["host"], one["port"]) for one in answer["brokers"]] == [(7, "kafka.test", 9095)]
        assert answer["topics"][0]["error_code"] == 3
        process.terminate()
        assert process.communicate(timeout=PATIENCE_SECONDS) == (b"", b"")
    assert process.returncode == 0


def test_durability_and_limits_are_those_of_the_options(path: Path, start_eventlog: Start) -> None:
    """The second connection is one too many, and the first is closed when nothing comes."""
    limits = ("--max-connections", 1, "--idle-timeout", 0.5, "--rebalance-delay", 0)
    with start_eventlog("serve", path, "--port", 0, "--json", "--durability", "ordered", *limits) as process:
        ready = Address(ready_line(process))
        with Wire(ready) as wire:  # type: ignore[arg-type]
            wire.ask(ApiKey.METADATA, 12, {"topics": [{"name": "orders"}]})
            with Wire(ready) as further:  # type: ignore[arg-type]
                assert further.is_closed()
            assert wire.is_closed()
        process.terminate()
        errors = process.communicate(timeout=PATIENCE_SECONDS)[1].decode()
    assert "durability ordered" in errors
    assert process.returncode == 0


def test_a_port_that_is_taken_ends_it_with_an_error(path: Path, start_eventlog: Start) -> None:
    """In one paragraph, as every command."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with start_eventlog("serve", path, "--port", port, "--quiet") as process:
            output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, output) == (1, b"")
    text = errors.decode()
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use.\n" in text
    assert "Traceback" not in text
    assert "--port" in text


def test_a_number_and_a_host_that_cannot_be_had_have_advice_of_their_own(path: Path, eventlog_command: Any) -> None:
    """Another port would not help."""
    with eventlog.open(path) as log, eventlog.kafka.listen(log, node_id=1):
        code, _, errors = eventlog_command("serve", path, "--port", 0, "--node-id", 1)
    assert code == 1
    assert "next: Pass another --node-id, or none:" in errors
    words = ("--insecure", "plaintext", "--insecure", "anonymous")
    code, _, errors = eventlog_command("serve", path, "--host", "no-such-host.invalid", *words)
    assert code == 1
    assert "next: Pass a host that this machine has" in errors


def test_other_machines_are_refused_without_the_words(path: Path, eventlog_command: Any) -> None:
    """It is wrong usage, and nothing is made."""
    code, output, errors = eventlog_command("serve", path, "--host", "0.0.0.0", "--port", 0)
    assert (code, output) == (2, "")
    assert "anonymous" in errors
    assert not path.exists()


def test_the_directory_of_another_program_is_left_alone(tmp_path: Path, eventlog_command: Any) -> None:
    """The advice is not to make a log there by another command."""
    (tmp_path / "notes.txt").write_text("tea", "utf-8")
    code, _, errors = eventlog_command("serve", tmp_path, "--port", 0)
    assert code == 4
    assert "it holds other files (notes.txt)" in errors
    assert "next: Choose an empty or a new directory." in errors


def test_an_address_that_is_none_is_wrong_usage(path: Path, eventlog_command: Any) -> None:
    """For `--advertised`."""
    for address in ("host:", ":9092", "host:x", "host:0"):
        code, _, errors = eventlog_command("serve", path, "--advertised", address)
        assert code == 2
        assert "--advertised" in errors
