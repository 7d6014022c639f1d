"""
The transport of kombu: a connection is a log, and what Celery's event loop watches are the descriptors of its queues.

Nothing polls: a wait ends with a commit that concerns it, and at the latest when a delayed message is due.
"""

from __future__ import annotations

import os
import selectors
from time import monotonic
from typing import Any, Final

from kombu.transport import virtual

import eventlog
from eventlog import LogClosed, StorageError, UnknownGroup, UnknownTopic
from eventlog.frameworks.celery.broker import Broker
from eventlog.frameworks.celery.channel import Channel as LogChannel
from eventlog.frameworks.celery.options import broker_options
from eventlog.frameworks.celery.urls import log_path
from eventlog.frameworks.celery.wakeup import Wakeup

_LOOK_SECONDS: Final = 0.1
_TURN_SECONDS: Final = 0.01
"""How long messages are delivered before the loop has its turn: a task of a `solo` worker runs inside of a delivery."""


class Transport(virtual.Transport):
    """A connection to a log."""

    Channel = LogChannel
    can_parse_url = True
    driver_type = "eventlog"
    driver_name = "eventlog"
    connection_errors = (*virtual.Transport.connection_errors, StorageError, LogClosed)
    channel_errors = (*virtual.Transport.channel_errors, UnknownGroup, UnknownTopic)
    implements = virtual.Transport.implements.extend(
        asynchronous=True, exchange_type=frozenset(["direct", "topic", "fanout"])
    )

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)
        self._path = log_path(client.hostname)
        self._broker: Broker | None = None
        self._wakeup: Wakeup | None = None
        self._loop: Any = None
        self._loop_process = 0
        self._loop_timer: Any = None
        self._watched: dict[int, Any] = {}

    def driver_version(self) -> str:
        """The version of eventlog."""
        return eventlog.__version__

    def as_uri(self, uri: str, include_password: bool = False, mask: str = "**") -> str:
        """The URL, in which nothing is secret."""
        return uri

    # -- life ------------------------------------------------------------------------------------------------------

    @property
    def broker(self) -> Broker:
        """The log, which is opened when it is needed."""
        if self._broker is None:
            self._broker = Broker(self._path, broker_options(self.client.transport_options))
        return self._broker

    def establish_connection(self) -> Any:
        """Open the log."""
        self._wakeup = Wakeup()
        assert self.broker is not None
        return super().establish_connection()

    def close_connection(self, connection: Any) -> None:
        """Store what has become of messages, give back all others, and close the log."""
        self.unregister_from_event_loop(connection, self._loop)
        super().close_connection(connection)
        if self._broker is not None:
            self._broker.close()
            self._broker = None
        if self._wakeup is not None:
            self._wakeup.close()
            self._wakeup = None

    def wake(self) -> None:
        """Have the thread that drains look again; any thread may call it."""
        if (wakeup := self._wakeup) is not None:
            wakeup.wake()

    # -- draining while somebody waits ------------------------------------------------------------------------------

    def drain_events(self, connection: Any, timeout: float | None = None, **options: Any) -> None:
        """
        Deliver one message.

        Raises:
            TimeoutError: there was none in time.
        """
        until_s = None if timeout is None else monotonic() + timeout
        while True:
            if self._wakeup is not None:
                self._wakeup.clear()
            for channel in self._in_turn():
                if not channel.has_messages:
                    channel.fill()
                if channel.deliver():
                    return
            left_s = _LOOK_SECONDS if until_s is None else until_s - monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._wait(min(left_s, _LOOK_SECONDS))

    def _in_turn(self) -> list[LogChannel]:
        """The channels that have something to do; who was first is last."""
        channels: list[LogChannel] = [channel for channel in self.channels if channel.is_active]
        if len(channels) > 1:
            self.channels.remove(channels[0])
            self.channels.append(channels[0])
        return channels

    def _wait(self, seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            for descriptor in self._descriptors():
                selector.register(descriptor, selectors.EVENT_READ)
            for channel in self.channels:
                for one in channel.watched():
                    seconds = min(seconds, one.max_wait())
            selector.select(seconds)

    def _descriptors(self) -> dict[int, Any]:
        """What to watch, by its number."""
        found: dict[int, Any] = {}
        if self._wakeup is not None:
            found[self._wakeup.fileno()] = self._wakeup
        for channel in self.channels:
            if channel.is_active:
                for one in channel.watched():
                    found[one.fileno()] = one
        return found

    # -- draining by an event loop ---------------------------------------------------------------------------------

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Have a loop deliver messages, whenever there may be some."""
        self._loop, self._loop_process = loop, os.getpid()
        self._loop_timer = loop.call_repeatedly(_LOOK_SECONDS, self._look)
        self.wake()
        self._watch()

    def unregister_from_event_loop(self, connection: Any, loop: Any) -> None:
        """Leave the loop; in a child of a fork it is the parent's."""
        if self._loop is None or self._loop_process != os.getpid():
            self._loop = None
            return
        for descriptor in self._watched:
            self._loop.remove_reader(descriptor)
        self._watched.clear()
        self._loop_timer.cancel()
        self._loop = self._loop_timer = None

    def on_readable(self, *_: Any) -> None:
        """Deliver what there is."""
        self._look()

    def _look(self, *_: Any) -> None:
        if self._wakeup is None or self._loop is None:
            return
        self._wakeup.clear()
        until_s = monotonic() + _TURN_SECONDS
        try:
            for channel in self._in_turn():
                if channel.has_settled or not channel.has_messages:
                    channel.fill()
                while channel.deliver():
                    if monotonic() >= until_s:
                        break
                if channel.has_settled or channel.has_messages:
                    self.wake()
        finally:
            if self._loop is not None:
                self._watch()

    def _watch(self) -> None:
        """Watch what may bring a message, and nothing else: what nobody may take now would stay readable."""
        wanted = self._descriptors()
        for descriptor, one in self._watched.items():
            if wanted.get(descriptor) is not one:  # its number may be another's by now
                self._loop.remove_reader(descriptor)
        for descriptor, one in wanted.items():
            if self._watched.get(descriptor) is not one:
                self._loop.add_reader(descriptor, self.on_readable)
        self._watched = wanted
