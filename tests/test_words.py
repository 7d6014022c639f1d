"""
One word for each thing: the glossary's table of old words is kept out of the names and of the pages.

The table in docs/reference/glossary.md is the source of truth: a word in its first column is not part of any name in
`src/` and does not stand in backticks on a page. Decision records keep their words: they say what was true then.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GLOSSARY = ROOT / "docs" / "reference" / "glossary.md"
SOURCES = sorted((ROOT / "src" / "eventlog").rglob("*.py"))
PAGES = [
    page
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if page != GLOSSARY and "decisions" not in page.parts
]


def old_words() -> set[str]:
    """The first column of the table, without the backticks."""
    table = GLOSSARY.read_text("utf-8").partition("\n## Words we no longer use")[2]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return {word for row in rows for word in re.findall(r"`(\w+)`", row.split("|")[1])}


def names_in(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name that a module gives: to classes, functions, arguments, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def words_of(name: str) -> set[str]:
    """A name, and its parts: `_note_twin` has `twin`, `HeartThread` has `Heart`."""
    bare = name.strip("_")
    return {bare, *bare.split("_"), *re.findall(r"[A-Z][a-z]+", bare)}


def old_names(text: str, words: set[str]) -> list[str]:
    """The names of a module that have an old word, with their lines."""
    return [f"{line}: {name}" for line, name in names_in(ast.parse(text)) if words_of(name) & words]


def old_quotes(text: str, words: set[str]) -> list[str]:
    """The old words that stand in backticks on a page, alone or as part of a dotted name."""
    return [
        f"{number}: {quoted}"
        for number, line in enumerate(text.splitlines(), 1)
        for quoted in re.findall(r"`([\w./]+)`", line)
        if set(re.split(r"[./]", quoted.removesuffix(".py"))) & words
    ]


def test_no_name_has_an_old_word() -> None:
    """A file, a class, a function, an argument and a variable are called by the field's terms."""
    words = old_words()
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{name}"
        for path in SOURCES
        for name in [
            *([f"1: {path.name}"] if words_of(path.stem) & words else []),
            *old_names(path.read_text("utf-8"), words),
        ]
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_page_has_an_old_word(page: Path) -> None:
    """A name in backticks is that of something that exists."""
    assert old_quotes(page.read_text("utf-8"), old_words()) == []


def test_the_rule_finds_an_old_word() -> None:
    """In the name of a class, of a function, of an argument and of an attribute, and on a page."""
    words = {"Heart", "bell", "twin"}
    assert old_names("class HeartThread: ...", words) == ["1: HeartThread"]
    assert old_names("def note_twin(_bell):\n    self.twin = 1", words) == ["1: note_twin", "1: _bell", "2: twin"]
    assert old_names("def heartbeat(belly): ...", words) == []
    assert old_quotes("see `store.Heart` and\n`twin.py`", words) == ["1: store.Heart", "2: twin.py"]
    assert old_quotes("a `Heartbeat`, a twin", words) == []


def test_the_new_words_are_classes() -> None:
    """A class in the second column of the table exists."""
    table = GLOSSARY.read_text("utf-8").partition("\n## Words we no longer use")[2]
    rows = [line.split("|")[2] for line in table.splitlines() if line.startswith("| `")]
    classes = {
        node.name
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    assert {name for row in rows for name in re.findall(r"`([A-Z]\w+)`", row)} - classes == set()


def test_the_table_is_read() -> None:
    """The words that started it are on it."""
    assert {"Intake", "Lane", "bell", "twin", "Work"} <= old_words()
