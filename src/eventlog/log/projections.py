"""The projections of a log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eventlog.clients.projection.projection import MAX_FOLDED_BYTES, MAX_FOLDED_RECORDS, Projection, open_projection
from eventlog.clients.reading.log_reader import check_topics
from eventlog.clients.topic.topic import Topic
from eventlog.log.part import LogPart
from eventlog.options import check_int, check_projection_name


class LogProjections(LogPart):
    """Is what a log folds."""

    def projection(
        self,
        name: str,
        function: object = None,
        *,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        key: Any = None,
        value: Any = None,
        max_records: int = MAX_FOLDED_RECORDS,
        max_bytes: int = MAX_FOLDED_BYTES,
    ) -> Projection:
        """
        A projection: a function that folds the records of the log into a state.

        It is made when the log has none of that name, at once. What it promises is described at `Projection`.

        Args:
            name: 1 to 249 bytes of printable characters. No name of a state: both may have the same.
            function: is called as `function(state, record)` for each record in the order of the log; or an object
                with `apply(state, record)`, or a class of such, which is instantiated now. None (default) opens a
                projection that is there, to read it and to wait for it.
            topics: folds the records of these alone; they need not be there yet. None (default) folds all.
            key: the type of the state's keys, as for `Transaction.state`.
            value: the codec of its values, likewise.
            max_records: the most records of one transaction (default 1,000,000). One ends also after a second, and
                at the end of the log.
            max_bytes: a transaction ends when the rows that it changes take so much memory (default 32 MiB).

        Raises:
            UnknownProjection: if there is none of that name, and no function. Nothing was stored.
            ValueError, TypeError, InvalidTopicName: for what cannot be. Nothing was stored.
        """
        self._check_open()
        checked = check_projection_name(name)
        names = check_topics(topics)
        check_int("max_records", max_records, least=1)
        check_int("max_bytes", max_bytes, least=1)
        chosen = None if names is None else tuple(sorted(set(names)))
        options = None
        if function is not None:
            from eventlog.clients.projection.folder import (
                FoldOptions,
                fold_of,
            )  # with the first: `import eventlog` is fast

            options = FoldOptions(fold_of(function), chosen, max_records, max_bytes)
        return open_projection(self._store, self._topics.by_id, checked, options, key, value, check=self._check_open)

    def projections(self) -> list[str]:
        """The names of all projections, sorted."""
        self._check_open()
        return [row.name for row in self._store.projections()]

    def delete_projection(self, name: str) -> None:
        """
        Deletes a projection with its state.

        Whoever runs, reads or waits for it gets `UnknownProjection`.

        Raises:
            UnknownProjection: if there is none. Nothing was deleted.
        """
        self._check_open()
        self._store.delete_projection(check_projection_name(name))
