"""kombu on a log: queues, priorities, times, exchanges, and what becomes of messages."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime, timedelta
from functools import partial

import kombu
import pytest

import eventlog
from eventlog.frameworks.celery.messages import seconds_until_eta
from eventlog.frameworks.celery.tasks import HELD_SECONDS
from eventlog.frameworks.celery.urls import log_path
from tests.frameworks.celery.helpers import PATIENCE_SECONDS, connected, drained

JOBS = kombu.Queue("jobs", kombu.Exchange("jobs"), "jobs")


@pytest.fixture
def path(tmp_path):
    """Where a log is to be."""
    return tmp_path / "log"


@pytest.fixture
def connection(path):
    """A connection to it."""
    with connected(path) as connection:
        yield connection


def publish(connection, *bodies, queue=JOBS, **options):
    """Send messages to a queue, which is declared."""
    producer = connection.Producer()
    for body in bodies:
        producer.publish(body, exchange=queue.exchange, routing_key=queue.routing_key, declare=[queue], **options)


def consumer(connection, queue=JOBS, found=None, *, ack=True, prefetch=None, **options):
    """A consumer that notes bodies, or messages where it acknowledges none."""

    def receive(body, message):
        if found is not None:
            found.append(body if ack else message)
        if ack:
            message.ack()

    made = connection.Consumer([queue], callbacks=[receive], **options)
    if prefetch is not None:
        made.qos(prefetch_count=prefetch)
    return made


# --- queues --------------------------------------------------------------------------------------------------------


def test_messages_come_in_order_and_once(connection, path):
    """What one connection publishes another consumes, whole; nothing comes again."""
    publish(connection, {"n": 1}, {"n": 2}, "three", headers={"of": "us"})
    found = []
    with connected(path) as other, consumer(other, found=found):
        assert drained(other) == 3
        assert drained(other) == 0
    assert found == [{"n": 1}, {"n": 2}, "three"]
    with connected(path) as other, consumer(other, found=found):
        assert drained(other) == 0


def test_the_record_of_a_message_has_its_body_as_it_is(connection, path):
    """Every reader of the log sees what was sent."""
    publish(connection, {"n": 1})
    with eventlog.open(path) as log:
        (record,) = log.topic("kombu.queue.jobs").read()
    assert record.value == b'{"n": 1}'


def test_a_higher_priority_overtakes(connection):
    """Ten priorities, the highest first, and the order within each."""
    found = []
    publish(connection, "default")
    for priority in (0, 5, 9, 5):
        publish(connection, f"of {priority}", priority=priority)
    with consumer(connection, found=found):
        drained(connection)
        publish(connection, "new", priority=3)
        connection.drain_events(timeout=PATIENCE_SECONDS)  # a priority that was used for the first time
    assert found == ["of 9", "of 5", "of 5", "default", "of 0", "new"]


def test_the_prefetch_count_is_what_is_in_hand(connection):
    """An acknowledgement makes room for one more, and no room means no message."""
    publish(connection, *range(4))
    found = []
    with consumer(connection, found=found, ack=False, prefetch=2):
        assert drained(connection) == 2
        assert drained(connection) == 0
        found[0].ack()
        assert drained(connection) == 1
        assert drained(connection) == 0
        assert [message.payload for message in found] == [0, 1, 2]


def test_an_acknowledgement_of_another_thread_ends_a_wait(connection):
    """The pool of a worker acknowledges in threads, and the next message comes at once."""
    publish(connection, 1, 2)
    found = []
    with consumer(connection, found=found, ack=False, prefetch=1):
        assert drained(connection) == 1
        thread = threading.Timer(0.05, found[0].ack)
        thread.start()
        connection.drain_events(timeout=PATIENCE_SECONDS)
        thread.join()
    assert found[1].payload == 2


@pytest.mark.parametrize("how", ["requeue", "close"])
def test_what_is_not_acknowledged_comes_again(connection, path, how):
    """Given back by hand, or by the end of its connection."""
    publish(connection, "one")
    found = []
    with connected(path) as first, consumer(first, found=found, ack=False):
        first.drain_events(timeout=PATIENCE_SECONDS)
        if how == "requeue":
            found[0].requeue()
    with consumer(connection, found=found, ack=False):
        connection.drain_events(timeout=PATIENCE_SECONDS)
        assert found[1].payload == "one"
        assert found[1].delivery_info["redelivered"] == (how == "requeue")
        found[1].ack()


def test_what_is_rejected_is_a_dead_letter(connection, path):
    """It never comes again, and is kept with its reason."""
    publish(connection, "broken")
    found = []
    with consumer(connection, found=found, ack=False):
        connection.drain_events(timeout=PATIENCE_SECONDS)
        found[0].reject()
        assert drained(connection) == 0
    with eventlog.open(path) as log:
        (letter,) = log.topic("dlq.kombu.queue.jobs").read()
        assert letter.value == b"broken"
        assert log.queues.describe("kombu.queue.jobs").dead == 1


def test_attempts_bound_how_often_a_message_comes(path):
    """An option of the transport: what kills its workers ends as a dead letter."""
    with connected(path, attempts=2) as connection:
        publish(connection, "poison")
        found = []
        with consumer(connection, found=found, ack=False):
            for _ in range(2):
                connection.drain_events(timeout=PATIENCE_SECONDS)
                found[-1].requeue()
            assert drained(connection) == 0
    assert len(found) == 2


def test_a_queue_is_measured_purged_and_deleted(connection, path):
    """Size, purge and delete count all priorities."""
    publish(connection, *range(3))
    publish(connection, 3, priority=7)
    channel = connection.default_channel
    bound = JOBS(channel)
    assert bound.queue_declare(passive=True).message_count == 4
    assert bound.purge() == 4
    assert bound.queue_declare(passive=True).message_count == 0
    publish(connection, 4)
    bound.delete()
    with pytest.raises(connection.channel_errors, match="NOT_FOUND"):
        bound.queue_declare(passive=True)
    with eventlog.open(path) as log:
        assert [name for name in log.topics() if "jobs" in name] == ["dlq.kombu.queue.jobs"]


def test_one_message_is_taken_by_hand(connection):
    """`basic_get` and kombu's simple queue."""
    publish(connection, "one", "two")
    message = JOBS(connection.default_channel).get()
    assert message.payload == "one"
    message.ack()
    assert JOBS(connection.default_channel).get(no_ack=True).payload == "two"
    assert JOBS(connection.default_channel).get() is None
    simple = connection.SimpleQueue("simple")
    simple.put({"a": 1})
    received = simple.get(timeout=PATIENCE_SECONDS)
    received.ack()
    assert received.payload == {"a": 1}
    simple.close()


def test_names_that_no_topic_may_have(connection):
    """Any name is a queue's, and two of them never meet."""
    found = []
    for name in ("celery@host", "celery_host", "caf\u00e9"):
        queue = kombu.Queue(name, kombu.Exchange(""), name)
        publish(connection, name, queue=queue)
        with consumer(connection, queue, found):
            assert drained(connection) == 1
    assert found == ["celery@host", "celery_host", "caf\u00e9"]


# --- times ---------------------------------------------------------------------------------------------------------


def test_a_task_whose_time_has_not_come_is_nobodys(connection, path):
    """It takes no place of the prefetch count."""
    eta = datetime.now(UTC) + timedelta(hours=1)
    found = []
    publish(connection, "late", headers={"eta": eta.isoformat()})
    publish(connection, "now")
    with consumer(connection, found=found, prefetch=1):
        assert drained(connection) == 1
    with eventlog.open(path) as log:
        assert log.queues.describe("kombu.queue.jobs").delayed == 1
    assert found == ["now"]


def test_a_task_comes_at_its_time(connection):
    """It was held back by the log, and is not marked as one that comes again."""
    eta = datetime.now(UTC) + timedelta(seconds=1.5)
    publish(connection, "late", headers={"eta": eta.isoformat()})
    found = []
    with consumer(connection, found=found, ack=False):
        connection.drain_events(timeout=PATIENCE_SECONDS)
        late = (datetime.now(UTC) - eta).total_seconds()
        assert -HELD_SECONDS <= late < PATIENCE_SECONDS, "the last second is for Celery's own timer"
        assert not found[0].delivery_info["redelivered"]
        found[0].ack()


@pytest.mark.parametrize(
    ("eta", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("2026-01-01T00:00:10+00:00", 10.0),
        ("2025-01-01T00:00:00+00:00", 0.0),
        ("2026-01-01T00:00:10", 0.0),
        ("soon", 0.0),
        (7, 0.0),
    ],
)
def test_only_a_time_with_a_zone_is_understood(eta, seconds):
    """What is not understood is left to Celery."""
    assert seconds_until_eta({"headers": {"eta": eta}}, datetime(2026, 1, 1, tzinfo=UTC)) == seconds


# --- exchanges -----------------------------------------------------------------------------------------------------


def test_exchanges_of_three_types_send_to_shared_queues(connection):
    """By the whole key, by a pattern, to all; one message for several queues is stored in one commit."""
    news = kombu.Exchange("news", type="topic")
    queues = {
        "all": kombu.Queue("all", news, "#"),
        "stock": kombu.Queue("stock", news, "stock.*"),
        "bond": kombu.Queue("bond", news, "bond.eu"),
        "copy": kombu.Queue("copy", kombu.Exchange("shout", type="fanout")),
    }
    for queue in queues.values():
        queue(connection.default_channel).declare()
    producer = connection.Producer()
    for key in ("stock.us", "bond.eu", "stock.us.new"):
        producer.publish(key, exchange=news, routing_key=key)
    producer.publish("hey", exchange="shout", routing_key="")
    found = {name: [] for name in queues}
    for name, queue in queues.items():
        with consumer(connection, queue, found[name]):
            drained(connection)
    assert found == {
        "all": ["stock.us", "bond.eu", "stock.us.new"],
        "stock": ["stock.us"],
        "bond": ["bond.eu"],
        "copy": ["hey"],
    }


def private(name, exchange, key=""):
    """A queue as those of remote control and of events are."""
    return kombu.Queue(name, exchange, key, durable=False, auto_delete=True)


def test_a_broadcast_reaches_all_who_listen_and_is_stored_once(connection, path):
    """It costs one record, whoever listens; what was sent before somebody listens is not for him."""
    shout = kombu.Exchange("shout", type="fanout", durable=False)
    producer = connection.Producer()
    producer.publish("before", exchange=shout, routing_key="", declare=[shout])
    found = {"one": [], "two": []}
    with connected(path) as one, connected(path) as two:
        for name, other in (("one", one), ("two", two)):
            consumer(other, private(name, shout), found[name], no_ack=True).consume()
        producer.publish("hello", exchange=shout, routing_key="")
        for other in (one, two):
            other.drain_events(timeout=PATIENCE_SECONDS)
            assert drained(other) == 0
    assert found == {"one": ["hello"], "two": ["hello"]}
    with eventlog.open(path) as log:
        assert len(list(log.topic("kombu.exchange.shout").read())) == 2


def test_who_comes_back_under_a_name_is_told_nothing_old(path):
    """A worker that was killed left its queue; the next of its name does not obey commands to the dead."""
    shout = kombu.Exchange("shout", type="fanout", durable=False)
    found = []
    with connected(path) as connection:
        consumer(connection, private("one", shout), found, no_ack=True).consume()
        row = connection.transport.broker.routing
        row.declare_private("one", "a process that was killed", {"shout": 0})
        connection.Producer().publish("shut down", exchange=shout, routing_key="")
        with connected(path) as other, consumer(other, private("one", shout), found, no_ack=True):
            assert drained(other) == 0
    assert found == []


def test_events_that_nobody_listens_to_are_not_stored(connection, path):
    """Workers say every two seconds that they live; that costs nothing while nobody asks."""
    events = kombu.Exchange("celeryev", type="topic")
    with connected(path) as other:
        consumer(other, private("monitor", events, "#"), no_ack=True).consume()
    publish_event = partial(connection.Producer().publish, exchange=events, routing_key="worker.heartbeat")
    publish_event({"type": "worker-heartbeat"}, declare=[events])
    with eventlog.open(path) as log:
        assert list(log.topic("kombu.exchange.celeryev").read()) == []


# --- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "directory"),
    [
        ("eventlog:///srv/shop/log", "/srv/shop/log"),
        ("eventlog://data/log", "data/log"),
        ("eventlog:///srv/my%20shop?x=1", "/srv/my shop"),
    ],
)
def test_a_url_names_a_directory(url, directory):
    """Absolute, or below the working directory."""
    assert log_path(url) == directory


@pytest.mark.parametrize("url", ["eventlog://", "eventlog:///", "eventlog://:memory:", "redis://localhost", ""])
def test_a_url_that_names_none_is_refused(url):
    """The error shows how to write one."""
    with pytest.raises(ValueError, match=r"does not name a log for Celery. Nothing was opened. .*eventlog:///srv"):
        log_path(url)


def test_without_celery_the_error_names_the_extra(monkeypatch):
    """It is an ImportError too, as Python's own."""
    for name in [name for name in sys.modules if name.startswith("eventlog.frameworks.celery")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "celery", None)
    with pytest.raises(eventlog.MissingLibrary, match=r'pip install "eventlog\[celery\]"') as caught:
        __import__("eventlog.frameworks.celery")
    assert caught.value.extra == "celery"
