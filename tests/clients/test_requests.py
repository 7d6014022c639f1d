"""Requests and replies in one process: what comes back, and what is stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import eventlog
from eventlog.clients.requests import headers as names
from eventlog.clients.state.view import StateView, open_named_state
from tests.clients.helpers import PATIENCE_SECONDS, in_threads, last_transaction, values


@contextmanager
def serving(
    log: eventlog.EventLog, topic: Any, function: Callable[..., Any], group: str = "g", **options: Any
) -> Iterator[Any]:
    """A responder at work in a thread."""
    with log.responder(topic, function=function, group=group, **options) as responder:
        errors: list[BaseException] = []

        def run() -> None:
            try:
                responder.run()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield responder
        finally:
            responder.stop()
            thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive(), "the responder hangs"
        assert not errors, errors


def ask(log: eventlog.EventLog, topic: Any, value: Any, **options: Any) -> eventlog.Record[Any, Any]:
    """A request with the patience of tests."""
    return log.request(topic, value, **{"timeout": PATIENCE_SECONDS, **options})


def double(_tx: eventlog.Transaction, record: eventlog.Record[Any, int]) -> int:
    """Twice the value."""
    return 2 * record.value


def stamp(headers: dict[str, Any]) -> dict[str, bytes]:
    """The headers of a request by hand, as bytes."""
    return {name: value if isinstance(value, bytes) else str(value).encode() for name, value in headers.items()}


@pytest.fixture
def numbers(log: eventlog.EventLog) -> eventlog.Topic[Any, int]:
    """A topic for requests."""
    return log.topic("numbers", key=str, value=int)


# --- the usual ----------------------------------------------------------------------------------------------------


def test_a_request_is_answered_by_what_the_function_returns(log, numbers):
    """The reply is a record with the request's key, and both are stored."""
    with serving(log, numbers, double):
        reply = ask(log, numbers, 21, key="a", headers={"trace": b"t"})
    assert (reply.value, reply.key) == (42, b"a")
    (request,) = numbers.read()
    assert dict(request.headers)["trace"] == b"t"
    assert dict(reply.headers)[names.CORRELATION_ID] == dict(request.headers)[names.CORRELATION_ID]


def test_a_request_costs_two_commits(log, numbers):
    """One for the request, and one for the reply with the request's offset and what the function did."""

    def count(tx: eventlog.Transaction, record: Any) -> int:
        tx.state("count", key=str, value=int)["all"] = record.value
        return 0

    log.transact(lambda tx: tx.state("count", key=str, value=int))
    with serving(log, numbers, count):
        for number in range(10):  # its transactions grow, and an inbox is made
            ask(log, numbers, number)
        before = last_transaction(log)
        for number in range(10, 20):
            ask(log, numbers, number)
        assert last_transaction(log) - before == 20
    assert log.state("count")["all"] == 19
    assert log.groups.describe("g").offsets[0].committed == 20


def test_threads_get_their_own_replies(log, numbers):
    """One of them reads for all, and hands over when it has its own."""

    def one() -> bool:
        return all(ask(log, numbers, number).value == 2 * number for number in range(threading.get_ident() % 97, 120))

    with serving(log, numbers, double):
        assert in_threads(*[one] * 6) == [True] * 6


def test_replies_have_codecs_of_their_own(log):
    """The requester and the responder name the codec; without it, it is that of the request's values."""
    texts = log.topic("texts", value=str)
    with serving(log, texts, lambda _, record: record.value.upper()):
        assert ask(log, "texts", "tea").value == "TEA"
    with serving(log, texts, lambda _, record: {"length": len(record.value)}, reply="json"):
        assert ask(log, texts, "tea", reply="json").value == {"length": 3}
        with pytest.raises(eventlog.DecodeError, match="Pass reply= as the responder does") as caught:
            ask(log, texts, "tea", reply=int)
        assert caught.value.record is not None


def test_no_reply_is_a_reply(log, numbers):
    """A function without a result answers None."""
    with serving(log, numbers, lambda *_: None):
        assert ask(log, numbers, 1).value is None


def test_replies_may_stay_in_a_topic(log, numbers):
    """In one partition of it or anywhere; those of others there are passed by, whatever they hold."""
    replies = log.topic("replies", value="json", partitions=3)
    with serving(log, numbers, lambda _, record: [record.value]):
        replies.append({"another": 1})
        assert ask(log, numbers, 1, reply_to="replies").value == [1]
        assert ask(log, numbers, 2, reply_to=replies).value == [2]
        third = ask(log, numbers, 3, reply_to=("replies", 2))
    assert (third.value, third.topic, third.partition) == ([3], "replies", 2)
    assert len(values(replies.read())) == 4
    assert log.topics() == ["numbers", "replies"]


def test_a_record_that_is_no_request_is_worked_on(log, numbers):
    """What its function returns goes nowhere."""
    seen: list[int] = []
    numbers.append(1)
    with log.responder(numbers, function=lambda _, record: seen.append(record.value), group="g") as responder:
        assert responder.run_to_end() == 1
    assert (seen, responder.lost_count, log.topics()) == ([1], 0, ["numbers"])


# --- nobody, too late, wrong ------------------------------------------------------------------------------------------


def test_nobody_to_answer_is_told_at_once(log, numbers):
    """Nothing is stored: before there is a responder, after it has left, and for another group than asked for."""
    for before in (None, "left"):
        if before:
            with log.responder(numbers, function=double, group="g"):
                pass
        with pytest.raises(eventlog.NoResponders, match=r"'numbers'.*Nothing was stored") as caught:
            log.request(numbers, 1)
        assert caught.value.retriable
    with log.consumer("numbers", group="audit"):
        with pytest.raises(eventlog.NoResponders, match="group 'g' has no live member"):
            log.request(numbers, 1, group="g")
    assert list(numbers.read()) == []
    assert log.topics() == ["numbers"]


def test_a_reply_that_does_not_come_is_a_timeout(log, numbers):
    """The request is stored, and its place is in the error; whoever comes later passes it by."""
    with pytest.raises(eventlog.RequestTimeout, match=r"no reply came in 0.01 s.*no live member") as caught:
        log.request(numbers, 1, timeout=0.01, needs_responder=False)
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.topic, caught.value.partition, caught.value.offset) == ("numbers", 0, 0)
    seen: list[int] = []
    with log.responder(numbers, function=lambda _, record: seen.append(record.value), group="g") as responder:
        responder.run_to_end()
        assert (seen, responder.late_count) == ([], 1)
    assert log.groups.describe("g").offsets[0].committed == 1


def test_a_request_may_wait_for_its_responder(log, numbers):
    """It is answered by one that comes before the deadline."""
    sent = threading.Event()

    def later() -> None:
        with log.consumer("numbers", start="latest") as consumer:
            sent.set()
            assert consumer.poll(PATIENCE_SECONDS)
        with log.responder(numbers, function=double, group="g") as responder:
            responder.run_to_end()

    def now() -> Any:
        assert sent.wait(PATIENCE_SECONDS)
        return ask(log, numbers, 4, needs_responder=False).value

    assert in_threads(later, now)[1] == 8


class OutOfStock(Exception):
    """An exception of the user's."""


def test_an_exception_is_the_reply(log, numbers):
    """As texts; what the function did before is not stored, the request is done with, and the others go on."""

    def refuse(tx: eventlog.Transaction, record: Any) -> int:
        tx.send("orders", b"x")
        if record.value == 1:
            raise OutOfStock("no tea", record.value)
        return 0

    orders = log.topic("orders")
    with serving(log, numbers, refuse):
        with pytest.raises(eventlog.RemoteError, match=r"answered by .*OutOfStock: .'no tea', 1.") as caught:
            ask(log, numbers, 1)
        assert ask(log, numbers, 2).value == 0
    error = caught.value
    assert error.type.endswith("test_requests.OutOfStock")
    assert error.message == "('no tea', 1)"
    assert 'raise OutOfStock("no tea"' in error.traceback
    assert (error.topic, error.offset, error.retriable) == ("numbers", 0, False)
    assert len(list(orders.read())) == 1


def test_an_exception_may_be_tried_again(log, numbers):
    """With more attempts only the last one is the reply."""
    calls: list[int] = []

    def flaky(_tx: eventlog.Transaction, record: Any) -> int:
        calls.append(record.value)
        if len(calls) < 3:
            raise OSError("busy")
        return 7

    with serving(log, numbers, flaky, attempts=3, retry_pause=0.0):
        assert ask(log, numbers, 1).value == 7
    assert calls == [1, 1, 1]


def test_a_reply_of_another_type_is_the_responders_error(log, numbers):
    """The requester is told what the codec says."""
    with serving(log, numbers, lambda *_: "text"):
        with pytest.raises(eventlog.RemoteError, match="TypeError") as caught:
            ask(log, numbers, 1)
    assert "int" in caught.value.message


def test_a_reply_that_is_too_large_is_told(log, numbers):
    """The bound is that of the topic for replies."""
    log.topic("small", max_record_bytes=2_000)
    with serving(log, numbers, lambda *_: b"x" * 3_000, reply=bytes):
        with pytest.raises(eventlog.ReplyTooLarge, match=r"3000 bytes.*2000 bytes"):
            ask(log, numbers, 1, reply=bytes, reply_to="small")
        assert len(ask(log, numbers, 1, reply=bytes).value) == 3_000


@pytest.mark.parametrize("bound", ["topic", "partition", "size", "name"])
def test_a_reply_that_nobody_can_take_does_no_harm(log, numbers, bound):
    """Where the request says that it goes there is no such topic, or none that takes it; the responder goes on."""
    log.topic("tiny", max_record_bytes=1)
    where = {"topic": {names.REPLY_TOPIC: "gone"}, "name": {names.REPLY_TOPIC: "a/b"}}.get(bound)
    where = where or {names.REPLY_TOPIC: "tiny", names.REPLY_PARTITION: b"\0\0\0\7" if bound == "partition" else b"0"}
    numbers.append(1, headers=stamp({**where, names.CORRELATION_ID: b"1"}))
    with log.responder(numbers, function=double, group="g") as responder:
        responder.run_to_end()
        assert responder.lost_count == 1
    assert log.groups.describe("g").lag == 0


def test_what_is_wrong_with_a_request_is_told_before_it_is_stored(log, numbers):
    """Each argument by its name."""
    with log.responder(numbers, function=double, group="g"), eventlog.open(":memory:") as other:
        for error, match, options in (
            (ValueError, "timeout", {"timeout": 0.0}),
            (TypeError, "timeout", {"timeout": "5"}),
            (ValueError, "message_id", {"message_id": b""}),
            (ValueError, "kafka_correlationId.*sets by itself", {"headers": {"kafka_correlationId": b"1"}}),
            (TypeError, "a partition is", {"reply_to": ("numbers",)}),
            (eventlog.UnknownPartition, "no partition 3", {"reply_to": ("numbers", 3)}),
            (eventlog.UnknownTopic, "nothing", {"reply_to": "nothing"}),
            (ValueError, "belongs to the log", {"reply_to": other.topic("numbers")}),
            (TypeError, "no codec|codec", {"reply": 5}),
            (TypeError, "needs_responder", {"needs_responder": "no"}),
            (TypeError, "group name", {"group": 3}),
        ):
            with pytest.raises(error, match=match):
                log.request(numbers, 1, **options)
        with pytest.raises(eventlog.UnknownTopic):
            log.request("nothing", 1)
        with pytest.raises(TypeError, match="value for topic 'numbers'"):
            log.request(numbers, "one")
        with pytest.raises(ValueError, match="expect"):
            log.gather(numbers, 1, expect=0)
        with pytest.raises(TypeError, match="function is a function"):
            log.responder(numbers, function=5, group="g")
    assert list(numbers.read()) == []


# --- many -------------------------------------------------------------------------------------------------------------


def test_every_group_answers_once(log, numbers):
    """Without a number, it is that of the groups that are there."""
    with serving(log, numbers, double, "a"), serving(log, numbers, lambda *_: 7, "b"):
        replies = log.gather(numbers, 4, timeout=PATIENCE_SECONDS)
        assert sorted(values(replies)) == [7, 8]
        assert {dict(reply.headers)[names.GROUP] for reply in replies} == {b"a", b"b"}


def test_those_who_do_not_answer_are_missed(log, numbers):
    """What came is in the error, or is the result if that is asked for; one group does not count twice."""
    with serving(log, numbers, double, "a"), log.responder(numbers, function=double, group="idle"):
        with pytest.raises(eventlog.RequestTimeout, match="1 of 2 replies came") as caught:
            log.gather(numbers, 4, timeout=0.3)
        assert values(caught.value.replies) == [8]
        assert values(log.gather(numbers, 5, timeout=0.3, partial=True)) == [10]


def test_an_error_of_one_group_is_raised_or_left_out(log, numbers):
    """With the replies that came before it."""

    def refuse(*_: object) -> int:
        raise OutOfStock

    with serving(log, numbers, double, "a"), serving(log, numbers, refuse, "b"):
        with pytest.raises(eventlog.RemoteError):
            log.gather(numbers, 4, timeout=PATIENCE_SECONDS)
        assert values(log.gather(numbers, 4, timeout=PATIENCE_SECONDS, partial=True)) == [8]


# --- again ------------------------------------------------------------------------------------------------------------


def test_a_request_of_the_same_name_is_done_once(log, numbers):
    """Sent again, by another log too, it gets the same reply; without a name it is done each time."""
    done: list[int] = []

    def note(_tx: eventlog.Transaction, record: Any) -> int:
        done.append(record.value)
        return len(done)

    with serving(log, numbers, note):
        assert [ask(log, numbers, 5, message_id="order-5").value for _ in range(3)] == [1, 1, 1]
        assert [ask(log, numbers, 5).value for _ in range(2)] == [2, 3]
        with pytest.raises(eventlog.RemoteError, match="MessageIdReused"):
            ask(log, numbers, 6, message_id="order-5")
    assert done == [5, 5, 5]
    assert log.states() == []


def test_an_answer_that_was_lost_is_given_again(log, numbers):
    """The requester waited no longer, and asks again: the work was done once."""
    with pytest.raises(eventlog.RequestTimeout, match=r"Ask again, for longer[.]"):
        log.request(numbers, 5, timeout=0.01, message_id="a", needs_responder=False)
    numbers.append(5, headers=stamp({names.MESSAGE_ID: "b"}))  # its requester is gone
    done: list[int] = []
    with serving(log, numbers, lambda _, record: done.append(record.offset)):
        assert ask(log, numbers, 5, message_id="a").value is None
        assert ask(log, numbers, 5, message_id="b").value is None
    assert done == [1, 2]


def test_answers_are_forgotten_when_their_time_is_over(log, numbers):
    """Each new one deletes two that are due."""
    with serving(log, numbers, double, duplicate_window=0.0):
        for number in range(6):
            ask(log, numbers, number, message_id=str(number))
    stored = open_named_state(log._store, "responder:g", tuple, "msgpack")
    view = StateView(log._store, *stored, check=lambda: None)
    assert len(list(view.keys(prefix=("answer",)))) < 6  # those of one millisecond are not due yet


# --- the inbox --------------------------------------------------------------------------------------------------------


def test_the_inbox_goes_with_its_log(disk_log, path):
    """It is one topic for all requests of a log object, and is deleted when that is closed."""
    topic = disk_log.topic("numbers", value=int)
    with serving(disk_log, topic, double), eventlog.open(path) as other:
        for log in (disk_log, other):
            for _ in range(2):
                ask(log, "numbers", 1, reply=int)
        assert len(disk_log.topics()) == 3
        other.close()
        assert len(disk_log.topics()) == 2
    disk_log.close()
    with eventlog.open(path) as log:
        assert log.topics() == ["numbers"]


def test_replies_that_were_read_are_deleted(log, numbers, monkeypatch):
    """From time to time, so an inbox does not grow."""
    monkeypatch.setattr("eventlog.clients.requests.inbox._FREED_COUNT", 3)
    with serving(log, numbers, double):
        for number in range(7):
            ask(log, numbers, number)
        (inbox,) = (name for name in log.topics() if name != "numbers")
        assert log.topic(inbox).bounds() == {0: (6, 7)}


def test_an_inbox_that_somebody_deletes_is_made_again(log, numbers):
    """The request that waited for it is told, and the next one has another."""
    begun, may_end = threading.Event(), threading.Event()

    def slow(_tx: eventlog.Transaction, record: Any) -> int:
        begun.set()
        assert may_end.wait(PATIENCE_SECONDS)
        return double(_tx, record)

    def delete() -> None:
        assert begun.wait(PATIENCE_SECONDS)
        for name in log.topics():
            if name.startswith("_inbox."):
                log.delete_topic(name)
        may_end.set()

    def request() -> None:
        with pytest.raises(eventlog.UnknownTopic, match=r"for replies was deleted.*another inbox"):
            ask(log, numbers, 1)

    with serving(log, numbers, slow):
        in_threads(delete, request)
        assert ask(log, numbers, 2).value == 4


def test_closing_the_log_ends_a_request(log, numbers):
    """It is told that the log was closed."""
    begun = threading.Event()

    def request() -> None:
        with pytest.raises(eventlog.LogClosed, match=r"the log at .* is closed"):
            ask(log, numbers, 1, needs_responder=False)

    def close() -> None:
        with log.consumer("numbers", start="earliest") as consumer:
            begun.set()
            assert consumer.poll(PATIENCE_SECONDS)
        log.close()

    in_threads(request, request, close)
