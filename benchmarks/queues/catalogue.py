"""The list of queues, in the order of the tables; ours is the first."""

from __future__ import annotations

from benchmarks.queues.peer import QueuePeer
from benchmarks.queues.peers import honker_sqlite, ours, redis_queues, small_queues, sqlite_by_hand

OURS = ours.PEER.name

PEERS: tuple[QueuePeer, ...] = (
    ours.PEER,
    sqlite_by_hand.PEER,
    honker_sqlite.SYNCED,
    honker_sqlite.STREAM,
    small_queues.LITEQUEUE,
    small_queues.PERSIST_QUEUE,
    small_queues.HUEY,
    redis_queues.CELERY,
    redis_queues.RQ,
    honker_sqlite.PEER,
    redis_queues.CELERY_AS_IT_COMES,
    redis_queues.RQ_AS_IT_COMES,
)


def peer_named(name: str) -> QueuePeer:
    """The queue of that name."""
    return next(peer for peer in PEERS if peer.name == name)
