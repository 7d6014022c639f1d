"""The bar and its plain fall-back."""

from __future__ import annotations

import importlib.util
import io

import pytest

from examples.flights.progress import plain_lines, progress


class Terminal(io.StringIO):
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_plain_lines_come_at_most_once_a_second():
    """A file of progress stays short, however often the loop reports."""
    times_s = iter([0.0, 0.4, 0.9, 1.1, 1.5, 2.0, 2.2])
    out = io.StringIO()
    with plain_lines("produce", 6_000, out, clock_s=lambda: next(times_s)) as advance:
        for _ in range(6):
            advance(1_000)
    assert out.getvalue().splitlines() == [
        "   produce: 3,000 of 6,000 records",
        "   produce: 6,000 of 6,000 records",
    ]


def test_no_terminal_gets_no_bar():
    """Control sequences never reach a pipe or a file."""
    out = io.StringIO()
    with progress("produce", 2, out) as advance:
        advance(2)
    assert out.getvalue() == ""


def test_terminal_without_rich_gets_plain_lines(monkeypatch):
    """The extra `cli` is a nicety: without it everything works."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    out = Terminal()
    with progress("produce", 2, out) as advance:
        advance(2)
    assert "\x1b" not in out.getvalue()


def test_terminal_with_rich_gets_a_bar(monkeypatch):
    """The bar ends at the whole, with a rate."""
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with progress("produce", 2, out) as advance:
        advance(1)
        advance(1)
    assert "100%" in out.getvalue()
    assert "2/2" in out.getvalue()
    assert "records/s" in out.getvalue()


def test_bar_gives_the_terminal_back_when_the_block_raises(monkeypatch):
    """Ctrl-C in the middle leaves the cursor visible."""
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with pytest.raises(KeyboardInterrupt), progress("produce", 2, out):
        raise KeyboardInterrupt
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert out.getvalue().rindex(shown) > out.getvalue().rindex(hidden)
