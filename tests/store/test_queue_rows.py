"""The rows of queues: as they were written, damaged, restored and repaired."""

from __future__ import annotations

import random
from pathlib import Path

import msgpack
import pytest

import eventlog
from eventlog.backend.queues import QueueOptions, StoredQueue
from eventlog.errors import CorruptBatch, EventLogError, FormatTooNew
from eventlog.store.lmdb.environment import QUEUES
from eventlog.store.repair.rows import is_row
from eventlog.store.rows import queues as rows
from tests.clients.queues import accept_all, counts, values

GOLDEN = Path(__file__).parent.parent / "golden" / "queue-rows.msgpack"
_MEMBER = bytes(range(16))


def written() -> list[tuple[bytes, bytes]]:
    """A row of each kind, as it is written now."""
    options = QueueOptions(5, "dlq.mailers", (1000, 300_000), 1, 30_000)
    queue = StoredQueue("mailers", 7, options, is_paused=False, created_ms=1_700_000_000_000)
    return [
        (rows.queue_key("mailers"), rows.pack_queue(queue)),
        (rows.NEXT_ID, (8).to_bytes(4, "big")),
        (rows.tally_key(7), rows.Tally(1, 2, 3, 4, 5, 6, 7).pack()),
        (rows.worker_key(7, _MEMBER.hex()), rows.WorkerRow(4711, 1_700_000_000_001).pack()),
        (rows.cursor_key(7, 3, 2), rows.pack_offset(1000)),
        (rows.range_key(rows.LEASE, 7, 3, 2, 900), rows.LeaseRow(910, _MEMBER, 12, 99_000, 2, 1_700, 55).pack()),
        (rows.due_key(7, 3, 1_700_000_000_500, 2, 800), rows.DueRow(805, 1, 1_600, 56).pack()),
        (rows.range_key(rows.HELD, 7, 3, 2, 800), rows.HeldRow(1_700_000_000_500, 56).pack()),
        (rows.busy_key(7, 55), rows.pack_count(3)),
        (rows.waiting_key(7, 55, 3, 2, 700), b""),
    ]


def test_rows_are_written_as_ever() -> None:
    """The bytes of each kind of row are those of the file, and are rows."""
    stored = [tuple(pair) for pair in msgpack.unpackb(GOLDEN.read_bytes())]
    assert written() == stored
    assert all(is_row(QUEUES, *pair) for pair in stored)


def test_rows_are_read_as_they_were_written() -> None:
    """Each field comes back."""
    stored = dict(written())
    queue = rows.unpack_queue("mailers", stored[b"qmailers"])
    assert (queue.id, queue.options.per_key, queue.options.backoff_ms) == (7, 1, (1000, 300_000))
    assert rows.Tally.unpack(stored[rows.tally_key(7)]) == (1, 2, 3, 4, 5, 6, 7)
    lease_key = rows.range_key(rows.LEASE, 7, 3, 2, 900)
    assert rows.split_range(lease_key) == (7, 3, 2, 900)
    assert rows.LeaseRow.unpack(stored[lease_key]).due == rows.DueRow(910, 2, 1_700, 55)
    assert rows.split_due(rows.due_key(7, 3, 1, 2, 800)) == (7, 3, 1, 2, 800)


@pytest.mark.parametrize("place", range(10))
def test_what_is_no_row_is_refused(place: int, rng: random.Random) -> None:
    """A row that is cut short or too long, of any kind, and a key that is none."""
    key, data = written()[place]
    assert not is_row(QUEUES, key, data + b"\0\0")
    assert not is_row(QUEUES, b"?" + key[1:], data)
    if len(key) > 1 and key[:1] != rows.QUEUE:
        assert not is_row(QUEUES, key[:-1], data)
    if data and key[:1] not in (rows.QUEUE, rows.WORKER):
        assert not is_row(QUEUES, key, data[: rng.randrange(len(data))])
    with pytest.raises((EventLogError, ValueError)):
        rows.check_queue_row(key, b"\xc1" + data)


def test_a_newer_row_is_too_new() -> None:
    """As everywhere."""
    fields = msgpack.unpackb(dict(written())[b"qmailers"])
    with pytest.raises(FormatTooNew):
        rows.unpack_queue("mailers", msgpack.packb({**fields, "version": 2}))
    with pytest.raises(CorruptBatch):
        rows.unpack_queue("mailers", msgpack.packb({**fields, "attempts": 0}))


@pytest.fixture
def used(path: Path) -> Path:
    """A log with a queue in which jobs are leased, due, waiting and done; its worker is gone."""
    with eventlog.open(path) as log:
        log.topic("jobs", key=str, value=int).append_many(range(20), keys=["a", "b", "c", "a"] * 5)
        queue = log.queue("jobs", group="g", per_key=1)
        first = queue.poll(max_records=3)
        first[0].accept()
        first[1].release(delay=1000.0)
        queue.commit()
        queue.poll(max_records=2)
        assert counts(log, "g") == {"leased": 2, "delayed": 1, "waiting": 16}
        queue._worker.drop()
        queue._refusal = RuntimeError
    return path


def test_a_backup_holds_queues(used: Path, tmp_path: Path) -> None:
    """The restored log hands out what was not done."""
    with eventlog.open(used) as log:
        log.backup(tmp_path / "backup")
        log.compact(tmp_path / "copy")
    assert eventlog.restore(tmp_path / "backup", tmp_path / "new").problems == ()
    for place in ("new", "copy"):
        with eventlog.open(tmp_path / place) as log:
            with log.queue("jobs", group="g") as queue:
                assert sorted(accept_all(queue)) == [n for n in range(20) if n % 4 != 1 and n != 0]
            assert log.verify().problems == ()


def test_a_sound_log_is_repaired_with_its_queues(used: Path, tmp_path: Path) -> None:
    """Nothing is done twice."""
    report = eventlog.repair(used, tmp_path / "new")
    assert report.problems == ()
    with eventlog.open(tmp_path / "new") as log, log.queue("jobs", group="g") as queue:
        assert 0 not in accept_all(queue)


def test_a_damaged_log_begins_again_at_the_first_job_that_is_not_done(used: Path, tmp_path: Path) -> None:
    """Whatever is damaged: some jobs are done twice, and none is left out."""
    with eventlog.open(used) as log:
        log.topic("big", value=bytes).append(b"x" * 100_000)
    data = bytearray((used / "data.mdb").read_bytes())
    at = data.index(b"x" * 5000) + 2000
    data[at] ^= 1
    (used / "data.mdb").write_bytes(data)
    report = eventlog.repair(used, tmp_path / "new")
    assert report.problems == ()
    assert any("queues begin again" in note for note in report.notes)
    with eventlog.open(tmp_path / "new") as log, log.queue("jobs", group="g") as queue:
        assert sorted(accept_all(queue)) == list(range(1, 20))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda put, drop: drop(rows.HELD),
        lambda put, drop: drop(rows.BUSY),
        lambda put, drop: drop(rows.TALLY),
        lambda put, drop: drop(rows.CURSOR),
        lambda put, drop: drop(rows.WORKER),
        lambda put, drop: drop(rows.WAITING),
        lambda put, drop: put(rows.tally_key(9), rows.Tally().pack()),
        lambda put, drop: put(rows.cursor_key(1, 77, 0), rows.pack_offset(1)),
    ],
)
def test_rows_that_do_not_agree_are_found(used: Path, spoil) -> None:
    """By `verify`; nothing else looks at all of them."""
    with eventlog.open(used) as log:
        environment = log._store.environment
        assert environment.has_later(QUEUES)
        transaction = environment.begin_writing()
        table = environment.table(QUEUES)

        def put(key: bytes, value: bytes) -> None:
            transaction.put(key, environment.seal(key, value), db=table)

        def drop(kind: bytes) -> None:
            with transaction.cursor(db=table) as cursor:
                assert cursor.set_range(kind)
                assert cursor.key()[:1] == kind
                cursor.delete()

        spoil(put, drop)
        environment.commit(transaction)
        assert any("queue" in line for line in log.verify().problems)


def test_many_random_steps_leave_the_rows_in_order(path: Path, rng: random.Random) -> None:
    """Three workers do anything that they may, by key or not; each job is done once, and `verify` is content."""
    for per_key in (None, 1, 2):
        with eventlog.open(path / str(per_key)) as log:
            topic = log.topic("jobs", key=str, value=int, partitions=2)
            total = 0
            open_workers = [log.queue("jobs", group="g", per_key=per_key, attempts=50, timeout=1e6) for _ in range(3)]
            held: dict[int, list] = {0: [], 1: [], 2: []}
            done: list[int] = []
            for step in range(150):
                if step % 5 == 0:
                    count = rng.randrange(1, 12)
                    topic.append_many(range(total, total + count), keys=[rng.choice("abcd") for _ in range(count)])
                    total += count
                number = rng.randrange(3)
                worker = open_workers[number]
                held[number] += worker.poll(max_records=rng.choice([1, 3, 20]))
                rng.shuffle(held[number])
                for job in held[number][: rng.randrange(6)]:
                    held[number].remove(job)
                    if rng.random() < 0.2:
                        job.release()
                    else:
                        job.accept()
                        done.append(job.value)
                if rng.random() < 0.05:
                    worker.close() if rng.random() < 0.5 else (worker.commit(), worker._worker.drop())
                    held[number] = []
                    open_workers[number] = log.queue("jobs", group="g")
                if step % 30 == 29:
                    counts(log, "g")
            for worker in open_workers:
                worker.commit()
                worker.close()
            with log.queue("jobs", group="g") as last:
                done += accept_all(last)
            assert counts(log, "g") == {}
            assert sorted(done) == list(range(total))
            assert values(log.topic("dlq.g").read()) == []


def test_acknowledgements_can_have_a_commit_to_themselves() -> None:
    """What a transaction stores with its records is a whole request, too: checked, then written."""
    with eventlog.open(":memory:") as log:
        log.topic("jobs", value=int).append(1)
        with log.queue("jobs", group="g") as queue, log.transaction() as tx:
            tx.accept(queue.poll()[0])
            [piece] = tx._jobs.pieces()
            log._store.committer.run(log._store.piece_of(piece))
            assert counts(log, "g") == {}
            tx.abort()
