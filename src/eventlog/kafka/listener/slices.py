"""
Requests that ask the same of many things: a few at a time, and between them other connections have their turn.

A client may name a hundred thousand groups in one request, and each is a look into the log. What such a request names
twice is answered once: else a few bytes could ask for an answer of any size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

from eventlog.kafka.listener.request import Request

if TYPE_CHECKING:
    from eventlog.kafka.listener.apis import Handler, Outcome
    from eventlog.kafka.listener.broker import Broker

_MOST_AT_ONCE: Final = 16

T = TypeVar("T")
R = TypeVar("R")

Answering = Callable[["Broker", Request], dict[str, Any]]


def in_slices(asked: str, answered: str) -> Callable[[Answering], Handler]:
    """
    Have a handler that answers at once be called for a slice of a long request at a time.

    Args:
        asked: the array of the request, of which each element is answered alone.
        answered: the array of the response.
    """

    def decorate(handler: Answering) -> Handler:
        @wraps(handler)
        def handle(broker: Broker, request: Request) -> Outcome:
            parts = request.body.get(asked)
            if parts is None or len(parts) <= _MOST_AT_ONCE:
                return handler(broker, request)
            return _sliced(handler, broker, request, (asked, answered), parts)

        return handle

    return decorate


async def one_by_one(things: Sequence[T], look: Callable[[T], R]) -> list[R]:
    """Have a function look at one thing after another, and others take their turn after some of them."""
    found = []
    for number, thing in enumerate(things):
        if number and number % _MOST_AT_ONCE == 0:
            await asyncio.sleep(0)
        found.append(look(thing))
    return found


async def _sliced(
    handler: Answering, broker: Broker, request: Request, names: tuple[str, str], parts: Sequence[Any]
) -> dict[str, Any]:
    asked, answered = names
    answer: dict[str, Any] = {}
    found: list[Any] = []
    parts = list({part if isinstance(part, str) else repr(part): part for part in parts}.values())
    for first in range(0, len(parts), _MOST_AT_ONCE):
        body = {**request.body, asked: parts[first : first + _MOST_AT_ONCE]}
        one = Request(request.api_key, request.version, request.client_id, body, request.connection)
        answer = handler(broker, one)
        found += answer[answered]
        await asyncio.sleep(0)
    return {**answer, answered: found}
