"""The records of an `async for` loop, in C and in Python: awaited at once when they are at hand, and never lost."""

from __future__ import annotations

import asyncio
import gc
import sys
import types
import weakref
from collections.abc import Coroutine, Generator, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.accelerators import python_function
from eventlog.aio import record_stream
from tests.native.accelerators import compiled, memory_runs_out

assert record_stream, "the Python function is known once its module is imported"


@pytest.fixture(params=["compiled", "python"])
def stream_of(request: pytest.FixtureRequest) -> Any:
    """Both of them."""
    return compiled.RecordStream if request.param == "compiled" else python_function("RecordStream")


@types.coroutine
def pause(value: object = None) -> Generator[object, object, object]:
    """Wait once: whoever drives the coroutine gets a value, and sends one."""
    return (yield value)


class Source:
    """Chunks, each after some waits; an error in the place of a chunk is raised."""

    def __init__(self, *steps: Any, waits: int = 0) -> None:
        self.steps = list(steps)
        self.waits = waits
        self.asked = 0
        self.sent: list[object] = []

    async def next_chunk(self) -> Iterator[Any]:
        """What the stream asks."""
        self.asked += 1
        for number in range(self.waits):
            self.sent.append(await pause(number))
        if not self.steps:
            raise StopAsyncIteration
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        return iter(step)


def drive(awaitable: Any) -> tuple[list[object], object]:
    """Await something by hand: what it has yielded, and what came out."""
    yielded: list[object] = []
    iterator = awaitable.__await__()
    try:
        while True:
            yielded.append(iterator.send(None if not yielded else len(yielded)))
    except StopIteration as stop:
        return yielded, stop.value
    except BaseException as error:
        return yielded, (type(error), error.args)


async def collect(stream: Any) -> list[Any]:
    """All records, by the loop itself."""
    return [record async for record in stream]


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The outcome of a coroutine that may wait, without a loop."""
    return drive(coroutine)[1]


@given(
    steps=st.lists(st.one_of(st.lists(st.integers(), max_size=4), st.just("error")), max_size=5),
    waits=st.integers(0, 2),
    asked=st.integers(0, 12),
)
def test_both_hand_out_the_same(steps: list[Any], waits: int, asked: int) -> None:
    """Records, waits, errors and the end, in the same order; what was sent in a wait arrives."""
    outcomes = []
    for make in (compiled.RecordStream, python_function("RecordStream")):
        source = Source(*(OSError("gone") if step == "error" else step for step in steps), waits=waits)
        stream = make(source.next_chunk)
        outcomes.append(([drive(anext(stream)) for _ in range(asked)], source.asked, source.sent))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("record", [None, (), (1, 2), ValueError("x"), StopIteration(3), StopAsyncIteration()])
def test_whatever_a_record_is_it_arrives(stream_of: Any, record: object) -> None:
    """A tuple is no list of arguments, and an error in a record is not raised; a debugger changes nothing."""
    assert run(collect(stream_of(Source([record, 1]).next_chunk))) == [record, 1]
    assert drive(anext(stream_of(Source([record]).next_chunk))) == ([], record)
    before = sys.gettrace()
    sys.settrace(lambda *_: None)
    try:
        found = run(collect(stream_of(Source([record], waits=1).next_chunk)))
    finally:
        sys.settrace(before)
    assert found == [record]


def test_what_is_not_awaited_takes_no_record(stream_of: Any) -> None:
    """A task may be cancelled before it begins: the next one gets the record."""
    stream = stream_of(Source([1, 2, 3]).next_chunk)
    assert run(anext(stream)) == 1
    given_up = anext(stream)
    given_up.close()
    thrown = anext(stream)
    with pytest.raises(KeyboardInterrupt):
        thrown.throw(KeyboardInterrupt)
    first, second = anext(stream), anext(stream)
    assert run(second) == 2
    assert run(first) == 3


@pytest.mark.parametrize("error", [ValueError, ValueError("x")])
def test_an_error_is_thrown_into_the_wait(stream_of: Any, error: Any) -> None:
    """And leaves the stream usable: a cancelled task has lost nothing."""
    source = Source([1], waits=1)
    stream = stream_of(source.next_chunk)
    turn = anext(stream)
    assert turn.send(None) == 0
    with pytest.raises(ValueError, match=r"^x?$"):
        turn.throw(error)
    assert drive(anext(stream)) == ([0], 1)
    assert source.asked == 2


def test_a_wait_may_outlive_an_error(stream_of: Any) -> None:
    """One that goes on waiting, one that returns a chunk, and one that returns an empty one and waits again."""

    async def next_chunk() -> Iterator[int]:
        try:
            await pause("first")
        except ValueError:
            await pause("second")
        except OSError:
            return iter([7])
        except KeyError:
            return iter(())
        return iter([8])

    stream = stream_of(next_chunk)
    turn = anext(stream)
    assert turn.send(None) == "first"
    assert turn.throw(ValueError) == "second"
    with pytest.raises(StopIteration) as caught:
        turn.send(None)
    assert caught.value.value == 8
    turn = anext(stream)
    turn.send(None)
    with pytest.raises(StopIteration) as caught:
        turn.throw(OSError())
    assert caught.value.value == 7
    turn = anext(stream)
    turn.send(None)
    assert turn.throw(KeyError) == "first"


def test_closing_a_wait_ends_its_coroutine(stream_of: Any) -> None:
    """As the death of a coroutine that awaits it does."""
    ended = []

    async def next_chunk() -> Iterator[int]:
        try:
            await pause()
        finally:
            ended.append(1)
        return iter([1])

    stream = stream_of(next_chunk)
    turn = anext(stream)
    turn.send(None)
    turn.close()
    assert ended == [1]
    turn = anext(stream)
    turn.send(None)
    del turn
    assert ended == [1, 1]


def test_a_wait_that_will_not_be_closed_is_an_error(stream_of: Any) -> None:
    """As it is for a coroutine."""

    async def next_chunk() -> Iterator[int]:
        try:
            await pause()
        except GeneratorExit:
            await pause()
        return iter([1])

    turn = anext(stream_of(next_chunk))
    turn.send(None)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        turn.close()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
        turn.send(None)


def test_an_awaited_one_is_over(stream_of: Any) -> None:
    """And one that has not begun takes no value."""
    stream = stream_of(Source([1, 2]).next_chunk)
    turn = anext(stream)
    with pytest.raises(TypeError, match="non-None value to a just-started"):
        turn.send(1)
    assert run(turn) == 1
    for again in (lambda: turn.send(None), lambda: turn.throw(ValueError)):
        with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
            again()
    turn.close()
    assert run(collect(stream)) == [2]


def test_a_stream_is_closed_when_that_is_awaited(stream_of: Any) -> None:
    """Nothing is handed out any more, and a wait that goes on brings nothing."""
    source = Source([1, 2], [3], waits=1)
    stream = stream_of(source.next_chunk)
    assert run(anext(stream)) == 1
    closing = stream.aclose()
    assert run(anext(stream)) == 2
    waiting = anext(stream)
    waiting.send(None)
    assert drive(closing) == ([], None)
    with pytest.raises(StopAsyncIteration):
        waiting.send(None)
    assert drive(anext(stream)) == ([], (StopAsyncIteration, ()))
    assert run(stream.aclose()) is None
    assert source.asked == 2


def test_an_event_loop_knows_what_it_awaits(stream_of: Any) -> None:
    """A task of it, a timeout around it, and a stream that is closed at the end of a block."""

    async def main() -> None:
        gate = asyncio.Event()

        async def next_chunk() -> Iterator[int]:
            await gate.wait()
            return iter([1, 2, 3])

        stream = stream_of(next_chunk)
        coroutine = anext(stream)
        assert asyncio.iscoroutine(coroutine)
        coroutine.close()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.001)
        gate.set()
        assert await asyncio.create_task(anext(stream)) == 1
        async with aclosing(stream):
            assert [await one for one in (anext(stream), anext(stream))] == [2, 3]
        assert [record async for record in stream] == []

    asyncio.run(main())


@pytest.mark.parametrize("chunk", [None, 7, [1]])
def test_what_is_no_chunk_is_an_error(chunk: object) -> None:
    """And not a call of what is something else."""

    async def next_chunk() -> Any:
        return chunk

    outcome = drive(anext(compiled.RecordStream(next_chunk)))
    assert outcome == ([], (TypeError, ("a chunk of a stream is an iterator",)))
    outcome = drive(anext(compiled.RecordStream(lambda: chunk)))
    assert outcome == ([], (TypeError, ("the next chunk of a stream comes from a coroutine",)))
    assert drive(anext(compiled.RecordStream(7)))[1][0] is TypeError  # type: ignore[index]
    for arguments in ((), (1, 2)):
        with pytest.raises(TypeError):
            compiled.RecordStream(*arguments)
    with pytest.raises(TypeError, match="cannot create"):
        compiled._RecordTurn()


def test_an_error_of_the_records_passes(stream_of: Any) -> None:
    """It is theirs; what comes after it is another chunk."""

    def failing() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    source = Source(failing(), [2])
    stream = stream_of(source.next_chunk)
    assert [drive(anext(stream))[1] for _ in range(3)] == [1, (OSError, ("gone",)), 2]


def test_one_turn_is_enough_for_a_loop() -> None:
    """It is given out again; two that are awaited at a time are two."""
    stream = compiled.RecordStream(Source(range(10)).next_chunk)
    assert run(anext(stream)) == 0

    def number() -> int:
        turn = anext(stream)
        assert run(turn) in (1, 2, 3)
        return id(turn)

    assert len({number() for _ in range(3)}) == 1
    first, second = anext(stream), anext(stream)
    assert first is not second
    assert [run(first), run(second)] == [4, 5]


def test_records_that_close_their_own_stream_harm_nobody(stream_of: Any) -> None:
    """An iterator may do anything: it may even ask the stream itself, or end it, which frees it."""

    def closing() -> Iterator[int]:
        yield 1
        run(stream.aclose())
        yield 2

    def asking() -> Iterator[int]:
        yield 1
        yield run(anext(stream)) if calls.append(1) or len(calls) < 2 else 2

    calls: list[int] = []
    stream = stream_of(Source(closing()).next_chunk)
    assert run(anext(stream)) == 1
    assert run(anext(stream)) == 2
    assert drive(anext(stream)) == ([], (StopAsyncIteration, ()))
    stream = stream_of(Source(asking(), [5]).next_chunk)
    assert run(anext(stream)) == 1
    assert drive(anext(stream))[1] == (ValueError, ("generator already executing",))


@pytest.mark.parametrize(
    ("act", "outcome"),
    [
        (lambda turn: turn.close(), 2),
        (lambda turn: turn.throw(KeyError()), (KeyError, ())),
        (lambda turn: turn.send(None), (ValueError, ("generator already executing",))),
    ],
)
def test_a_turn_that_is_awaited_twice_at_once_harms_nobody(act: Any, outcome: object) -> None:
    """It may be asked for in the middle of itself, and so may its end."""
    turns: list[Any] = []

    def asking() -> Iterator[int]:
        yield 1
        act(turns[0])
        yield 2

    stream = compiled.RecordStream(Source(asking(), [3]).next_chunk)
    assert run(anext(stream)) == 1
    turns.append(anext(stream))
    assert drive(turns[0])[1] == outcome


def test_the_stream_goes_with_its_loop(stream_of: Any) -> None:
    """A consumer that is dropped after a `break` is gone at once: nothing holds it but the loop."""

    class Held:
        async def next_chunk(self) -> Iterator[int]:
            return iter([1, 2])

    async def main(held: Held) -> None:
        async for _ in stream_of(held.next_chunk):
            break

    held = Held()
    gone = weakref.ref(held)
    gc.disable()
    try:
        run(main(held))
        del held
        assert gone() is None
    finally:
        gc.enable()


def test_a_circle_is_collected(stream_of: Any) -> None:
    """A stream may be reached from its own records, a turn from what it waits for."""

    class Held:
        stream: Any
        turn: Any

        async def next_chunk(self) -> Iterator[Any]:
            await pause()
            return iter([self])

    held: Any = Held()
    held.stream = stream_of(held.next_chunk)
    held.turn = anext(held.stream)
    held.turn.send(None)
    gone = weakref.ref(held)
    del held
    gc.collect()
    assert gone() is None


def test_a_record_is_held_by_nobody_who_has_handed_it_out() -> None:
    """The references to it are those of the loop and of its chunk."""
    record = object()
    chunk = [record]
    held = sys.getrefcount(record)
    stream = compiled.RecordStream(Source(chunk).next_chunk)
    assert run(anext(stream)) is record
    assert sys.getrefcount(record) == held


def test_without_memory_nothing_is_lost() -> None:
    """`MemoryError`, and the records are there when it is over."""

    def begin() -> list[Any]:
        stream = compiled.RecordStream(Source([1, 2, 3]).next_chunk)
        assert run(anext(stream)) == 1
        return [stream, anext(stream), []]

    def act(subject: Any) -> None:
        stream, _, found = subject
        turn = anext(stream)  # another one, since the first is held
        try:
            turn.send(None)
        except StopIteration as stop:
            found.append(stop.value)

    def judge(subject: Any) -> None:
        stream, _, found = subject
        assert [*found, *run(collect(stream))] in ([2, 3], [3]), "without memory for StopIteration one is on its way"

    assert memory_runs_out(begin, act, judge) > 0
