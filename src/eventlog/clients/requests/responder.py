"""
The responder: a processor whose function returns the reply to each record.

Attempts, takeovers, offsets and transactions are the processor's (`clients/transaction/processor.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventlog.api.consumer import Callback
from eventlog.api.requests import Responding
from eventlog.api.topic import Topic
from eventlog.backend import Backend
from eventlog.clients.consumer.consumer import EmbeddedConsumer
from eventlog.clients.consumer.options import divided
from eventlog.clients.requests.answering import Answer, Answering
from eventlog.clients.requests.question import opened
from eventlog.clients.topic.topic import EmbeddedTopic, Owner
from eventlog.clients.transaction.lent import LentTransaction
from eventlog.clients.transaction.processor import Processor, processor_options, working
from eventlog.clients.transaction.worker import ProcessorOptions
from eventlog.clock import Clock
from eventlog.codecs import codec_for
from eventlog.options import check_seconds
from eventlog.records import publish

_KEPT_SECONDS = 86_400.0
_BUDGET_SECONDS = 0.01
"""So long the first of some requests waits for the last of its transaction."""


class Responder(Processor):
    """
    A processor that answers requests: what its function returns is the reply.

    The reply is stored in the transaction of the function, with the request's offset: all of it or nothing. So a
    request is answered once, also after a crash, and what the function sends and changes is stored when the reply is.
    An exception of the function is the reply, too, as a `RemoteError`; then nothing else is stored. Requests whose
    requester waits no longer are passed by. One that says nowhere to reply is worked on, and its reply is dropped.

    A request with a message id that was answered gets the same reply again, and the function is not called.

    It runs, stops and closes as a `Processor`; requests that come together share a transaction, which ends after 10 ms.
    Make several, in threads or processes, for a topic with several partitions.

    Get one from `EventLog.responder()`.

    Example:
        >>> import threading
        >>> log = eventlog.open(":memory:")
        >>> cups = log.topic("cups", value=int)
        >>> responder = log.responder(cups, function=lambda tx, record: 3 * record.value, group="prices")
        >>> thread = threading.Thread(target=responder.run)
        >>> thread.start()
        >>> log.request(cups, 2).value
        6
        >>> responder.stop(); thread.join(); responder.close(); log.close()
    """

    def __init__(
        self,
        open_consumer: Callable[[Callback], EmbeddedConsumer[Any, Any]],
        begin: Callable[[], LentTransaction],
        clock: Clock,
        options: ProcessorOptions,
        answering: Answering,
    ) -> None:
        super().__init__(open_consumer, begin, clock, options)
        self._answering = answering

    @property
    def late_count(self) -> int:
        """The number of requests that were passed by, because nobody waited any longer."""
        return self._answering.late_count

    @property
    def error_count(self) -> int:
        """The number of requests whose reply is an error."""
        return self._answering.error_count

    @property
    def lost_count(self) -> int:
        """The number of replies without a place: their topic or partition is not there, or does not take them."""
        return self._answering.lost_count

    def __repr__(self) -> str:
        return f"<Responder of group {self._consumer.group!r}>"


def open_responder(
    owner: Owner,
    store: Backend,
    known: Callable[[str], EmbeddedTopic[Any, Any]],
    make_consumer: Callable[..., EmbeddedConsumer[Any, Any]],
    topic: str | Topic[Any, Any],
    function: Answer,
    group: str,
    reply: Any,
    options: Responding,
) -> Responder:
    """
    A responder whose consumer is made last, when every option was checked.

    Args:
        known: finds a topic of the log by its name.
        make_consumer: makes a consumer of the log, as `EventLog.consumer`.

    Raises:
        ValueError, TypeError: for an option out of its bounds. Nothing was made.
    """
    asked = opened(store, known, topic)
    if not callable(function):
        raise TypeError(f"function is a function, not {function!r}. Nothing was made.")
    _, own = divided(options)
    kept_ms = round(check_seconds("duplicate_window", own.pop("duplicate_window", _KEPT_SECONDS)) * 1000)
    codec = asked._route.value_codec if reply is None else codec_for(reply, topic=asked.name, role="value")
    answering = Answering(store, known, owner, asked, function, codec, group, kept_ms)
    checked = processor_options(
        answering.answer,
        group=group,
        on_failure=answering.fail,
        budget_s=_BUDGET_SECONDS,
        tells_failures=False,
        **{"attempts": 1, **own},
    )
    return Responder(*working(store, known, make_consumer, (asked,), group, options), store.clock, checked, answering)


publish(Responder)
