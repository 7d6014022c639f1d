"""What the parts of a log have in common."""

from __future__ import annotations

from typing import Any

from eventlog.clients.topic.registry import Topics
from eventlog.clients.topic.topic import Topic
from eventlog.store.store import Store


class LogPart:
    """One subject of `EventLog`, which is put together of such parts."""

    _store: Store
    _topics: Topics

    def _check_open(self) -> None:
        """Raises `LogClosed` when the log was closed."""
        raise NotImplementedError

    def _known_topic(self, name: str) -> Topic[Any, Any]:
        """The topic of that name, with the codecs that this log was told of."""
        self._check_open()
        return self._topics.known(name)
