"""What awaiting a delivery gives that is done, in C and in Python: the place of its record, at once."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventlog
from eventlog import RecordMetadata
from eventlog.accelerators import python_function
from eventlog.clients import delivery
from tests.native.accelerators import compiled, memory_runs_out

assert delivery, "the Python function is known once its module is imported"
RUN = ("orders", 3, 2**40, 1_700_000_000_000, 5)


@pytest.fixture(params=["compiled", "python"])
def outcome_of(request: pytest.FixtureRequest) -> Any:
    """Both of them."""
    return compiled.OutcomeMaker(RecordMetadata) if request.param == "compiled" else python_function("OutcomeMaker")


def returned(iterator: Any) -> Any:
    """What it returns, by whom it is driven without an event loop."""
    with pytest.raises(StopIteration) as caught:
        next(iterator)
    return caught.value.value


@given(
    run=st.tuples(st.text(), st.integers(0), st.integers(0), st.integers(), st.integers(0)), index=st.integers(0, 2**70)
)
def test_both_return_the_same_place(run: Any, index: int) -> None:
    """However large the numbers are."""
    places = [
        returned(make(run, index)) for make in (compiled.OutcomeMaker(RecordMetadata), python_function("OutcomeMaker"))
    ]
    assert places[0] == places[1]
    assert repr(places[0]) == repr(places[1])
    assert hash(places[0]) == hash(places[1])


def test_it_is_awaited_by_coroutines_and_by_debuggers(outcome_of: Any) -> None:
    """A trace function makes the interpreter ask in another way."""

    class Done:
        def __await__(self) -> Any:
            return outcome_of(RUN, 2)

    async def main() -> Any:
        return await Done()

    before = sys.gettrace()
    for trace in (before, lambda *_: None):
        sys.settrace(trace)
        try:
            place = asyncio.run(main())
        finally:
            sys.settrace(before)
        assert place == RecordMetadata("orders", 3, 2**40 + 2, 1_700_000_000_000, 7)


def test_it_is_a_generator_to_whoever_drives_it(outcome_of: Any) -> None:
    """It takes no value before it has begun, returns its place once, and can be closed and thrown into."""
    outcome = outcome_of(RUN, 0)
    assert iter(outcome) is outcome
    with pytest.raises(TypeError, match="non-None value to a just-started"):
        outcome.send(1)
    with pytest.raises(StopIteration) as caught:
        outcome.send(None)
    assert caught.value.value.offset == 2**40
    assert returned(outcome) is None
    outcome = outcome_of(RUN, 0)
    outcome.close()
    assert returned(outcome) is None
    outcome = outcome_of(RUN, 0)
    with pytest.raises(KeyError, match="x"):
        outcome.throw(KeyError("x"))
    assert returned(outcome) is None
    with pytest.raises(TypeError, match="exceptions must be"):
        outcome_of(RUN, 0).throw(7)


def test_deliveries_that_are_done_are_awaited_by_it(log: eventlog.EventLog) -> None:
    """Those of a batch that was stored whole; what a time, an id or an index makes special is asked otherwise."""
    orders = log.topic("orders", partitions=1)
    with log.producer() as producer:
        sent = [producer.send(orders, b"x") for _ in range(3)]
        assert sent[0][0].run is None  # type: ignore[index]
        producer.flush()
        assert [one.result().offset for one in sent] == [0, 1, 2]
        assert sent[0][0].run is None, "nobody awaits them"  # type: ignore[index]
        assert [await_of(one).offset for one in sent] == [0, 1, 2]
        assert type(sent[1].__await__()) is type(compiled.OutcomeMaker(RecordMetadata)(RUN, 0))
        assert [await_of(one) for one in sent] == [one.result() for one in sent]
        timed = [producer.send(orders, b"x", timestamp_ms=moment) for moment in (5, 6)]
        producer.flush()
        assert [await_of(one).timestamp_ms for one in timed] == [5, 6]
        assert [await_of(one) for one in timed] == [one.result() for one in timed]


def await_of(one: eventlog.Delivery) -> eventlog.RecordMetadata:
    """What `await` gives."""

    async def main() -> eventlog.RecordMetadata:
        return await one

    with pytest.raises(StopIteration) as caught:
        main().send(None)
    place = caught.value.value
    assert isinstance(place, RecordMetadata)
    return place


@pytest.mark.parametrize(
    "arguments",
    [(), (RUN,), (RUN, "1"), (list(RUN), 1), (RUN[:4], 1), (("t", 0, "1", 2, 3), 1), (("t", 0, 1, 2, 3.0), 1)],
)
def test_what_is_no_run_is_refused(arguments: Any) -> None:
    """And not read as one."""
    with pytest.raises(TypeError, match="a run of five items"):
        compiled.OutcomeMaker(RecordMetadata)(*arguments)
    with pytest.raises(TypeError, match="cannot create"):
        type(compiled.OutcomeMaker(RecordMetadata)(RUN, 0))()


def test_references_are_given_back_and_places_are_left_alone_by_the_collector() -> None:
    """Of what is returned, closed, thrown into and dropped."""
    make = compiled.OutcomeMaker(RecordMetadata)
    text, number = "a topic of its own", 2**41 + 1
    run = (text, 0, number, 1, 2)

    tracked: list[bool] = []

    def awaited(outcome: Any) -> Any:
        place = yield from outcome
        yield place

    def all_ways() -> None:
        tracked.append(gc.is_tracked(next(awaited(make(run, 1)))))
        try:
            make(run, 1).throw(KeyError)
        except KeyError:
            make(run, 1).close()
        make(run, 1)

    def held() -> list[int]:
        return [sys.getrefcount(one) for one in (text, number, run)]

    all_ways()
    before = held()
    for _ in range(100):
        all_ways()
    assert held() == before
    assert not any(tracked)


def test_without_memory_none_is_made() -> None:
    """`MemoryError`, and nothing is left of it."""
    make = compiled.OutcomeMaker(RecordMetadata)
    number = 2**41 + 1
    run = ("t", 0, number, 1, 2)
    held = sys.getrefcount(number)
    assert memory_runs_out(lambda: None, lambda _: make(run, 1000), lambda _: None) > 0
    assert sys.getrefcount(number) == held
