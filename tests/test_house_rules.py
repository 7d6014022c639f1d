"""
The rules of the house that a program can check; CONTRIBUTING.md says them in words.

They are read off the syntax tree, so nothing is imported but the front door. A rule that has to be broken is
broken in one of the tables below, with its reason, and listed in CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs
import pytest

import eventlog
import eventlog.errors

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "eventlog"

MOST_LINES_OF_A_FILE = 600
MOST_LINES_OF_A_FUNCTION = 70
MOST_COLUMNS = 120

THREAD_STARTERS = {
    "clients/awaiting/worker.py", "clients/producer/sender.py", "kafka/listener/loop_thread.py",
    "store/cleaning/cleaner.py", "store/groups/heartbeat.py", "testing/members.py",
}  # fmt: skip

ABBREVIATIONS = {
    "buf", "cb", "cfg", "cnt", "conf", "ctx", "db", "evt", "fn", "hw", "hwm", "idx", "lst", "msg", "num", "obj",
    "param", "params", "pid", "pos", "ptr", "rec", "req", "res", "resp", "ret", "sz", "tmp", "ts", "txn", "val",
}  # fmt: skip
OF_CLICK = {"ctx", "param"}
"""The parameters of methods of click that the command overrides."""
SHORT_UNITS = ("_sec", "_secs", "_seconds", "_msec", "_millis", "_kb", "_mb", "_num", "_len")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@attrs.frozen
class Source:
    """One file of Python: its text, its tree, and its name from the root of the project."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """Name from the root, with `/` everywhere."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def inside(self) -> str:
        """Name below `src/eventlog`, or below `src` for the module beside it."""
        return self.path.relative_to(SOURCE if self.path.is_relative_to(SOURCE) else SOURCE.parent).as_posix()

    def at(self, node: ast.AST, complaint: str) -> str:
        """One line of a failure, which an editor can jump to."""
        return f"{self.name}:{getattr(node, 'lineno', 1)}: {complaint}"

    def functions(self) -> Iterator[Function]:
        """Every function and method."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Every call, with the last part of the called name: `Thread` for `threading.Thread()`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                if isinstance(node.func, ast.Name):
                    yield node, node.func.id
                elif isinstance(node.func, ast.Attribute):
                    yield node, node.func.attr

    def documented(self) -> Iterator[tuple[Documented, str, str]]:
        """Every node with a docstring, its name, and the docstring."""
        for node in ast.walk(self.tree):
            if isinstance(node, Documented) and (doc := ast.get_docstring(node)) is not None:
                name = self.path.stem if isinstance(node, ast.Module) else node.name
                yield node, name, doc


@cache
def _read(folder: str) -> tuple[Source, ...]:
    paths = sorted((ROOT / folder).rglob("*.py"))
    return tuple(Source(path, text := path.read_text("utf-8"), ast.parse(text)) for path in paths)


def _package() -> tuple[Source, ...]:
    sources = _read("src")
    assert sources, "no sources found: the rules would hold of nothing"
    return sources


def _everything() -> tuple[Source, ...]:
    return (*_package(), *_read("tests"), *_read("benchmarks"), *_read("examples"))


@cache
def _code_in_c() -> tuple[tuple[str, str], ...]:
    paths = sorted(path for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.[ch]"))
    assert {path.suffix for path in paths if path.is_relative_to(ROOT / "src" / "native")} == {".c", ".h"}
    return tuple((path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in paths)


def _lines_without_docstring(function: Function) -> int:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def _is_public(name: str) -> bool:
    return not name.startswith("_")


def _is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _none(complaints: list[str]) -> None:
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


# --- rule 2: short files, short functions -----------------------------------------------------------------------


def test_no_file_is_longer_than_its_ceiling() -> None:
    """A file longer than 600 lines has two subjects."""
    _none(
        [
            f"{source.name}: {lines} lines; {MOST_LINES_OF_A_FILE} is the ceiling, 500 a smell"
            for source in _everything()
            if (lines := len(source.text.splitlines())) > MOST_LINES_OF_A_FILE
        ]
    )


def test_no_function_is_longer_than_its_ceiling() -> None:
    """A function longer than 70 lines, docstring aside, does two things."""
    _none(
        [
            source.at(function, f"{function.name} has {lines} lines; {MOST_LINES_OF_A_FUNCTION} is the ceiling")
            for source in _everything()
            for function in source.functions()
            if (lines := _lines_without_docstring(function)) > MOST_LINES_OF_A_FUNCTION
        ]
    )


# --- rules 7 and 8: whole words, units ----------------------------------------------------------------------------


def test_names_are_whole_words_and_units_the_usual_ones() -> None:
    """An argument or attribute is called by a whole word, and a number's unit is `_ms`, `_s`, `_bytes` or `_count`."""
    complaints = []
    for source in _package():
        for node, name in _named_things(source):
            bare = name.lstrip("_")
            if bare in ABBREVIATIONS and not (bare in OF_CLICK and source.inside.startswith("cli/")):
                complaints.append(source.at(node, f"`{name}`: write the word"))
            if bare.endswith(SHORT_UNITS):
                complaints.append(source.at(node, f"`{name}`: units end in _ms, _s, _bytes or _count"))
    _none(complaints)


def _named_things(source: Source) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.arg):
            yield node, node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node, node.attr
        elif isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    yield line, line.target.id


# --- rule 12: the front door --------------------------------------------------------------------------------------


def test_every_public_name_exists_and_is_documented() -> None:
    """What stands in `__all__` can be imported and has a docstring of its own."""
    complaints = []
    for name in eventlog.__all__:
        if not hasattr(eventlog, name):
            complaints.append(f"eventlog.{name}: in __all__, and not there")
        elif name != "__version__" and not _own_docstring(getattr(eventlog, name)):
            complaints.append(f"eventlog.{name}: no docstring of its own")
    assert len(eventlog.__all__) == len(set(eventlog.__all__)), "__all__ names something twice"
    _none(complaints)


def _own_docstring(value: object) -> str | None:
    doc = value.__dict__.get("__doc__") if isinstance(value, type) else getattr(value, "__doc__", None)
    return doc if isinstance(doc, str) and doc.strip() else None


def test_nothing_public_is_missing_from_all() -> None:
    """What the front door lets through without an underscore stands in `__all__`; modules aside."""
    strays = [
        name
        for name, value in vars(eventlog).items()
        if _is_public(name)
        and name not in eventlog.__all__
        and not isinstance(value, types.ModuleType)
        and name != "annotations"
    ]
    assert strays == []


def test_every_error_is_exported() -> None:
    """Who can meet an error can name it."""
    errors = {name for name, value in vars(eventlog.errors).items() if _is_public(name) and _is_exception(value)}
    assert errors - set(eventlog.__all__) == set()


def test_every_error_descends_from_ours_and_says_whether_to_retry() -> None:
    """One `except EventLogError` catches them all, and `retriable` is a plain boolean."""
    for name, value in vars(eventlog.errors).items():
        if _is_public(name) and _is_exception(value):
            assert issubclass(value, eventlog.EventLogError), name
            assert isinstance(value.retriable, bool), name


# --- rule 30: the parts of an error -------------------------------------------------------------------------------


def test_every_error_of_ours_is_made_of_its_parts() -> None:
    """What failed, what is stored, what to do: a program takes the message apart, and replaces the advice."""
    ours = {name for name, value in vars(eventlog.errors).items() if _is_exception(value)}
    makers = {*ours, "kind", "kind_of"}  # a class that was chosen before, or by `kind_of()`
    made = [
        (source, call)
        for source in _package()
        for call in (node for node in ast.walk(source.tree) if isinstance(node, ast.Call))
        if _maker(call.func) in makers
    ]
    assert len(made) > 80, "few errors found: the rule would hold of nothing"
    _none(
        [
            source.at(call, f"{ast.unparse(call.func)}() without stored= and advice=")
            for source, call in made
            if not {"stored", "advice"} <= (names := {keyword.arg for keyword in call.keywords}) and None not in names
        ]
    )


def _maker(function: ast.expr) -> str | None:
    """The name of what is called: of a class, or of the function that has chosen one."""
    match function:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name if name != "kind_of" else None
        case ast.Call(inner):
            return ast.unparse(inner).rpartition(".")[2]
        case ast.IfExp(body):
            return _maker(body)
    return None


# --- rules 18, 22, 23: docstrings ---------------------------------------------------------------------------------


def test_every_module_says_what_it_knows() -> None:
    """Each module begins with a docstring."""
    _none([f"{source.name}: no docstring" for source in _everything() if ast.get_docstring(source.tree) is None])


def test_every_public_thing_says_what_it_is() -> None:
    """A public class, function or method has a docstring, wherever it lives."""
    _none(
        [source.at(node, f"{name} has no docstring") for source in _package() for node, name in _undocumented(source)]
    )


def _undocumented(source: Source) -> Iterator[tuple[ast.AST, str]]:
    def visit(body: list[ast.stmt]) -> Iterator[tuple[ast.AST, str]]:
        for node in body:
            if not isinstance(node, ast.ClassDef | Function) or not _is_public(node.name):
                continue
            decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
            if ast.get_docstring(node) is None and not decorators & {"overload", "override", "setter"}:
                yield node, node.name
            if isinstance(node, ast.ClassDef):
                yield from visit(node.body)

    return visit(source.tree.body)


def test_docstrings_begin_with_one_sentence() -> None:
    """One sentence: a noun phrase or the imperative, with a period, without the name of the thing."""
    _none(
        [
            source.at(node, f"{name}: {complaint}: {doc.splitlines()[0]!r}")
            for source in _package()
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
    plain = _package()
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
    _none(dialect + moods)


def test_classes_of_tests_and_benchmarks_are_noun_phrases() -> None:
    """Their other sentences are not under the rule yet."""
    _none(
        [
            source.at(node, complaint)
            for source in (*_read("tests"), *_read("benchmarks"))
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
    _none(
        [
            f"eventlog.{name}: no `Example:` with `>>>`"
            for name in eventlog.__all__
            if (inspect.isclass(value := getattr(eventlog, name)) or inspect.isroutine(value))
            and not _is_exception(value)
            and not re.search(r"Example:\n\s+>>> ", _own_docstring(value) or "")
        ]
    )


# --- rules 33, 35: effects ------------------------------------------------------------------------------------------


def test_threads_start_in_few_files() -> None:
    """Only the sender, heartbeat, cleaner, a loop's worker and a listener start a thread, and `close()` joins it."""
    _none(
        [
            source.at(call, "a thread starts here; only " + " and ".join(sorted(THREAD_STARTERS)) + " may")
            for source in _package()
            if source.inside not in THREAD_STARTERS and not source.inside.startswith("cli/")
            for call, name in source.calls()
            if name in {"Thread", "Timer", "ThreadPoolExecutor", "start_new_thread"}
        ]
    )


def test_only_the_command_prints() -> None:
    """A library is silent."""
    _none(
        [
            source.at(call, "prints; only cli/ may")
            for source in _package()
            if not source.inside.startswith("cli/")
            for call, name in source.calls()
            if name == "print"
        ]
    )


# --- rules 42, 43: tests --------------------------------------------------------------------------------------------


def test_every_test_says_in_one_sentence_what_it_shows() -> None:
    """Each test has a docstring of one sentence."""
    complaints = []
    for source in _read("tests"):
        for function in source.functions():
            if not function.name.startswith("test_"):
                continue
            doc = ast.get_docstring(function)
            if doc is None:
                complaints.append(source.at(function, f"{function.name} has no docstring"))
            elif not doc.splitlines()[0].endswith("."):
                complaints.append(source.at(function, f"{function.name}: {doc.splitlines()[0]!r} is no sentence"))
    _none(complaints)


def test_no_test_sleeps() -> None:
    """A sleep is a guess about another machine's speed; a test waits for the event itself."""
    _none(
        [
            source.at(call, "sleeps")
            for source in _read("tests")
            for call, name in source.calls()
            if name == "sleep" and ast.unparse(call.func) in {"sleep", "time.sleep"}
        ]
    )


# --- rule 47, and what is left open -----------------------------------------------------------------------------------


def test_code_is_ascii() -> None:
    """Code is ASCII, so that it reads alike everywhere; other letters come in as escapes."""
    _none(
        [
            f"{source.name}:{number}: {line.strip()!a}"
            for source in _everything()
            for number, line in enumerate(source.text.splitlines(), 1)
            if not line.isascii()
        ]
    )


def test_nothing_is_left_open_in_the_tree() -> None:
    """What is still to be done is an issue, not a comment."""
    marks = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b")
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    texts = [(source.name, source.text) for source in _everything()]
    texts += [*_code_in_c(), *((page.relative_to(ROOT).as_posix(), page.read_text("utf-8")) for page in pages)]
    _none(
        [
            f"{name}:{number}: {line.strip()}"
            for name, text in texts
            for number, line in enumerate(text.splitlines(), 1)
            if marks.search(line)
        ]
    )


# --- code in C ------------------------------------------------------------------------------------------------------


def test_code_in_c_keeps_the_rules_that_its_compiler_does_not_know() -> None:
    """A file in C begins with what it knows, and is as short, as narrow and as plain as one of Python."""
    _none([f"{name}:{complaint}" for name, text in _code_in_c() for complaint in _complaints_about_c(text)])


def _complaints_about_c(text: str) -> Iterator[str]:
    lines = text.splitlines()
    if not text.startswith("/*"):
        yield "1: does not begin with a comment that says what the file knows"
    if len(lines) > MOST_LINES_OF_A_FILE:
        yield f"1: {len(lines)} lines; {MOST_LINES_OF_A_FILE} is the ceiling, 500 a smell"
    for number, line in enumerate(lines, 1):
        if len(line) > MOST_COLUMNS:
            yield f"{number}: {len(line)} columns; {MOST_COLUMNS} is the ceiling"
        if "\t" in line:
            yield f"{number}: a tab"
        if line != line.rstrip():
            yield f"{number}: blanks at its end"
        if not line.isascii():
            yield f"{number}: {line.strip()!a}"


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


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("int one;\n", "1: does not begin"),
        ("/* One. */\n" * 601, "1: 601 lines"),
        (f"/* {'x' * 120} */\n", "1: 126 columns"),
        ("/* One. */\nint\tone;\n", "2: a tab"),
        ("/* One. */\nint one; \n", "2: blanks"),
        ("/* \u00c4. */\n", "1: '/* \\xc4. */'"),
    ],
)
def test_the_rules_for_c_find_a_bad_file(text: str, complaint: str) -> None:
    """Each of them complains of what it is there for, and of nothing in a good file."""
    assert [found.startswith(complaint) for found in _complaints_about_c(text)] == [True]
    assert list(_complaints_about_c("/* Nothing. */\n")) == []
