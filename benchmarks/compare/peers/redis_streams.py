"""
Redis streams: redis-server on the loopback, its append-only file, redis-py with hiredis.

`appendonly yes`, no snapshots, no rewriting; `appendfsync everysec`, and `always` for durable appends, where the
server makes one sync for all clients that wait. `XADD` in pipelines of 1,000, both for single records and in bulk; one
`XADD` for each durable record, a connection for each thread. `XREAD COUNT 1000` gives pairs of an id and a dict; a
reader that waits is in `XREAD BLOCK`. The server's CPU and memory are counted; it keeps all records in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import attrs

from benchmarks.compare.peer import TIMEOUT_S, TOPIC, Contents, Peer, Place, Wait
from benchmarks.compare.servers import HOST, free_port, running

_PIPELINE_RECORDS = 1_000
_READ_RECORDS = 1_000


@attrs.define
class _Store:
    client: Any
    pipeline: Any
    open_count: int = 0

    def send(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        add = self.pipeline.xadd
        for value, key in zip(values, keys, strict=True):
            add(TOPIC, {b"k": key, b"v": value})
            self.open_count += 1
            if self.open_count == _PIPELINE_RECORDS:
                self.flush()

    def flush(self) -> None:
        self.pipeline.execute()
        self.open_count = 0

    def send_batch(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        self.send(values, keys)
        self.flush()

    def append(self, value: bytes, key: bytes) -> None:
        self.client.xadd(TOPIC, {b"k": key, b"v": value})

    def objects(self) -> Iterator[Sequence[Any]]:
        last_id: Any = b"0"
        while found := self.client.xread({TOPIC: last_id}, count=_READ_RECORDS):
            entries = _entries(found)
            yield entries
            last_id = entries[-1][0]

    def value_of(self, record: Any) -> bytes:
        value: bytes = record[1][b"v"]
        return value

    def count(self) -> int:
        return int(self.client.xlen(TOPIC))

    def contents(self) -> Contents:
        first, last = self.client.xrange(TOPIC, count=1), self.client.xrevrange(TOPIC, count=1)
        return Contents(
            self.count(), self.value_of(first[0]) if first else None, self.value_of(last[0]) if last else None
        )

    @contextmanager
    def tail(self) -> Iterator[Wait]:
        last_id: Any = b"0"

        def wait() -> Sequence[bytes]:
            nonlocal last_id
            found = self.client.xread({TOPIC: last_id}, count=_READ_RECORDS, block=int(TIMEOUT_S * 1000))
            if not found:
                return []
            entries = _entries(found)
            last_id = entries[-1][0]
            return [fields[b"v"] for _, fields in entries]

        yield wait


def _entries(found: Any) -> list[Any]:
    """The entries of the one stream that was asked for: redis-py answers with pairs, or with a dict of RESP3."""
    entries: list[Any] = next(iter(found.values()))[0] if isinstance(found, dict) else found[0][1]
    return entries


@contextmanager
def _serve(place: Place) -> Iterator[Place]:
    port = free_port()
    options = {
        "port": port,
        "bind": HOST,
        "dir": place.directory,
        "appendonly": "yes",
        "appendfsync": "always" if place.is_durable else "everysec",
        "save": "",
        "auto-aof-rewrite-percentage": 0,
    }
    command = ["redis-server", *(str(word) for name, value in options.items() for word in (f"--{name}", value))]
    with running(command, port=port, directory=place.directory) as process_id:
        yield attrs.evolve(place, address=str(port), process_id=process_id)


@contextmanager
def _open(place: Place) -> Iterator[_Store]:
    import redis
    from redis.backoff import ConstantBackoff
    from redis.retry import Retry

    loading = Retry(ConstantBackoff(0.001), 20_000)  # the port answers before the file is read
    with closing(
        redis.Redis(host=HOST, port=int(place.address), retry=loading, retry_on_error=[redis.BusyLoadingError])
    ) as client:
        client.ping()
        yield _Store(client, client.pipeline(transaction=False))


PEER = Peer(
    name="redis streams",
    notes=__doc__,
    keeps_in="server, page cache",
    open=_open,
    serve=_serve,
    packages={"redis": "redis", "hiredis": "hiredis"},
    programs={"redis-server": "redis-server"},
    lacks={"consume_columns": "an entry is a record"},
)
