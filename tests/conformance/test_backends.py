"""A second backend: how it is opened, what it must do, and what it says of what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog.api.features import FEATURES
from eventlog.log import opening
from eventlog.log.opening import Opener
from tests.conformance.plain import open_plain
from tests.conformance.suite import Conformance


@pytest.fixture
def plain_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend is registered by one row of the table."""
    monkeypatch.setitem(opening.BACKENDS, "plain", Opener("tests.conformance.plain:open_plain", "plain"))


@pytest.mark.usefixtures("plain_scheme")
def test_a_scheme_opens_its_backend() -> None:
    """The function gets the whole text; the log says whose it is."""
    with eventlog.open("plain://one,two/shop") as log:
        assert isinstance(log, eventlog.EventLog)
        assert (log.backend, log.url) == ("plain", "plain://one,two/shop")  # type: ignore[attr-defined]


@pytest.mark.usefixtures("plain_scheme")
def test_only_options_that_were_changed_reach_the_backend() -> None:
    """And it refuses those that it does not know."""
    with pytest.raises(ValueError, match=r"no options, not \['create', 'durability'\]"):
        eventlog.open("plain://shop", durability="ordered", create=False, mode=0o600)


@pytest.mark.usefixtures("plain_scheme")
@pytest.mark.parametrize("url", ["kafka://h:1", "://shop", "./plain://shop", "data/plain://shop", "PLA IN://x"])
def test_an_unknown_scheme_makes_no_directory(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the known ones."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"no backend has this scheme. Nothing was made. Known schemes: plain://\."):
        eventlog.open(url)
    assert list(tmp_path.iterdir()) == []


def test_without_other_backends_the_message_says_so() -> None:
    """None is shipped yet."""
    assert opening.BACKENDS == {}
    with pytest.raises(ValueError, match="Known schemes: none"):
        eventlog.open("kafka://h:1")


def test_a_backend_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the module itself is missing, or one that it imports."""
    monkeypatch.setitem(opening.BACKENDS, "far", Opener("eventlog_far.log:open_log", "far"))
    with pytest.raises(ImportError, match=r"'eventlog_far'.*pip install \"eventlog\[far\]\""):
        eventlog.open("far://h:1")


# --- features ---------------------------------------------------------------------------------------------------------


def test_the_embedded_log_supports_every_feature() -> None:
    """And says that it is the embedded one."""
    with eventlog.open(":memory:") as log:
        assert log.backend == "embedded"
        assert all(log.supports(feature) for feature in FEATURES)


def test_an_unknown_feature_is_refused_with_the_list() -> None:
    """A misspelt name is no feature that is lacking."""
    with eventlog.open(":memory:") as log, pytest.raises(ValueError, match="there is no feature 'state'") as caught:
        log.supports("state")
    assert all(feature in str(caught.value) for feature in FEATURES)


def test_every_feature_is_described_where_users_read() -> None:
    """In the words of the table."""
    described = " ".join((eventlog.EventLog.supports.__doc__ or "").split())
    for feature, meaning in FEATURES.items():
        assert f'* "{feature}": {meaning}' in described


def _of_log(name: str, *arguments: object) -> Callable[[Any], object]:
    return lambda log: getattr(log, name)(*arguments)


def _of_topic(name: str, *arguments: object, **options: object) -> Callable[[Any], object]:
    return lambda log: getattr(log.topic("orders"), name)(*arguments, **options)


OPTIONS = ("retention", "retention_bytes", "until_read_by")
REWRITING = (
    "compaction",
    "compaction_lag",
    "max_compaction_lag",
    "tombstone_retention",
    "min_dirty_ratio",
    "repack_after",
)
LACKING: list[tuple[str, Callable[[Any], object]]] = [
    ("index", lambda log: log.topic("accounts", index="key")),
    *(("index", _of_topic(name, b"k")) for name in ("history", "latest", "version", "snapshot")),
    ("index", _of_topic("keys")),
    ("index", _of_topic("fold", b"k", max, 0)),
    ("index", _of_topic("save_snapshot", b"k", 1, version=1)),
    ("expected_version", _of_topic("append", b"x", key=b"k", expected_version=1)),
    ("message_ids", _of_topic("append", b"x", message_id="m")),
    ("message_ids", lambda log: log.topic("orders").duplicate_window),
    ("retention", lambda log: log.topic("views", retention=60)),
    *(("retention", lambda log, name=name: getattr(log.topic("orders"), name)) for name in OPTIONS),
    ("retention", lambda log: log.topic("orders").alter(retention=60)),
    ("retention", _of_log("clean")),
    ("compression", lambda log: log.topic("views", compression="zstd")),
    ("compression", lambda log: log.topic("orders").compression),
    ("compaction", lambda log: log.topic("users", compaction="key")),
    *(("compaction", lambda log, name=name: getattr(log.topic("orders"), name)) for name in REWRITING),
    ("named_producers", lambda log: log.producer(name="importer")),
    *(("requests", _of_log(name, "orders")) for name in ("request", "gather")),
    ("requests", lambda log: log.responder("orders", function=max, group="g")),
    ("queues", lambda log: log.queue("orders", group="g")),
    ("queues", lambda log: log.transaction().accept(None)),
    ("queues", lambda log: log.queues),
    ("schedules", _of_topic("schedule", b"x", delay=1.0)),
    ("schedules", lambda log: log.transaction().schedule("orders", b"x", delay=1.0)),
    ("schedules", lambda log: log.schedules),
    ("states", lambda log: log.transaction().state("totals")),
    *(("states", _of_log(*call)) for call in (("state", "totals"), ("states",), ("delete_state", "totals"))),
    *(("projections", _of_log(*call)) for call in (("projection", "p"), ("projections",), ("delete_projection", "p"))),
    *(("log_order", _of_log(name)) for name in ("end_log_position", "read_all", "read_all_batches")),
    ("forced_resets", lambda log: log.groups.delete("billing", force=True)),
    ("assignor_functions", lambda log: log.consumer("orders", group="g", assignor=lambda members, counts: {})),
    *(("fileno", lambda log, name=name: getattr(log.consumer("orders"), name)()) for name in ("fileno", "max_wait")),
    *(("files", _of_log(*call)) for call in (("sync",), ("verify",), ("stats",), ("compact", "copy"))),
]


@pytest.mark.parametrize(("feature", "use"), LACKING)
def test_what_a_backend_lacks_is_an_error_that_says_so(feature: str, use: Callable[[Any], object]) -> None:
    """It names the feature and the backend, and is one of Python's own kind."""
    with open_plain("plain://") as log:
        log.topic("orders")
        assert not log.supports(feature)
        with pytest.raises(eventlog.NotSupported, match=r"Nothing was changed\. Ask log\.supports") as caught:
            use(log)
    assert (caught.value.feature, caught.value.backend) == (feature, "plain")
    assert isinstance(caught.value, NotImplementedError)


def test_every_feature_can_be_lacking() -> None:
    """Each has an error of its own, and a test of the suite that asks for it."""
    assert {feature for feature, _ in LACKING} == set(FEATURES)
    tests = [test for part in Conformance.__mro__ for test in vars(part).values()]
    assert {feature for test in tests for feature in getattr(test, "needs", ())} == set(FEATURES)


@pytest.mark.parametrize("name", ["EventLog", "Topic", "Producer", "Consumer", "Transaction", "Groups", "Delivery"])
def test_a_public_class_is_only_made_by_a_log(name: str) -> None:
    """It is an interface, and the classes of every backend are of it."""
    with pytest.raises(TypeError, match="abstract"):
        getattr(eventlog, name)()
