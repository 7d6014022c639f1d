"""
The rules for docstrings and comments that a program can check; CONTRIBUTING.md says them in words.

The rules for code are in `test_house_rules.py`.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Iterator

import pytest

import eventlog
from tests.sources import Function, Source, everything, fail_with, is_exception, is_public, own_docstring, package, read

# --- rules 18, 22, 23: docstrings ---------------------------------------------------------------------------------


def test_every_module_says_what_it_knows() -> None:
    """Each module begins with a docstring."""
    fail_with([f"{source.name}: no docstring" for source in everything() if ast.get_docstring(source.tree) is None])


def test_every_public_thing_says_what_it_is() -> None:
    """A public class, function or method has a docstring, wherever it lives."""
    fail_with(
        [source.at(node, f"{name} has no docstring") for source in package() for node, name in _undocumented(source)]
    )


def _undocumented(source: Source) -> Iterator[tuple[ast.AST, str]]:
    def visit(body: list[ast.stmt]) -> Iterator[tuple[ast.AST, str]]:
        for node in body:
            if not isinstance(node, ast.ClassDef | Function) or not is_public(node.name):
                continue
            decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
            if ast.get_docstring(node) is None and not decorators & {"overload", "override", "setter"}:
                yield node, node.name
            if isinstance(node, ast.ClassDef):
                yield from visit(node.body)

    return visit(source.tree.body)


def test_docstrings_begin_with_one_sentence() -> None:
    """One sentence: a noun phrase or the imperative, with a period, without the name of the thing."""
    fail_with(
        [
            source.at(node, f"{name}: {complaint}: {doc.splitlines()[0]!r}")
            for source in package()
            for node, name, doc in source.documented()
            for complaint in _complaints_about(name, doc)
        ]
    )


def _complaints_about(name: str, doc: str) -> Iterator[str]:
    first = doc.strip().splitlines()[0]
    prose = re.sub(r"`[^`]*`", "x", first)
    word = re.split(r"[^\w`.]", first, maxsplit=1)[0]
    if not first.endswith("."):
        yield "the first line does not end with a period"
    if re.search(r"[.?!]\s+\S", re.sub(r"\b(e\.g|i\.e)\.", "", prose)):
        yield "the first line is more than one sentence"
    if word.strip("`") == name or first.lower().startswith(("this ", "a class ")):
        yield "begins with the name of the thing, or `This`"
    if re.match(r"(\w+ )?(will|shall)\b", prose, re.IGNORECASE):
        yield "is in the future tense"


# --- plain English ----------------------------------------------------------------------------------------------------

DIALECT = {
    r"(?:^|[.:;,] |\b(?:and|but|by|for|from|of|or|that|to|what|when|where|with) )who "
    r"(?:asks?|calls?|comes?|holds?|joins?|leaves?|reads?|sends?|uses?|waits?|writes?)": "a noun: the waiting readers",
    r"what (?:is|was) gone": "a noun: the deleted records",
    r"so (?:many|often|long as)": "as many, as often, as long as",
    r"anew": "again",
    r"can not": "cannot",
    r"for ever": "forever",
    r"in place of": "instead of",
}
"""Phrases that read like a translation, and what to write instead."""


def test_prose_is_plain_english() -> None:
    """Docstrings and comments use nouns for things, and words that people say."""
    plain = package()
    dialect = [
        f"{source.name}:{line}: {complaint}"
        for source in plain
        for line, text in _prose(source.text)
        for complaint in _dialect_in(text)
    ]
    moods = [
        source.at(node, complaint)
        for source in plain
        for node, _, doc in source.documented()
        for complaint in _mood_of(doc.strip().splitlines()[0])
    ]
    fail_with(dialect + moods)


def test_classes_of_tests_and_benchmarks_are_noun_phrases() -> None:
    """Their other sentences are not under the rule yet."""
    fail_with(
        [
            source.at(node, complaint)
            for source in (*read("tests"), *read("benchmarks"))
            for node, _, doc in source.documented()
            if isinstance(node, ast.ClassDef) and doc.startswith(("Is ", "Are "))
            for complaint in _mood_of(doc.strip().splitlines()[0])
        ]
    )


def _prose(text: str) -> Iterator[tuple[int, str]]:
    """Every comment and every string that is a statement of its own, by line."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for number, line in enumerate(node.value.value.splitlines()):
                yield node.lineno + number, line


def _mood_of(first: str) -> Iterator[str]:
    if re.match(r"(Is|Are|Says|Tells)\b", first):
        yield f"{first!r}: a class is a noun phrase, a function the imperative or a noun phrase"


def _dialect_in(text: str) -> Iterator[str]:
    prose = re.sub(r"`[^`]*`", "x", text)
    for phrase, advice in DIALECT.items():
        found = re.search(rf"(?<!\w)(?:{phrase})\b", prose, re.IGNORECASE)
        if found:
            yield f"{found[0]!r}: write {advice}"


def test_public_things_show_how_they_are_used() -> None:
    """A public class or function, errors aside, has an example that `tests/test_docs.py` runs."""
    fail_with(
        [
            f"eventlog.{name}: no `Example:` with `>>>`"
            for name in eventlog.__all__
            if (inspect.isclass(value := getattr(eventlog, name)) or inspect.isroutine(value))
            and not is_exception(value)
            and not re.search(r"Example:\n\s+>>> ", own_docstring(value) or "")
        ]
    )


# --- the rules themselves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "doc"),
    [
        ("close", "close the log."),
        ("Consumer", "Consumer of records."),
        ("poll", "This returns the records."),
        ("poll", "Returns the records. Blocks."),
        ("poll", "Will return the records."),
    ],
)
def test_the_rule_for_first_lines_finds_a_bad_one(name: str, doc: str) -> None:
    """A rule that never complains would be no rule."""
    assert list(_complaints_about(name, doc))


@pytest.mark.parametrize(
    ("name", "doc"),
    [
        ("poll", "Returns the records, at most `max_records`."),
        ("poll", "Return the records, at most `max_records`."),
        ("Open", "The topics of a log, e.g. those of a shop."),
        ("position", "Offset of the next record, or None."),
    ],
)
def test_the_rule_for_first_lines_lets_a_good_one_pass(name: str, doc: str) -> None:
    """A rule that always complains would be switched off."""
    assert list(_complaints_about(name, doc)) == []


@pytest.mark.parametrize("first", ["Is what reads.", "Are records.", "Says that it is over.", "Tells what is seen."])
def test_the_rule_for_moods_finds_a_bad_one(first: str) -> None:
    """A noun phrase and the imperative pass."""
    assert list(_mood_of(first))
    assert not list(_mood_of("A reader of topics."))
    assert not list(_mood_of("Return the records."))


@pytest.mark.parametrize(
    "text",
    [
        "What who waits does.",
        "Deletes what is gone.",
        "As often as that, so many times.",
        "Made anew.",
        "It can not be.",
    ],
)
def test_the_rule_for_prose_finds_dialect(text: str) -> None:
    """In a docstring and in a comment, with its line; code and quoted names are left alone."""
    assert list(_dialect_in(text))
    assert [line for line, found in _prose(f'x = 1\n# {text}\n"""{text}"""\n') if list(_dialect_in(found))] == [2, 3]
    assert not list(_dialect_in(f"Calls `{text}` and waits for readers."))
