"""`Producer.send` in C is seen, called, held and collected as the method in Python is."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import pydoc
import sys
import typing
import weakref
from functools import partial
from typing import Any
from unittest import mock

import pytest

import eventlog
from eventlog.clients.delivery import EmbeddedDelivery
from eventlog.clients.producer import producer as module
from eventlog.clients.producer.batch import PartitionBuffer, ProducerBatch
from eventlog.clients.producer.producer import EmbeddedProducer
from tests.clients.helpers import values
from tests.native.accelerators import compiled

SEND: Any = EmbeddedProducer.send


def test_the_accelerator_is_in_use() -> None:
    """Else nothing here would test it."""
    assert type(SEND) is compiled.SendMethod
    assert inspect.unwrap(SEND).__code__.co_filename == module.__file__


def test_it_tells_the_signature_and_the_words_of_the_function() -> None:
    """To `help()`, to `inspect`, to type hints, and to whoever asks for an attribute."""
    function = SEND.__wrapped__
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "__code__", "__kwdefaults__"):
        assert getattr(SEND, name) == getattr(function, name)
    assert inspect.signature(SEND) == inspect.signature(function)
    assert inspect.getfullargspec(SEND) == inspect.getfullargspec(function)
    assert typing.get_type_hints(SEND, vars(module))["return"] is eventlog.Delivery
    assert pydoc.render_doc(EmbeddedProducer).count("Send a record, and return at once with the promise") == 1
    assert inspect.isfunction(SEND)
    assert inspect.isroutine(SEND)
    assert inspect.getsource(SEND).lstrip().startswith("@accelerated_method(")
    assert "send" in dict(inspect.getmembers(EmbeddedProducer, inspect.isfunction))
    with pytest.raises(AttributeError, match="nothing"):
        _ = SEND.nothing


def test_a_bound_one_is_a_method(log: eventlog.EventLog) -> None:
    """Of its producer, with the signature less self; also by way of a partial, `super()` and another name."""

    class Loud(EmbeddedProducer):
        def send(self, *arguments: Any, **options: Any) -> Any:
            return super().send(*arguments, **options)

    topic = log.topic("orders")
    with log.producer() as producer:
        assert inspect.ismethod(producer.send)
        assert producer.send.__self__ is producer
        assert list(inspect.signature(producer.send).parameters)[:2] == ["topic", "value"]
        assert producer.send == producer.send
        producer.__class__ = Loud
        for send in (producer.send, partial(producer.send, topic), partial(SEND, producer), super(Loud, producer).send):
            arguments = () if isinstance(send, partial) and send.args == (topic,) else (topic,)
            assert send(*arguments, b"tea", key=b"k").result().partition == 0
        producer.send = lambda *_: "shadowed"  # type: ignore[method-assign, assignment]
        assert producer.send(topic, b"x") == "shadowed"
    assert values(topic.read()) == [b"tea"] * 4


def test_it_can_be_stood_in_for() -> None:
    """By `unittest.mock`, which checks the arguments of calls, and passes on the producer."""
    stand_in = mock.create_autospec(EmbeddedProducer, instance=True)
    stand_in.send("orders", b"tea", key=b"k")
    for bad in ((), ("orders", b"tea", b"k")):
        with pytest.raises(TypeError):
            stand_in.send(*bad)
    producer: Any = object.__new__(EmbeddedProducer)
    with mock.patch.object(EmbeddedProducer, "send", autospec=True) as send:
        producer.send("orders", b"tea")
    send.assert_called_once_with(producer, "orders", b"tea")
    assert EmbeddedProducer.send is SEND


def test_it_can_be_referred_to_weakly_copied_and_pickled() -> None:
    """As any function can; registries of callbacks keep weak methods."""
    producer: Any = object.__new__(EmbeddedProducer)
    method = weakref.WeakMethod(producer.send)
    assert method() == producer.send
    del producer
    assert method() is None
    assert copy.copy(SEND) is copy.deepcopy(SEND) is pickle.loads(pickle.dumps(SEND)) is SEND
    assert weakref.ref(SEND)() is SEND
    assert " Producer.send" in repr(SEND)


def test_what_is_no_producer_is_refused_in_the_words_of_the_function() -> None:
    """And a producer that was never made, or only half, crashes nobody."""
    for bad in (None, 5, object(), object.__new__(EmbeddedProducer)):
        outcomes = []
        for send in (SEND, SEND.__wrapped__):
            with pytest.raises((AttributeError, TypeError)) as error:
                send(bad, "orders", b"x", key=b"k")
            outcomes.append((error.type, str(error.value)))
        assert outcomes[0] == outcomes[1]
    for routes in (5, None, [], {"orders": 5}, {"orders": None}):
        half: Any = object.__new__(EmbeddedProducer)
        half._routes = routes
        outcomes = []
        for send in (SEND, SEND.__wrapped__):
            with pytest.raises((AttributeError, TypeError)) as error:
                send(half, "orders", b"x")
            outcomes.append((error.type, str(error.value)))
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("slot", [one for one in module.SendPath.__slots__ if not one.startswith("raw_")])
def test_a_route_that_lacks_a_slot_crashes_nobody(log: eventlog.EventLog, slot: str) -> None:
    """Nobody takes one away; a crash would be the worst answer to it."""
    topic = log.topic("orders", partitions=2, key=str, value="json")
    with log.producer() as producer:
        producer.send(topic, 1, key="a").result()
        delattr(producer._routes[topic], slot)
        for key in ("a", None):
            try:
                producer.send(topic, 2, key=key).result()
            except (AttributeError, ValueError, IndexError, SystemError):
                continue
    assert set(values(topic.read())) <= {1, 2}


def test_a_lane_or_batch_that_lacks_a_slot_crashes_nobody(log: eventlog.EventLog) -> None:
    """The Python function says that it is not there."""
    topic = log.topic("orders")
    producer = log.producer()
    producer.send(topic, b"x").result()
    (buffer,) = producer._routes[topic].buffers
    kept = buffer.batch
    del buffer.batch
    with pytest.raises(AttributeError, match="batch"):
        producer.send(topic, b"x")
    buffer.batch = kept
    producer.send(topic, b"x")
    for name in ("rows", "limit"):
        batch = buffer.batch
        kept = getattr(batch, name)
        delattr(batch, name)
        with pytest.raises(AttributeError, match=name):
            producer.send(topic, b"x")
        setattr(batch, name, kept)
    producer.close()


def test_it_is_made_for_classes_with_slots_alone() -> None:
    """Nothing is ever read where no slot is."""
    classes = {
        "producer": EmbeddedProducer, "route": module.SendPath, "buffer": PartitionBuffer, "batch": ProducerBatch,
        "delivery": EmbeddedDelivery,
    }  # fmt: skip
    compiled.SendMethod(SEND.__wrapped__, **classes)
    for name in classes:
        for bad in (object, int, 5, None):
            with pytest.raises((TypeError, AttributeError)):
                compiled.SendMethod(SEND.__wrapped__, **classes | {name: bad})
    with pytest.raises(TypeError):
        compiled.SendMethod(SEND.__wrapped__)
    with pytest.raises(TypeError):

        class Derived(compiled.SendMethod):
            pass


def test_it_is_collected_with_its_classes() -> None:
    """A circle of a class, its method and its function is garbage like any other."""

    class Own:
        __slots__ = ("__weakref__", "_routes")

        def send(self) -> None:
            """Refers to its class."""
            assert __class__  # type: ignore[name-defined]

    Own.send = compiled.SendMethod(  # type: ignore[method-assign]
        Own.send,
        producer=Own,
        route=module.SendPath,
        buffer=PartitionBuffer,
        batch=ProducerBatch,
        delivery=EmbeddedDelivery,
    )
    gone = weakref.ref(Own)
    Own.send(Own())  # type: ignore[call-arg]
    del Own
    gc.collect()
    assert gone() is None


def test_a_circle_through_a_callback_ends_with_its_call(log: eventlog.EventLog) -> None:
    """The batch lets go of its callbacks then, and with them of a delivery that the collector does not know."""
    topic = log.topic("circle")
    with log.producer(linger=3600.0) as producer:
        producer.send(topic, b"x")  # it opens the batch, which is work for Python
        delivery = producer.send(topic, b"x")
        assert not gc.is_tracked(delivery)
        delivery.add_done_callback(lambda _, kept=delivery: None)  # type: ignore[misc]
        assert producer.send(topic, b"y").result().offset == 2
        del delivery
        gc.collect()
        batches = [one for one in gc.get_objects() if type(one) is ProducerBatch and one.place == "circle[0]"]
        assert not [one for one in batches if one.is_done]


def test_a_delivery_of_its_making_is_a_tuple_like_any_other(log: eventlog.EventLog) -> None:
    """It has the hash and the equals of its pair, so that sets of them are fast; the collector leaves it alone."""
    topic = log.topic("orders")
    with log.producer(linger=3600.0) as producer:
        deliveries = [producer.send(topic, b"x") for _ in range(200)]
        slow = SEND.__wrapped__(producer, topic, b"x")
    assert type(deliveries[0]) is type(slow) is EmbeddedDelivery
    for delivery in deliveries:
        again = EmbeddedDelivery(tuple(delivery))
        assert (hash(again), again) == (hash(delivery), delivery)
    assert not gc.is_tracked(deliveries[-1])  # it would walk over all that a program keeps, again and again
    assert len(set(map(hash, deliveries))) == 200
    batch = deliveries[0][0]
    gc.collect()
    held = sys.getrefcount(batch)
    assert 201 < held < 220, "each delivery holds its batch once"
    del again, deliveries[:100]
    assert held - sys.getrefcount(batch) == 101, "each delivery holds its batch once"
    assert deliveries[0].__class__ is EmbeddedDelivery
