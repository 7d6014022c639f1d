"""
Sessions of fetches (KIP-227): a client names all of its partitions once, and then only what has changed.

So a consumer of hundreds of partitions sends small requests, and gets small answers: in a session only the partitions
are answered that have records, an error, or other bounds than before. A session belongs to its connection, which has
one at most, and ends with it. Guards, faults and the fetch come behind us, and see all partitions of each request.

Belongs to the loop.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from eventlog.kafka.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from eventlog.kafka.listener.apis import Handler, Outcome
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_NOTE: Final = "fetch session"
_LEAST_VERSION: Final = 7
_BY_ID: Final = 13
_FIRST_EPOCH, _NO_EPOCH = 0, -1
"""The epochs of requests that name all of their partitions: to begin a session, and without one."""
_MOST_EPOCH: Final = 2**31 - 1
_MOST_PARTITIONS: Final = 10_000
"""A request with more of them gets no session: each costs memory as long as the connection lives."""

_Place: TypeAlias = "tuple[object, int]"


@attrs.define(eq=False)
class _Session:
    """
    The session of one connection.

    Attributes:
        epoch: that of the next request.
        asked: what is asked of each partition; those of which records were answered last come last, so that each has
            its turn where not all fit.
        told: the bounds of each partition in the last answer that had it.
    """

    number: int
    field: str
    epoch: int = 1
    asked: dict[_Place, dict[str, Any]] = attrs.Factory(dict)
    told: dict[_Place, tuple[int, int]] = attrs.Factory(dict)

    def change(self, body: dict[str, Any]) -> None:
        """Take what a request has changed."""
        for topic in body.get("forgotten_topics_data") or ():
            for number in topic["partitions"]:
                self.asked.pop((topic[self.field], number), None)
                self.told.pop((topic[self.field], number), None)
        for place, part in _parts_of(body, self.field):
            self.asked[place] = part

    def topics(self) -> list[dict[str, Any]]:
        """All partitions, as a request names them."""
        found: list[dict[str, Any]] = []
        for (topic, _), part in self.asked.items():
            if not found or found[-1][self.field] != topic:
                found.append({self.field: topic, "partitions": []})
            found[-1]["partitions"].append(part)
        return found

    def note(self, answer: dict[str, Any], *, is_whole: bool) -> dict[str, Any]:
        """Note what an answer tells; the answer with what the client does not know yet, or with all of it."""
        responses = []
        for topic in answer.get("responses") or ():
            parts = [part for part in topic["partitions"] if self._tells(topic[self.field], part) or is_whole]
            if parts:
                responses.append({**topic, "partitions": parts})
        return {**answer, "session_id": self.number, "responses": responses}

    def _tells(self, topic: object, part: dict[str, Any]) -> bool:
        place = (topic, part["partition_index"])
        if place not in self.asked:
            return True
        if part["error_code"]:
            self.told.pop(place, None)
            return True
        if part["records"]:
            self.asked[place] = self.asked.pop(place)
        bounds = (part["high_watermark"], part["log_start_offset"])
        is_new = self.told.get(place) != bounds
        self.told[place] = bounds
        return is_new or bool(part["records"])


def _parts_of(body: dict[str, Any], field: str) -> Iterator[tuple[_Place, dict[str, Any]]]:
    for topic in body["topics"]:
        for part in topic["partitions"]:
            yield (topic[field], part["partition"]), part


def in_session(handle: Handler) -> Handler:
    """The handler of fetches that knows sessions; the one that it is given sees all partitions of each request."""

    def fetch(broker: Broker, request: Request) -> Outcome:
        if request.version < _LEAST_VERSION:
            return handle(broker, request)
        number, epoch = request.body["session_id"], request.body["session_epoch"]
        is_whole = epoch in (_FIRST_EPOCH, _NO_EPOCH)
        session = _begun(request) if is_whole else request.connection.notes.get(_NOTE)
        if not is_whole:
            code = _problem(session, number, epoch, request.version)
            if session is None or code:
                return {"error_code": code, "session_id": 0, "responses": []}
            session.epoch = epoch + 1 if epoch < _MOST_EPOCH else 1
            session.change(request.body)
            request.body["topics"] = session.topics()
            if not session.asked or len(session.asked) > _MOST_PARTITIONS:
                del request.connection.notes[_NOTE]
                session = None
        if session is None:
            return handle(broker, request)
        outcome = handle(broker, request)
        if outcome is None or isinstance(outcome, dict):
            return outcome if outcome is None else session.note(outcome, is_whole=is_whole)
        return _noted(session, outcome, is_whole=is_whole)

    return fetch


def _begun(request: Request) -> _Session | None:
    """The session that a request begins, if it does; the one before on its connection ends."""
    notes, body = request.connection.notes, request.body
    notes.pop(_NOTE, None)
    field = "topic_id" if request.version >= _BY_ID else "topic"
    asked = dict(_parts_of(body, field))
    if body["session_epoch"] != _FIRST_EPOCH or len(asked) > _MOST_PARTITIONS:
        return None
    session = notes[_NOTE] = _Session(1 + secrets.randbelow(2**31 - 1), field, asked=asked)
    return session


def _problem(session: _Session | None, number: int, epoch: int, version: int) -> ErrorCode:
    if session is None or session.number != number:
        return ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    if (session.field == "topic_id") != (version >= _BY_ID):
        return ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR
    return ErrorCode.NONE if session.epoch == epoch else ErrorCode.INVALID_FETCH_SESSION_EPOCH


async def _noted(
    session: _Session, outcome: Awaitable[dict[str, Any] | None], *, is_whole: bool
) -> dict[str, Any] | None:
    answer = await outcome
    return None if answer is None else session.note(answer, is_whole=is_whole)
