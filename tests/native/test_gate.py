"""The gate of a member's loop, in C and in Python: what is over is not taken, whatever the clock does."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Iterator
from operator import length_hint
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.accelerators import python_function
from eventlog.clients.consumer import gate
from tests.native.accelerators import compiled, memory_runs_out

assert gate, "the Python function is known once its module is imported"


@pytest.fixture(params=["compiled", "python"])
def gated(request: pytest.FixtureRequest) -> Any:
    """Both of them."""
    return compiled.RecordGate if request.param == "compiled" else python_function("RecordGate")


class Clock:
    """A clock that goes on by one second with each look, and does something at one of them."""

    def __init__(self, act_at: int = -1, act: Any = None) -> None:
        self.now_s = 0.0
        self.looks = 0
        self._act_at, self._act = act_at, act

    def __call__(self) -> float:
        self.looks += 1
        if self.looks == self._act_at:
            self._act()
        self.now_s += 1.0
        return self.now_s


@given(count=st.integers(0, 5), ends=st.lists(st.floats(allow_nan=True), max_size=8))
def test_both_let_the_same_through(count: int, ends: list[float]) -> None:
    """However the end of the permit moves."""
    outcomes = []
    for function in (compiled.RecordGate, python_function("RecordGate")):
        kept = iter(list(range(count)))
        permit = [2.0]
        clock = Clock()
        found = []
        gated = function(kept, permit, clock)
        for end in [*ends, 0.0]:
            found.append(next(gated, None))
            permit[0] = end
        outcomes.append((found, length_hint(kept), list(gated)))
    assert outcomes[0] == outcomes[1]


def test_the_clock_of_the_system_is_the_one_that_python_reads(gated: Any) -> None:
    """An end in a tenth of a second lets records through until then, and none after it."""
    end = time.monotonic() + 0.1
    permit = [end]
    kept = iter(range(10**9))
    records = gated(kept, permit, time.monotonic)
    last = 0.0
    for _ in records:
        last = time.monotonic()
    assert end - 0.1 < last < time.monotonic(), "a busy machine may stop us for a while, but lets us begin"
    assert time.monotonic() >= end
    permit[0] = end + 1e6
    assert list(records) == [], "what has ended stays ended"
    assert next(kept) > 0


def test_what_is_over_takes_nothing(gated: Any) -> None:
    """The record that was not handed out is still in the iterator."""
    kept = iter([1, 2])
    assert list(gated(kept, [0.0], time.monotonic)) == []
    assert length_hint(kept) == 2
    assert next(iter(gated(kept, [1e18], time.monotonic))) == 1
    assert length_hint(kept) == 1


def test_an_error_of_the_clock_loses_no_record(gated: Any) -> None:
    """A signal handler may raise wherever Python code runs."""

    def fail() -> None:
        raise KeyboardInterrupt

    kept = iter([1, 2, 3])
    records = gated(kept, [1e18], Clock(2, fail))
    assert next(records) == 1
    with pytest.raises(KeyboardInterrupt):
        next(records)
    assert length_hint(kept) == 2
    assert list(records) == [2, 3]


def test_an_error_of_the_records_passes(gated: Any) -> None:
    """It is theirs."""

    def failing() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    records = gated(failing(), [1e18], time.monotonic)
    assert next(records) == 1
    with pytest.raises(OSError, match="gone"):
        next(records)


@pytest.mark.parametrize("arguments", [(), (iter(()),), ([1], [1.0], time.time), (iter(()), (1.0,), time.time)])
def test_what_is_no_gate_is_refused(arguments: tuple[Any, ...]) -> None:
    """At the call."""
    with pytest.raises(TypeError):
        compiled.RecordGate(*arguments)


@pytest.mark.parametrize("permit", [[], [1], ["x"], [1.0, 2.0]])
def test_what_is_no_permit_is_an_error(permit: list[Any]) -> None:
    """And not a look at memory that is something else."""
    with pytest.raises(TypeError, match="a list of one float"):
        next(compiled.RecordGate(iter([1]), permit, time.monotonic))
    with pytest.raises(TypeError, match="must be real number"):
        next(compiled.RecordGate(iter([1]), [1.0], str))


def test_a_clock_that_ends_the_gate_harms_nobody() -> None:
    """It may even ask the gate itself."""
    gates: list[Any] = []

    def drain() -> None:
        list(gates[0])

    kept = iter([1, 2, 3])
    gates.append(compiled.RecordGate(kept, [1e18], Clock(1, drain)))
    assert list(gates[0]) == []

    def spend() -> None:
        permit[0] = 0.0
        assert list(gates[1]) == []
        permit[0] = 1e18

    permit = [1e18]
    gates.append(compiled.RecordGate(iter([1, 2]), permit, Clock(1, spend)))
    assert list(gates[1]) == [1]


def test_a_circle_is_collected() -> None:
    """A gate may be reached from its own records."""

    class Held:
        pass

    held: Any = Held()
    held.gate = compiled.RecordGate(iter([held]), [1.0], time.monotonic)
    gone = weakref.ref(held)
    del held
    gc.collect()
    assert gone() is None


def test_without_memory_it_is_not_made() -> None:
    """`MemoryError`, and nothing is lost."""
    kept = iter([1, 2, 3])
    count = memory_runs_out(
        lambda: None,
        lambda _: compiled.RecordGate(kept, [1e18], time.monotonic),
        lambda _: None,
    )
    assert count > 0
    assert length_hint(kept) == 3
