"""Codecs of one's own: stored by name, and found again by another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog.codecs import codec_for, codec_from_stored
from tests.values.shop_codecs import Shifted

SHIFTED = Shifted({"by": 3})
_ROOT = Path(__file__).resolve().parents[2]


def _installed(folder: Path, target: str) -> None:
    """Make a package with an entry point, as pip leaves it."""
    info = folder / "shop-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[eventlog.codecs]\nshop.shifted = {target}\n")


def _elsewhere(path: str, *folders: Path) -> str:
    """What a process that passes no codec reads from the topic."""
    program = (
        "import sys, eventlog\n"
        "with eventlog.open(sys.argv[1]) as log:\n"
        "    words = log.topic('words')\n"
        "    try:\n"
        "        print(next(words.read()).value)\n"
        "        words.append('milk')\n"
        "        print('stored')\n"
        "    except (eventlog.EventLogError, TypeError) as error:\n"
        "        print(type(error).__name__, error)\n"
    )
    paths = ":".join(map(str, [_ROOT, *folders]))
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True, env={"PYTHONPATH": paths}
    )
    return done.stdout


def test_an_own_codec_reads_and_writes_values_and_keys(log: eventlog.EventLog) -> None:
    """Wherever a codec is declared: of keys, of values, of states."""
    words = log.topic("words", key=SHIFTED, value=SHIFTED)
    words.append("tea", key="abc")
    words.append(None, key="abc")
    assert [(record.key, record.value) for record in words.read()] == [("abc", "tea"), ("abc", None)]
    assert (words.key, words.value) == ("custom", "custom")
    with log.transaction() as tx:
        tx.state("last", value=SHIFTED)["a"] = "tea"
    assert log.state("last", value=SHIFTED)["a"] == "tea"


def test_another_process_finds_it_by_its_entry_point(path: str, tmp_path: Path) -> None:
    """It is made of the stored schema there, and writes as well."""
    with eventlog.open(path) as log:
        log.topic("words", value=SHIFTED).append("tea")
    _installed(tmp_path / "site", "tests.values.shop_codecs:Shifted")
    assert _elsewhere(path, tmp_path / "site").splitlines() == ["tea", "stored"]
    with eventlog.open(path) as log:
        assert [record.value for record in log.topic("words", value=SHIFTED).read()] == ["tea", "milk"]


def test_a_process_that_does_not_find_it_is_told_how(path: str, tmp_path: Path) -> None:
    """The topic opens, other topics are read, and the record is intact."""
    with eventlog.open(path) as log:
        log.topic("words", value=SHIFTED).append("tea")
        log.topic("plain").append(b"tea")
    told = _elsewhere(path)
    assert told.startswith("DecodeError")
    assert "no entry point of eventlog.codecs has that name" in told
    assert "Open the topic with value= that codec, or install the package" in told
    _installed(tmp_path / "site", "tests.values.shop_codecs:broken")
    assert "failed, RuntimeError: no codec for {'by': 3}" in _elsewhere(path, tmp_path / "site")
    with eventlog.open(path) as log:
        assert [record.value for record in log.topic("plain").read()] == [b"tea"]
        with pytest.raises(TypeError, match=r"its codec 'shop.shifted' is not here.*Open the topic with value="):
            log.topic("words").append("milk")
        log.topic("words").append(None)


@pytest.mark.parametrize("other", [Shifted({"by": 4}), Shifted({"by": 3, "more": 1}), str, "json"])
def test_another_codec_than_the_stored_is_a_mismatch(log: eventlog.EventLog, other: Any) -> None:
    """Also the same one with another schema: it would read other values."""
    log.topic("words", value=SHIFTED)
    with pytest.raises(eventlog.TopicMismatch, match=r"shop\.shifted"):
        log.topic("words", value=other)
    assert log.topic("words", value=Shifted({"by": 3})).value == "custom"


class Odd(Shifted):
    """A codec that fails in a way that a test chooses."""

    def __init__(self, name: Any = "odd", schema: Any = None, answer: Any = b"") -> None:
        self.name = name  # type: ignore[misc]
        self.schema = schema
        self.answer = answer

    def encode(self, value: str) -> bytes:
        """Return what the test wants, or raise it."""
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: bytes = self.answer
        return answer

    def decode(self, data: bytes) -> str:
        """Raise an error."""
        raise KeyError(data)


@pytest.mark.parametrize("answer", ["text", None, bytearray(b"a"), LookupError("no room")])
def test_an_own_codec_that_fails_is_a_refusal(log: eventlog.EventLog, answer: Any) -> None:
    """Nothing is stored, and the message names the codec."""
    words = log.topic("words", value=Odd(answer=answer))
    with pytest.raises(TypeError, match=r"odd.*Nothing was stored"):
        words.append("tea")
    assert words.bounds() == {0: (0, 0)}


def test_an_own_codec_that_cannot_read_raises_decode_error(log: eventlog.EventLog) -> None:
    """With the offset, as any codec; the record is intact."""
    words = log.topic("words", value=Odd(answer=b"x"))
    words.append("tea")
    with pytest.raises(eventlog.DecodeError, match="odd raised KeyError"):
        next(words.read())


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        (Odd(name=""), "its name is not 1 to 100 bytes"),
        (Odd(name=7), "its name is not 1 to 100 bytes"),
        (Odd(name="a\nb"), "its name is not 1 to 100 bytes"),
        (Odd(schema=object()), "its schema cannot be stored"),
        (Odd(schema=["a"]), "its schema is list"),
        (Odd(schema={"a": "x" * 70_000}), "its schema is dict of 7"),
        (Shifted, "pass a codec, and not its class"),
    ],
)
def test_a_codec_without_its_parts_is_refused_when_declared(declared: Any, told: str) -> None:
    """The message says which part."""
    with pytest.raises((TypeError, ValueError), match=rf"{told}.*Nothing was stored"):
        codec_for(declared, topic="words", role="value")


def test_what_is_stored_is_the_name_and_the_schema() -> None:
    """The same for a process that has no codec of that name."""
    stored = codec_for(SHIFTED, topic="words", role="value").to_stored()
    assert stored == {"name": "custom", "codec": "shop.shifted", "schema": {"by": 3}}
    missing = codec_from_stored(dict(stored), None, topic="words", role="value")
    assert missing.to_stored() == stored
    assert missing.decode(None) is None
