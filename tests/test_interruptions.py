"""What a signal handler raises is nobody's error but that of the thread that it came to."""

from __future__ import annotations

import ast
import functools
import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
import pytest

import eventlog
from eventlog.interruptions import is_interruption, suppress, unless_interrupted
from eventlog.uninterruptible import WeakMembers, start_thread

SOURCE = Path(eventlog.__file__).parent


class OutOfTime(Exception):
    """Raised by a handler."""


class _Job:
    def ring(self, number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.ring(number, frame)


def _ring(*_: object) -> None:
    raise OutOfTime


def _ring_late(number: int, frame: FrameType | None) -> None:
    _ring()


def _ring_and_forget(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise OutOfTime


class _Forgetful:
    def ring(self, *_: object) -> None:
        _ = ()
        raise OutOfTime

    def __call__(self, number: int, frame: FrameType | None) -> None:
        number, frame = 0, None  # noqa: F841
        self.ring()


@pytest.fixture
def handled() -> Iterator[Callable[[Any], None]]:
    """Sets the handler of a signal for one test."""
    before = signal.getsignal(signal.SIGUSR2)
    yield lambda handler: signal.signal(signal.SIGUSR2, handler)
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.parametrize(
    "handler",
    [
        _ring,
        _ring_late,
        _Job().ring,
        _Job(),
        functools.partial(_ring_late),
        lambda number, frame: _ring(),
        lambda *_: (_ for _ in ()).throw(OutOfTime),
        _ring_and_forget,
        _Forgetful().ring,
        _Forgetful(),
        functools.partial(functools.partial(_Forgetful().ring, 1), 2),
    ],
    ids=[
        "function",
        "helper",
        "method",
        "object",
        "partial",
        "lambda",
        "generator",
        "forgetful function",
        "forgetful method",
        "forgetful object",
        "forgetful partial",
    ],
)
def test_what_a_handler_raises_is_known(handled: Callable[[Any], None], handler: Any) -> None:
    """Whatever kind of callable it is, and however deep it raises."""
    handled(handler)
    with pytest.raises(OutOfTime) as raised, suppress(Exception):
        signal.raise_signal(signal.SIGUSR2)
    assert is_interruption(raised.value)


def test_an_error_of_a_call_is_none(handled: Callable[[Any], None]) -> None:
    """Nor is one that was caught from a handler, and raised again by its receiver as another."""
    handled(_ring)
    with suppress(ValueError):
        try:
            signal.raise_signal(signal.SIGUSR2)
        except OutOfTime as error:
            raise ValueError from error
    assert not is_interruption(None)
    assert is_interruption(KeyboardInterrupt())
    handled(_ring_late)
    with suppress(OutOfTime):
        _ring()


def test_the_timeout_of_a_handler_is_not_taken_for_one_of_the_system(handled: Callable[[Any], None]) -> None:
    """`TimeoutError` is an `OSError`."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    handled(ring)

    def call() -> None:
        try:
            signal.raise_signal(signal.SIGUSR2)
        except unless_interrupted(OSError):
            pytest.fail("it was taken for one of the system")

    with pytest.raises(TimeoutError):
        call()


@pytest.mark.parametrize("error", [OutOfTime, eventlog.ConflictError])
def test_a_handler_in_a_fold_a_codec_or_a_callback_is_not_renamed(
    log: eventlog.EventLog, handled: Callable[[Any], None], error: Callable[[], Exception]
) -> None:
    """Its error has no note, is no `DecodeError`, and is not logged and forgotten."""
    wanted = error() if error is OutOfTime else eventlog.ConflictError("refused. Nothing was stored. Go on.")
    is_armed = False

    def ring(number: int, frame: FrameType | None) -> None:
        raise wanted

    def fire(*_: object) -> None:
        if is_armed:
            signal.raise_signal(signal.SIGUSR2)

    handled(ring)
    made = attrs.make_class("Made", {"grams": attrs.field(type=int, validator=fire)})
    topic = log.topic("made", value=made)
    topic.append(made(1))
    projection = log.projection("fold", lambda state, record: fire(), topics=[log.topic("orders")], key=str, value=int)
    log.topic("orders").append(b"tea")
    calls: dict[str, Callable[[], object]] = {
        "codec": lambda: list(topic.read()),
        "fold": projection.catch_up,
        "callback": lambda: producer.send("orders", b"milk").add_done_callback(fire) or producer.flush(),
        "transact": lambda: log.transact(fire),
    }
    with log.producer() as producer:
        for what, call in calls.items():
            is_armed = True
            with pytest.raises(type(wanted)) as raised:
                call()
            is_armed = False
            assert raised.value is wanted, what
            assert not getattr(wanted, "__notes__", ()), what


def test_a_set_of_weak_members_forgets_them() -> None:
    """When they are dropped, and when they are discarded, once or twice."""
    members: WeakMembers[Any] = WeakMembers()
    kept, dropped = _Job(), _Job()
    for one in (kept, kept, dropped):
        members.add(one)
    assert set(members) == {kept, dropped}
    del dropped, one
    gc.collect()
    assert list(members) == [kept]
    members.discard(kept)
    members.discard(kept)
    assert list(members) == []


def test_no_function_is_used_that_swallows_an_interruption() -> None:
    """`os.path.isdir()` and its like take the `TimeoutError` of a handler for one of the system, and answer no."""
    swallowing = {"exists", "isdir", "isfile", "islink", "ismount", "lexists"}
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os.path":
                assert node.attr not in swallowing, f"{file}:{node.lineno}: os.path.{node.attr}"


def test_no_except_takes_an_interruption_for_an_error_of_its_block() -> None:
    """Around calls, only what passes interrupts or raises again may catch them; a handler runs in nothing else."""
    complaints = [
        f"{path.name}:{node.lineno}: use unless_interrupted() or suppress() of eventlog.interruptions"
        for path in SOURCE.rglob("*.py")
        if "cli" not in path.parts  # whose process is its own
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.Try) and _takes_interruptions(node))
        or (isinstance(node, ast.Attribute) and ast.unparse(node) == "contextlib.suppress")
    ]
    assert complaints == []


def _takes_interruptions(block: ast.Try) -> bool:
    calls = (ast.Call, ast.For, ast.While, ast.With)
    if not any(isinstance(node, calls) for line in block.body for node in ast.walk(line)):
        return False
    kinds = [ast.unparse(handler.type) if handler.type is not None else "" for handler in block.handlers]
    # A task is cancelled by its loop, and a callback is due by our own word: neither comes from a handler.
    ours = ("asyncio.CancelledError", "trio.Cancelled", "CallbackDue")
    passed = ("unless_interrupted(", "BaseException", "ImportError", "ModuleNotFoundError", *ours)
    return not all(kind.startswith(passed) for kind in kinds)


def test_what_interrupts_the_start_of_a_thread_comes_out_as_it_is() -> None:
    """At every place: `Thread.start` of Python raises a `RuntimeError` of a lock at some."""
    program = "from tests.test_interruptions import interrupt_starts; print(interrupt_starts())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        timeout=60,
    )
    assert int(done.stdout) > 10


def interrupt_starts() -> int:
    """Interrupts the start of a thread at every place; in a process of its own, since threads are left half started."""
    interrupted = place = 0
    while interrupted == place:
        place += 1
        interrupted += _is_start_interrupted(place)
    return interrupted


def _is_start_interrupted(place: int) -> bool:
    count, error = 0, KeyboardInterrupt()

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        if event in {"call", "c_return"}:
            count += 1
            if count == place:
                sys.setprofile(None)
                raise error

    # A daemon: Python may leave one that it was interrupted in starting waiting for good.
    thread = threading.Thread(target=bool, daemon=True)
    sys.setprofile(profile)
    try:
        start_thread(thread)
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False
