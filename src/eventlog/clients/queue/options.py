"""The options of a queue, checked before anything is made, and compared with what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventlog.backend.queues import FIRST_ATTEMPTS, FIRST_BACKOFF_MS, MOST_ATTEMPTS, QueueOptions, StoredQueue
from eventlog.clients.reading.batch_reader import check_start
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.errors import QueueMismatch
from eventlog.groups.lease import Terms
from eventlog.named_tuples import NamedTuple
from eventlog.options import Start, check_group_name, check_int, check_seconds, check_topic_name

_NO_POLL_SECONDS = 1e9
"""A worker may take as long as it likes for a job: only the time between heartbeats of its process is limited."""


class WorkerOptions(NamedTuple):
    """
    The options of one worker, and those that its queue is to have.

    Of `attempts`, `dead_letters`, `backoff_ms`, `per_key` and `timeout_ms` None says that the worker takes what is
    stored. `dead_letters` is "" for none.
    """

    group: str
    start: Start
    attempts: int | None
    dead_letters: str | None
    backoff_ms: tuple[int, int] | None
    per_key: int | None
    timeout_ms: int | None
    weights: tuple[int, ...]
    max_poll_records: int
    terms: Terms

    def stored(self) -> QueueOptions:
        """What a new queue gets."""
        letters = f"dlq.{self.group}" if self.dead_letters is None else self.dead_letters
        return QueueOptions(
            self.attempts or FIRST_ATTEMPTS,
            letters or None,
            self.backoff_ms or FIRST_BACKOFF_MS,
            self.per_key,
            self.timeout_ms,
        )

    def check_stored(self, queue: StoredQueue) -> None:
        """Raise `QueueMismatch` if the worker asks for something else than is stored."""
        stored = queue.options
        for option, asked, is_stored in (
            ("attempts", self.attempts, stored.attempts),
            ("dead_letters", self.dead_letters, stored.dead_letters or ""),
            ("backoff", self.backoff_ms, stored.backoff_ms),
            ("per_key", self.per_key, stored.per_key),
            ("timeout", self.timeout_ms, stored.timeout_ms),
        ):
            if asked is not None and asked != is_stored:
                unit = " (in ms)" if option in ("backoff", "timeout") else ""
                raise QueueMismatch(
                    f"cannot work for queue {queue.name!r} with {option}={asked!r}{unit}: it is stored with "
                    f"{is_stored!r}{unit}.",
                    stored="The queue is unchanged.",
                    advice=f"Leave {option}= out to use what is stored, or delete the queue: log.queues.delete().",
                    group=queue.name,
                )


def worker_options(
    topics: Sequence[EmbeddedTopic[Any, Any]],
    *,
    group: object,
    start: Start = "earliest",
    attempts: int | None = None,
    dead_letters: object = None,
    backoff: tuple[float, float] | None = None,
    per_key: int | None = None,
    timeout: float | None = None,
    weights: tuple[int, ...] | None = None,
    max_poll_records: int = 1,
    session_timeout: float = 10.0,
) -> WorkerOptions:
    """
    The options, if each is within its bounds and all go together.

    Raises:
        ValueError, TypeError: if not.
    """
    name = check_group_name(group)
    if not topics:
        raise ValueError("a queue needs a topic. Nothing was made. Name at least one: log.queue(topic, group=...).")
    check_start(start)
    letters = _dead_letters(dead_letters)
    if (letters or f"dlq.{name}") in {topic.name for topic in topics}:
        raise ValueError(
            f"the dead letters of queue {name!r} cannot go into a topic of which it takes its jobs. Nothing was made. "
            "Pass another topic as dead_letters=."
        )
    if letters is None:
        check_topic_name(f"dlq.{name}")
    return WorkerOptions(
        name,
        start,
        None if attempts is None else check_int("attempts", attempts, least=1, most=MOST_ATTEMPTS),
        letters,
        None if backoff is None else _backoff_ms(backoff),
        None if per_key is None else check_int("per_key", per_key, least=1),
        None if timeout is None else max(1, round(check_seconds("timeout", timeout, least=0.001) * 1000)),
        _weights(weights, len(topics)),
        check_int("max_poll_records", max_poll_records, least=1),
        Terms(check_seconds("session_timeout", session_timeout, least=0.1), _NO_POLL_SECONDS),
    )


def _dead_letters(topic: object) -> str | None:
    if topic is None:
        return None
    if topic is False:
        return ""
    return topic.name if isinstance(topic, EmbeddedTopic) else check_topic_name(topic)


def _backoff_ms(backoff: object) -> tuple[int, int]:
    if not isinstance(backoff, tuple) or len(backoff) != 2:
        raise TypeError(f"backoff is a pair of seconds, the first pause and the longest, not {backoff!r}.")
    first_ms, most_ms = (round(check_seconds("backoff", seconds) * 1000) for seconds in backoff)
    if most_ms < first_ms:
        raise ValueError(f"the longest pause of backoff={backoff!r} is shorter than the first. Nothing was made.")
    return first_ms, most_ms


def _weights(weights: object, count: int) -> tuple[int, ...]:
    if weights is None:
        return (1,) * count
    if not isinstance(weights, tuple) or len(weights) != count:
        raise ValueError(f"weights has a number for each topic, {count} in all, not {weights!r}. Nothing was made.")
    return tuple(check_int("a weight", weight, least=1) for weight in weights)
