"""
The list of peers, in the order of the tables where figures do not decide; ours is the first.

A new peer is a module in `peers/` and a line here.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.compare.peer import Peer
from benchmarks.compare.peers import (
    aiokafka_mock,
    confluent_mock,
    disk_cache,
    event_sourcing,
    lite_queue,
    nats_jetstream,
    ours,
    persist_queue,
    plain_file,
    raw_lmdb,
    raw_sqlite,
    redis_streams,
    rocks,
)

OURS = ours.PEER.name

PEERS: tuple[Peer, ...] = (
    ours.PEER,
    plain_file.PEER,
    raw_lmdb.PEER,
    raw_sqlite.PEER,
    rocks.PEER,
    redis_streams.PEER,
    nats_jetstream.PEER,
    confluent_mock.PEER,
    aiokafka_mock.PEER,
    persist_queue.PEER,
    lite_queue.PEER,
    disk_cache.PEER,
    event_sourcing.PEER,
)


def peer_named(name: str) -> Peer:
    """The peer of that name."""
    return next(peer for peer in PEERS if peer.name == name)


def choose_peers(words: Sequence[str]) -> list[Peer]:
    """The peers that have one of the words in their names, ours always among them; all without words."""
    lowered = [word.lower() for word in words]
    return [
        peer for peer in PEERS if not words or peer.name == OURS or any(word in peer.name.lower() for word in lowered)
    ]
