"""
The faults that were asked for, and what they do to requests.

    request -> delays -> the faults in the order in which they were asked for -> the seeming cluster -> its handler

A fault that names a topic or a partition takes these out of the request; the rest goes on to the next fault, and the
answers are put together. So each partition meets the faults that are about it, and the others never notice.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from eventlog.interruptions import suppress
from eventlog.kafka.faults.parts import has_topics, merged, split
from eventlog.kafka.listener.connection import Refused
from eventlog.kafka.protocol.api_keys import APIS, ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.protocol.refusals import refusal
from eventlog.named_tuples import NamedTuple

if TYPE_CHECKING:
    from uuid import UUID

    from eventlog.kafka.faults.cluster import Cluster
    from eventlog.kafka.listener.apis import Handler, Outcome
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

TEXT: Final = "A test has asked for this error."
_SHARING: Final = (ApiKey.SHARE_FETCH, ApiKey.SHARE_ACKNOWLEDGE)
_ASKED: Final = "a test has asked for that"


class Effect(NamedTuple):
    """What a fault does to a request; one of the three."""

    code: ErrorCode | None = None
    delay_s: float = 0.0
    drop: str | None = None
    """The connection is closed "before" the request is handled, or "after"."""

    def __str__(self) -> str:
        if self.drop is not None:
            return f"connection dropped {self.drop}"
        return f"{self.delay_s:g} s later" if self.code is None else self.code.name


class Fault:
    """
    A fault that a listener was asked for.

    It ends when it has struck as often as was asked for, by `remove()`, or at the end of a `with` block. Any thread may
    use it.
    """

    def __init__(
        self,
        effects: Mapping[int, Effect],
        times: int | None,
        *,
        client_id: str | None = None,
        topic: str | None = None,
        partition: int | None = None,
        concerns: Callable[[Request], bool] | None = None,
    ) -> None:
        self._effects = effects
        self._times = times
        self._client_id = client_id
        self._topic = topic
        self._partition = partition
        self._concerns = concerns
        self._count = 0
        self._struck = threading.Condition()
        self._is_removed = False

    @property
    def count(self) -> int:
        """The number of requests that it has struck."""
        return self._count

    def remove(self) -> None:
        """Have it strike no more; called again, it does nothing."""
        self._is_removed = True

    def wait(self, count: int = 1, timeout: float | None = None) -> bool:
        """Block until it has struck this number of requests; False if it has not in `timeout` seconds."""
        with self._struck:
            return self._struck.wait_for(lambda: self._count >= count, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def __repr__(self) -> str:
        effects = {str(effect) for effect in self._effects.values()}
        of = {"client_id": self._client_id, "topic": self._topic, "partition": self._partition}
        names = [APIS[ApiKey(key)].name for key in self._effects]
        words = [
            names[0] if len(names) == 1 else f"{len(names)} kinds of requests",
            " or ".join(sorted(effects)),
            *(f"{name}={value!r}" for name, value in of.items() if value is not None),
            f"struck {self._count} of {'any' if self._times is None else self._times}",
            *(["removed"] if self._is_removed else []),
        ]
        return f"<eventlog.kafka.Fault {', '.join(words)}>"

    # -- what the loop asks ----------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether it strikes no more."""
        return self._is_removed or (self._times is not None and self._count >= self._times)

    @property
    def _is_of_parts(self) -> bool:
        """Whether it is about a topic or a partition alone."""
        return self._topic is not None or self._partition is not None

    def _effect(self, request: Request) -> Effect | None:
        """What it does to a request, as far as that can be told without its topics; None if nothing."""
        effect = self._effects.get(request.api_key)
        if effect is None or self.is_over or (self._client_id is not None and request.client_id != self._client_id):
            return None
        return effect if self._concerns is None or self._concerns(request) else None

    def _matches(self, topic: str | None, partition: int | None, part: dict[str, Any]) -> bool:  # noqa: ARG002
        """Whether it is about a part of a request."""
        return self._topic in (None, topic) and self._partition in (None, partition)

    def _strike(self) -> None:
        """Count a request."""
        with self._struck:
            self._count += 1
            self._struck.notify_all()


class Faults:
    """
    The faults of one listener.

    `add` may be called by any thread; all else belongs to the loop.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._faults: tuple[Fault, ...] = ()
        self._guard = threading.Lock()
        self._stopping = asyncio.Event()
        self.cluster: Cluster | None = None
        broker.when_stopping.append(self._stopping.set)

    def add(self, fault: Fault) -> Fault:
        """Have a fault strike from now on."""
        with self._guard:
            self._faults = (*(one for one in self._faults if not one.is_over), fault)
        return fault

    def handler(self, inner: Handler) -> Handler:
        """What answers requests while faults are asked for."""
        return partial(self._handle, inner)

    def forget(self) -> None:
        """Close a forked child's copies of sockets."""
        if self.cluster is not None:
            self.cluster.forget()

    def _handle(self, inner: Handler, _: Broker, request: Request) -> Outcome:
        seconds = 0.0
        for fault in self._faults:
            effect = fault._effect(request)
            if effect is not None and effect.delay_s and self._is_meant(fault, request):
                fault._strike()
                seconds += effect.delay_s
        if seconds:
            return self._later(seconds, inner, request)
        return self._go(self._faults, inner, request)

    async def _later(self, seconds: float, inner: Handler, request: Request) -> dict[str, Any] | None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return await _settled(self._go(self._faults, inner, request))

    def _is_meant(self, fault: Fault, request: Request) -> bool:
        return not fault._is_of_parts or split(request.body, fault._matches, self._name_of) is not None

    def _go(self, faults: Sequence[Fault], inner: Handler, request: Request) -> Outcome:
        """Have a request meet some faults, and then its handler."""
        for place, fault in enumerate(faults):
            effect = fault._effect(request)
            if effect is None or effect.delay_s or not self._is_meant(fault, request):
                continue
            fault._strike()
            go_on = partial(self._go, faults[place + 1 :], inner)
            if effect.drop == "before":
                raise Refused(f"{_ASKED}, and its request was not handled")
            if effect.drop == "after":
                return _dropped(go_on(request))
            assert effect.code is not None
            return self._failed(request, effect.code, fault, go_on)
        if self.cluster is not None:
            return self.cluster.handle(inner, request)
        return inner(self._broker, request)

    def _failed(self, request: Request, code: ErrorCode, fault: Fault, go_on: Callable[[Request], Outcome]) -> Outcome:
        if request.api_key == ApiKey.METADATA:
            return then(go_on(request), partial(_without_topics, fault, code))
        parts = split(request.body, fault._matches, self._name_of) if fault._is_of_parts else None
        hit, rest = (request.body, None) if parts is None else parts
        return refused_part(request, code, hit, rest, go_on)

    def _name_of(self, topic_id: UUID) -> str | None:
        topic = self._broker.topic_of_id(topic_id)
        return None if topic is None else topic.name


def refused_part(
    request: Request,
    code: ErrorCode,
    hit: dict[str, Any],
    rest: dict[str, Any] | None,
    go_on: Callable[[Request], Outcome],
    text: str = TEXT,
    *,
    is_elsewhere: bool = False,
) -> Outcome:
    """
    Refuse a part of a request, and have the rest of it answered.

    Args:
        hit: what is refused.
        rest: the others; None or one without topics if there are none.
        is_elsewhere: another broker has what is refused, so it is no part of a session here.
    """
    if request.api_key == ApiKey.PRODUCE and request.body["acks"] == 0:
        raise Refused(f"its produce with acks=0 failed by {code.name}: {_ASKED}")
    refused = refusal(request.api_key, request.version, hit, code, text)
    if rest is None or not has_topics(rest):
        if request.api_key not in _SHARING or refused.get("error_code"):
            return refused
        request.body = _of_session(request.body, is_elsewhere=is_elsewhere)  # the client knows that its session goes on
        return then(go_on(request), lambda answer: answer if answer["error_code"] else {**answer, **refused})
    if request.api_key == ApiKey.FETCH:
        rest["max_wait_ms"] = 0  # an error is told at once
    request.body = rest
    return then(go_on(request), lambda answer: merged(answer, refused))


def _of_session(body: dict[str, Any], *, is_elsewhere: bool) -> dict[str, Any]:
    """What a request of a share group says of its session, without acknowledgements and wishes."""
    topics = [
        {**topic, "partitions": [{**part, "acknowledgement_batches": []} for part in topic["partitions"]]}
        for topic in ([] if is_elsewhere else body["topics"])
    ]
    return {**body, "topics": topics, "max_records": 0}


def _without_topics(fault: Fault, code: ErrorCode, answer: dict[str, Any]) -> dict[str, Any]:
    topics = [
        {**topic, "error_code": code, "partitions": []} if fault._matches(topic["name"], None, topic) else topic
        for topic in answer["topics"]
    ]
    return {**answer, "topics": topics}


def then(outcome: Outcome, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Outcome:
    """Have an answer changed, now or when it is there."""
    if isinstance(outcome, dict):
        return change(outcome)
    return None if outcome is None else _changed(outcome, change)


async def _changed(
    outcome: Awaitable[dict[str, Any] | None], change: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any] | None:
    answer = await outcome
    return None if answer is None else change(answer)


async def _settled(outcome: Outcome) -> dict[str, Any] | None:
    return outcome if outcome is None or isinstance(outcome, dict) else await outcome


async def _dropped(outcome: Outcome) -> dict[str, Any] | None:
    await _settled(outcome)
    raise Refused(f"{_ASKED}, and its request was handled")
