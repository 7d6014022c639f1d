"""Opening a projection: the checks of what a caller declares, and the creation of a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from eventlog.api.topic import Topic
from eventlog.backend import Backend
from eventlog.backend.projections import unknown_projection
from eventlog.clients.projection.projection import Projection
from eventlog.clients.reading.log_reader import check_topics
from eventlog.clients.topic_handle import TopicHandle
from eventlog.codecs import codec_for
from eventlog.options import check_int, check_projection_name

if TYPE_CHECKING:
    from eventlog.clients.projection.folder import FoldOptions


def declare_projection(
    store: Backend,
    topics_by_id: Callable[[], Mapping[int, TopicHandle]],
    name: str,
    function: object,
    *,
    topics: Iterable[str | Topic[Any, Any]] | None,
    key: Any,
    value: Any,
    max_records: int,
    max_bytes: int,
    on_out_of_range: str,
    check: Callable[[], None],
) -> Projection[Any, Any]:
    """
    The projection that a caller asked for, when each option is within its bounds.

    Raises:
        UnknownProjection, ValueError, TypeError, InvalidTopicName: as `EventLog.projection`. Nothing was stored.
    """
    checked = check_projection_name(name)
    names = check_topics(topics)
    check_int("max_records", max_records, least=1)
    check_int("max_bytes", max_bytes, least=1)
    if on_out_of_range not in ("raise", "earliest"):
        raise ValueError(
            f'on_out_of_range of a projection is "raise" or "earliest", not {on_out_of_range!r:.60}. Nothing was made. '
            'Leave it out for "raise".'
        )
    options = None
    if function is not None:
        # The first projection imports what folding needs: `import eventlog` is fast.
        from eventlog.clients.projection.folder import FoldOptions, fold_of

        chosen = None if names is None else tuple(sorted(set(names)))
        options = FoldOptions(fold_of(function), chosen, max_records, max_bytes, on_out_of_range)
    return open_projection(store, topics_by_id, checked, options, key, value, check=check)


def open_projection(
    store: Backend,
    topics_by_id: Callable[[], Mapping[int, TopicHandle]],
    name: str,
    options: FoldOptions | None,
    key: Any,
    value: Any,
    *,
    check: Callable[[], None],
) -> Projection[Any, Any]:
    """
    A projection, made when the log has none of that name and there is a function to fold it.

    Raises:
        UnknownProjection: if there is none, and no function.
        TypeError, ValueError: if `key` or `value` cannot be declared. Nothing was stored.
    """
    from eventlog.codecs.ordered import OrderedCodec

    row = store.projection(name)
    key_codec: OrderedCodec[Any] = OrderedCodec(key, topic=name, kind="projection")
    value_codec = codec_for("msgpack" if value is None else value, topic=name, role="value", kind="projection")
    if row is None:
        if options is None:
            raise unknown_projection(name)
        row = store.ensure_projection(name, options.topics, key_codec.to_stored(), value_codec.to_stored())
    return Projection(store, topics_by_id, row, options, key, value, check=check)
