"""The embedded log is a log: in memory, on disk, and with relaxed durability."""

from __future__ import annotations

import pytest

import eventlog
from eventlog.batches import compression
from eventlog.clients.topic.registry import Topics
from tests.conformance.plain import open_plain
from tests.conformance.suite import Conformance


class TestMemory(Conformance):
    """A log in memory can do all but be opened again."""

    @pytest.fixture
    def log(self):
        """An empty log."""
        with eventlog.open(":memory:") as log:
            yield log


class TestDisk(Conformance):
    """A log on disk can do all."""

    @pytest.fixture
    def log(self, path):
        """An empty log."""
        with eventlog.open(path) as log:
            yield log

    @pytest.fixture
    def reopen(self, path):
        """Opens the same log once more."""
        return lambda: eventlog.open(path)


class TestOrdered(TestDisk):
    """Relaxed durability changes nothing but what a power cut may cost."""

    @pytest.fixture
    def log(self, path):
        """An empty log."""
        with eventlog.open(path, durability="ordered") as log:
            yield log


class TestTwice(TestDisk):
    """A log that somebody else of this process has open too is the same log."""

    @pytest.fixture
    def log(self, path):
        """An empty log."""
        with eventlog.open(path), eventlog.open(path) as log:
            yield log


class TestCompressed(TestDisk):
    """A log of which every batch is compressed, however small, is the same log."""

    @pytest.fixture(autouse=True)
    def everything_is_compressed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Has new topics compressed, and their batches even where that makes them larger."""
        create = Topics._create
        monkeypatch.setattr(compression, "LEAST_BYTES", 0)
        monkeypatch.setattr(compression, "MOST_SHARE", 100.0)
        monkeypatch.setattr(
            Topics,
            "_create",
            lambda self, name, options: create(self, name, options._replace(compression=options.compression or "lz4")),
        )


class TestPlain(Conformance):
    """A backend that has what every one must have shows the same, and refuses the rest by name."""

    @pytest.fixture
    def log(self):
        """An empty log."""
        with open_plain("plain://") as log:
            yield log
