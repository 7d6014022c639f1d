"""The journal sees what is done to a file, and its model of a disk allows what a power cut may leave, and no more."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests import preload
from tests.power import images
from tests.power.claims import Claim, telling
from tests.power.images import Choice, image_of
from tests.power.journal import (
    ENTERED,
    FILE,
    RESIZE,
    RESIZED,
    SECTOR_BYTES,
    SYNC,
    SYNCED,
    WRITE,
    WRITTEN,
    Disk,
    Frame,
    frames_of,
)

A, B, C = (letter * SECTOR_BYTES for letter in (b"a", b"b", b"c"))
NOTHING = bytes(SECTOR_BYTES)


def write(number: int, place: int, data: bytes, *, is_synced: bool = False) -> Frame:
    """A write begins; `place` counts sectors."""
    return Frame(WRITE, int(is_synced), number, place * SECTOR_BYTES, data)


def end(number: int, kind: int = WRITTEN) -> Frame:
    """A call ends well."""
    return Frame(kind, 0, number, 0, b"")


def sync(number: int) -> Frame:
    """A sync begins."""
    return Frame(SYNC, 0, number, 0, b"")


def disk_after(*frames: Frame) -> Disk:
    """A disk that has seen these."""
    disk = Disk()
    for frame in frames:
        disk.play(frame)
    return disk


def all_images(disk: Disk, count: int = 300) -> set[bytes]:
    """The images of so many choices."""
    chance = random.Random(1)
    return {image_of(disk, Choice.drawn(chance)) for _ in range(count)}


# -- the model of the disk -------------------------------------------------------------------------------------


def test_a_write_before_a_sync_is_on_the_disk_after_it() -> None:
    """Until the sync has returned it may be there or not."""
    frames = [write(1, 0, A), end(1), sync(2), end(2, SYNCED)]
    assert all_images(disk_after(*frames[:3])) == {b"", A, NOTHING}
    assert all_images(disk_after(*frames)) == {A}


def test_a_sync_speaks_for_no_write_that_ends_after_it_began() -> None:
    """Another thread may write meanwhile: nobody knows whether the sync saw that."""
    disk = disk_after(write(1, 0, A), sync(2), end(1), write(3, 1, B), end(3), end(2, SYNCED))
    assert [pending.number for pending in disk.pending] == [1, 3]
    disk = disk_after(write(1, 0, A), end(1), sync(2), write(3, 1, B), end(3), end(2, SYNCED))
    assert all_images(disk) == {A, A + B, A + NOTHING}


def test_a_sync_that_fails_keeps_nothing() -> None:
    """What it has written may be there or not."""
    failed = Frame(SYNCED, 0, 2, -1, b"")
    assert all_images(disk_after(write(1, 0, A), end(1), sync(2), failed)) == {b"", A, NOTHING}


def test_a_synced_write_keeps_itself_alone() -> None:
    """What was written before it and elsewhere may still be lost."""
    disk = disk_after(write(1, 1, A), end(1), write(2, 0, B, is_synced=True), end(2))
    assert all_images(disk) == {B, B + A, B + NOTHING}


def test_a_sector_holds_one_version_of_itself_and_never_an_older_one() -> None:
    """Either of two writes may be the one that is there; what came before a sync is gone."""
    disk = disk_after(
        *(write(1, 0, C + C), end(1), sync(2), end(2, SYNCED)),
        *(write(3, 0, A), end(3), write(4, 0, B), end(4)),
    )
    assert all_images(disk) == {C + C, A + C, B + C}
    disk.play(write(5, 0, b"x", is_synced=True))
    disk.play(end(5))
    assert all_images(disk) == {b"x" + B[1:] + C}, "the sector had B in memory when it was written"


def test_a_write_is_torn_between_sectors_and_its_size_is_any() -> None:
    """Every sector is there or not, whatever its neighbours are; lost growth is a short file, or zeros."""
    found = all_images(disk_after(write(1, 0, A + B + C)), 2000)
    parts = itertools.product((A, NOTHING), (B, NOTHING), (C, NOTHING))
    whole = {b"".join(part) for part in parts}
    assert found >= whole
    assert {len(image) for image in found} == {0, SECTOR_BYTES, 2 * SECTOR_BYTES, 3 * SECTOR_BYTES}
    assert all(image in {one[: len(image)] for one in whole} for image in found)


@pytest.mark.parametrize("seed", range(20))
def test_images_hold_only_what_was_written_since_the_last_sync(seed: int) -> None:
    """For any history: each sector is the durable one, or as one of the later writes left it."""
    chance = random.Random(seed)
    disk = Disk()
    for frame in _history(chance):
        disk.play(frame)
        allowed = _allowed(disk)
        for _ in range(3):
            image = image_of(disk, Choice.drawn(chance))
            assert disk.durable_bytes <= len(image) <= disk.seen_bytes
            sectors = [image[at : at + SECTOR_BYTES] for at in range(0, len(image), SECTOR_BYTES)]
            wrong = [place for place, sector in enumerate(sectors) if sector not in allowed[place]]
            assert not wrong, f"sectors {wrong} were never like this"
    assert image_of(disk, Choice("all", "natural", 0)) == bytes(disk.seen[: disk.seen_bytes])


def _history(chance: random.Random) -> Iterable[Frame]:
    for number in range(1, 40):
        if chance.random() < 0.2:
            yield sync(number)
            yield end(number, SYNCED)
        else:
            data = chance.randbytes(1) * (SECTOR_BYTES * chance.randint(1, 4))
            yield write(number, chance.randrange(10), data, is_synced=chance.random() < 0.2)
            yield end(number)


def _allowed(disk: Disk) -> list[set[bytes]]:
    count = len(disk.seen) // SECTOR_BYTES
    durable = bytes(disk.durable).ljust(len(disk.seen), b"\0")
    allowed = [{durable[at * SECTOR_BYTES : (at + 1) * SECTOR_BYTES]} for at in range(count)]
    for pending in disk.pending:
        for index in range(pending.sector_count):
            allowed[pending.first_sector + index].add(pending.sector(index))
    return allowed


def test_a_file_that_was_there_is_durable() -> None:
    """A journal may begin with a file; one that is emptied begins anew."""
    disk = disk_after(Frame(FILE, 0, 0, 0, A + b"end"))
    assert all_images(disk) == {A + b"end"}
    disk.play(Frame(RESIZE, 0, 1, 0, b""))
    disk.play(end(1, RESIZED))
    assert all_images(disk) == {b""}


def test_a_choice_is_repeated_by_its_text() -> None:
    """What a finding prints makes the same image again."""
    disk = disk_after(*(write(number, number, A + B) for number in range(9)))
    chance = random.Random(3)
    for _ in range(50):
        choice = Choice.drawn(chance)
        assert image_of(disk, Choice.parse(str(choice))) == image_of(disk, choice)


def test_every_way_leaves_an_image_when_nothing_is_pending() -> None:
    """Most cuts are between two writes."""
    assert {image_of(Disk(), Choice(way, "any", 0)) for way in images.WAYS} == {b""}


# -- the journal itself ----------------------------------------------------------------------------------------

_DEEDS = """
import os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
other = os.open(sys.argv[1] + ".other", os.O_RDWR | os.O_CREAT)
os.write(file, b"one")
os.write(other, b"unseen")
os.writev(os.dup(file), [b"two", b"three"])
os.pwrite(file, b"four", 1000)
os.fdatasync(file)
os.fsync(other)
synced = os.open(sys.argv[1], os.O_WRONLY | os.O_DSYNC)
os.pwrite(synced, b"five", 0)
os.fsync(os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY))
os.ftruncate(file, 0)
os.truncate(sys.argv[1], 0)
"""


def test_the_journal_has_every_call_in_two_frames(library: Path, tmp_path: Path) -> None:
    """Writes, syncs and sizes of the one file, whatever descriptor they come from; nothing of others."""
    data, journal = tmp_path / "data.mdb", tmp_path / "journal"
    watching = {"EVENTLOG_JOURNAL": str(journal), "EVENTLOG_JOURNAL_OF": str(data)}
    environment = preload.environment_with(library) | watching
    subprocess.run([sys.executable, "-c", _DEEDS, str(data)], env=environment, check=True)
    frames = frames_of(journal)
    assert "".join(chr(frame.kind) for frame in frames) == "WwWwWwSsWwDdRrRr"
    writes = [(frame.place, frame.data, frame.flags) for frame in frames if frame.kind == WRITE]
    assert writes == [(0, b"one", 0), (3, b"twothree", 0), (1000, b"four", 0), (0, b"five", 1)]
    results = [frame.place for frame in frames if frame.kind in (WRITTEN, SYNCED, ENTERED, RESIZED)]
    assert results == [3, 8, 4, 0, 4, 0, 0, 0]
    pairs = zip(frames[::2], frames[1::2], strict=True)
    assert all(first.number == second.number for first, second in pairs)
    assert len({frame.number for frame in frames}) == len(frames) // 2


# -- claims ----------------------------------------------------------------------------------------------------


def test_of_claims_that_grow_the_largest_is_enough() -> None:
    """Others are all kept."""
    claims = [
        *(Claim("offset", ("billing", "orders", 0, 7)), Claim("offset", ("billing", "orders", 0, 5))),
        *(Claim("offset", ("billing", "orders", 1, 1)), Claim("range", ("orders", 0, 0, 1, 2, 3))),
        *(Claim("range", ("orders", 0, 1, 2, 2, 4)), Claim("gone", ("made",))),
    ]
    assert sorted(map(str, telling(claims))) == sorted(map(str, [claims[0], *claims[2:]]))
    assert Claim.parse(claims[3].data) == claims[3]
