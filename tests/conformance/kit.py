"""What the parts of the suite share: the mark of a feature, and waiting for records."""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar, cast

import pytest

import eventlog

T = TypeVar("T", bound=Callable[..., Any])
PATIENCE_SECONDS = 20.0


def needs(*features: str) -> Callable[[T], T]:
    """
    Marks a test of features that a backend may lack, by the names that `log.supports` knows.

    Where the backend lacks one, the test shows that using it raises `NotSupported`.
    """

    def mark(function: T) -> T:
        @functools.wraps(function)
        def test(self: Any, log: Any, *arguments: Any, **options: Any) -> None:
            lacking = [feature for feature in features if not log.supports(feature)]
            if not lacking:
                function(self, log, *arguments, **options)
                return
            with pytest.raises(eventlog.NotSupported) as caught:
                function(self, log, *arguments, **options)
            assert caught.value.feature in lacking

        test.needs = features  # type: ignore[attr-defined]
        return cast("T", test)

    return mark


def values(records: Any) -> list[Any]:
    """The values of some records."""
    return [record.value for record in records]


def poll_all(consumer: Any, count: int) -> list[Any]:
    """Polls until so many records came."""
    records: list[Any] = []
    while len(records) < count:
        came = consumer.poll(timeout=PATIENCE_SECONDS)
        assert came, f"{len(records)} of {count} records came"
        records += came
    return records


def settle(*members: Any) -> list[Any]:
    """Has the members of a group poll in turn until nothing moves and nothing comes; the records that came."""
    records: list[Any] = []
    deadline_s = monotonic() + PATIENCE_SECONDS
    rest = 0
    while rest < 2:
        assert monotonic() < deadline_s, "the group does not come to rest"
        before = [member.assignment() for member in members]
        came = [record for member in members for record in member.poll()]
        records += came
        rest = 0 if came or before != [member.assignment() for member in members] else rest + 1
    return records


class Base:
    """The fixtures of a backend."""

    @pytest.fixture
    def log(self) -> Any:
        """An empty log."""
        raise NotImplementedError("a backend gives an empty log")

    @pytest.fixture
    def reopen(self) -> Any:
        """Opens the same log once more; a backend that keeps nothing has no such fixture."""
        pytest.skip("this log cannot be opened again")
