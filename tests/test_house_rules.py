"""
The rules of the house that a program can check; CONTRIBUTING.md says them in words.

Rules are read off the syntax tree, so nothing is imported but the front door. A rule that has to be broken is broken in
one of the tables below, with its reason, and listed in CONTRIBUTING.md. Docstrings and comments are judged in
`test_prose_rules.py`.
"""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Iterable, Iterator
from functools import cache

import pytest

import eventlog
import eventlog.errors
from tests.sources import (
    ROOT,
    Function,
    Source,
    everything,
    fail_with,
    is_exception,
    is_public,
    own_docstring,
    package,
    read,
)

MOST_LINES_OF_A_FILE = 600
MOST_LINES_OF_A_FUNCTION = 70
MOST_COLUMNS = 120

THREAD_STARTERS = {
    "clients/awaiting/worker.py", "clients/producer/sender.py", "clients/queue/running.py",
    "kafka/listener/loop_thread.py", "store/cleaning/cleaner.py", "store/groups/heartbeat.py",
    "store/schedules/server.py", "testing/members.py",
}  # fmt: skip

ABBREVIATIONS = {
    "buf", "cb", "cfg", "cnt", "conf", "ctx", "db", "evt", "fn", "hw", "hwm", "idx", "lst", "msg", "num", "obj",
    "param", "params", "pid", "pos", "ptr", "rec", "req", "res", "resp", "ret", "sz", "tmp", "ts", "txn", "val",
}  # fmt: skip
OF_CLICK = {"ctx", "param"}
"""The parameters of methods of click that the command overrides."""
SHORT_UNITS = ("_sec", "_secs", "_seconds", "_msec", "_millis", "_kb", "_mb", "_num", "_len")


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


# --- rule 2: short files, short functions -----------------------------------------------------------------------


def test_no_file_is_longer_than_its_ceiling() -> None:
    """A file longer than 600 lines has two subjects."""
    fail_with(
        [
            f"{source.name}: {lines} lines; {MOST_LINES_OF_A_FILE} is the ceiling, 500 a smell"
            for source in everything()
            if (lines := len(source.text.splitlines())) > MOST_LINES_OF_A_FILE
        ]
    )


def test_no_function_is_longer_than_its_ceiling() -> None:
    """A function longer than 70 lines, docstring aside, does two things."""
    fail_with(
        [
            source.at(function, f"{function.name} has {lines} lines; {MOST_LINES_OF_A_FUNCTION} is the ceiling")
            for source in everything()
            for function in source.functions()
            if (lines := _lines_without_docstring(function)) > MOST_LINES_OF_A_FUNCTION
        ]
    )


# --- rules 7 and 8: whole words, units ----------------------------------------------------------------------------


def test_names_are_whole_words_and_units_the_usual_ones() -> None:
    """An argument or attribute is called by a whole word, and a number's unit is `_ms`, `_s`, `_bytes` or `_count`."""
    complaints = []
    for source in package():
        for node, name in _named_things(source):
            bare = name.lstrip("_")
            if bare in ABBREVIATIONS and not (bare in OF_CLICK and source.inside.startswith("cli/")):
                complaints.append(source.at(node, f"`{name}`: write the word"))
            if bare.endswith(SHORT_UNITS):
                complaints.append(source.at(node, f"`{name}`: units end in _ms, _s, _bytes or _count"))
    fail_with(complaints)


def _named_things(source: Source) -> Iterator[tuple[ast.AST, str]]:
    for node in source.nodes:
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
        elif name != "__version__" and not own_docstring(getattr(eventlog, name)):
            complaints.append(f"eventlog.{name}: no docstring of its own")
    assert len(eventlog.__all__) == len(set(eventlog.__all__)), "__all__ names something twice"
    fail_with(complaints)


def test_nothing_public_is_missing_from_all() -> None:
    """What the front door lets through without an underscore stands in `__all__`; modules aside."""
    strays = [
        name
        for name, value in vars(eventlog).items()
        if is_public(name)
        and name not in eventlog.__all__
        and not isinstance(value, types.ModuleType)
        and name != "annotations"
    ]
    assert strays == []


def test_every_error_is_exported() -> None:
    """Who can meet an error can name it."""
    errors = {name for name, value in vars(eventlog.errors).items() if is_public(name) and is_exception(value)}
    assert errors - set(eventlog.__all__) == set()


def test_every_error_descends_from_ours_and_says_whether_to_retry() -> None:
    """One `except EventLogError` catches them all, and `retriable` is a plain boolean."""
    for name, value in vars(eventlog.errors).items():
        if is_public(name) and is_exception(value):
            assert issubclass(value, eventlog.EventLogError), name
            assert isinstance(value.retriable, bool), name


# --- rule 30: the parts of an error -------------------------------------------------------------------------------


def test_every_error_of_ours_is_made_of_its_parts() -> None:
    """What failed, what is stored, what to do: a program takes the message apart, and replaces the advice."""
    ours = {name for name, value in vars(eventlog.errors).items() if is_exception(value)}
    makers = {*ours, "kind", "kind_of"}  # a class that was chosen before, or by `kind_of()`
    made = [
        (source, call)
        for source in package()
        for call in (node for node in source.nodes if isinstance(node, ast.Call))
        if _maker(call.func) in makers
    ]
    assert len(made) > 80, "few errors found: the rule would hold of nothing"
    fail_with(
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


# --- rule 16: composition -------------------------------------------------------------------------------------------

PARTS_OF_THE_STORE = {
    "StoreAppends", "StoreGroups", "StoreHistory", "StoreMaintenance", "StoreReading", "StoreStates", "StoreTopics",
}  # fmt: skip
"""The parts of `Store`, each in the room of its subject; docs/decisions/0072-one-facade.md says why they stay."""


def test_no_method_stands_in_for_one_of_another_class() -> None:
    """A part that needs a method of the whole is handed it; a class that leaves one to its subclasses is abstract."""
    fail_with(
        [source.at(method, f"{name} only raises NotImplementedError") for source, name, method in _stubs(package())]
    )


def test_no_class_borrows_the_attributes_of_another() -> None:
    """A class makes the attributes that it declares, or one of its bases does: else it is half of another class."""
    borrowing = list(_borrowing(package()))
    assert {node.name for _, node, _ in borrowing} >= PARTS_OF_THE_STORE, "a part of the store is listed without need"
    fail_with(
        [
            source.at(node, f"{node.name} declares {', '.join(names)}, and nothing there makes them")
            for source, node, names in borrowing
            if node.name not in PARTS_OF_THE_STORE
        ]
    )


def _stubs(sources: Iterable[Source]) -> Iterator[tuple[Source, str, Function]]:
    for source in sources:
        for method in source.functions():
            body = method.body[1:] if ast.get_docstring(method) is not None else method.body
            if len(body) == 1 and isinstance(body[0], ast.Raise) and "NotImplementedError" in ast.unparse(body[0]):
                yield source, method.name, method


def _borrowing(sources: Iterable[Source]) -> Iterator[tuple[Source, ast.ClassDef, list[str]]]:
    found = [(source, node) for source in sources for node in source.nodes if isinstance(node, ast.ClassDef)]
    classes: dict[str, list[ast.ClassDef]] = {}
    for _, node in found:
        classes.setdefault(node.name, []).append(node)

    def bases(node: ast.ClassDef) -> Iterator[str]:
        for base in node.bases:
            name = ast.unparse(base).partition("[")[0]  # with its module, if that is named: another one's, mostly
            yield name
            for above in classes.get(name, ()) if name != node.name else ():
                yield from bases(above)

    for source, node in found:
        above = set(bases(node))
        foreign = above - classes.keys() - {"Generic", "object"}  # these may make them
        if foreign or above & {"FrontDoor", "NamedTuple"} or node.decorator_list:
            continue
        declared = [
            one.target.id
            for one in node.body
            if isinstance(one, ast.AnnAssign) and one.value is None and isinstance(one.target, ast.Name)
            if "ClassVar" not in ast.unparse(one.annotation)
        ]
        made = set().union(*(_made(one) for name in (node.name, *above) for one in classes.get(name, ())))
        if borrowed := [name for name in declared if name not in made]:
            yield source, node, borrowed


def _made(node: ast.ClassDef) -> set[str]:
    """The attributes that a class sets, or has slots for."""
    made = {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)}
    slots = [
        one.value for one in node.body if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "__slots__"
    ]
    return made | {one.value for slot in slots for one in ast.walk(slot) if isinstance(one, ast.Constant)}


# --- rules 33, 35: effects ------------------------------------------------------------------------------------------


def test_threads_start_in_few_files() -> None:
    """Only the sender, heartbeat, cleaner, a loop's worker and a listener start a thread, and `close()` joins it."""
    fail_with(
        [
            source.at(call, "a thread starts here; only " + " and ".join(sorted(THREAD_STARTERS)) + " may")
            for source in package()
            if source.inside not in THREAD_STARTERS and not source.inside.startswith("cli/")
            for call, name in source.calls()
            if name in {"Thread", "Timer", "ThreadPoolExecutor", "start_new_thread"}
        ]
    )


def test_only_the_command_prints() -> None:
    """A library is silent."""
    fail_with(
        [
            source.at(call, "prints; only cli/ may")
            for source in package()
            if not source.inside.startswith("cli/")
            for call, name in source.calls()
            if name == "print"
        ]
    )


# --- rules 42, 43: tests --------------------------------------------------------------------------------------------


def test_every_test_says_in_one_sentence_what_it_shows() -> None:
    """Each test has a docstring of one sentence."""
    complaints = []
    for source in read("tests"):
        for function in source.functions():
            if not function.name.startswith("test_"):
                continue
            doc = ast.get_docstring(function)
            if doc is None:
                complaints.append(source.at(function, f"{function.name} has no docstring"))
            elif not doc.splitlines()[0].endswith("."):
                complaints.append(source.at(function, f"{function.name}: {doc.splitlines()[0]!r} is no sentence"))
    fail_with(complaints)


def test_no_test_sleeps() -> None:
    """A sleep is a guess about another machine's speed; a test waits for the event itself."""
    fail_with(
        [
            source.at(call, "sleeps")
            for source in read("tests")
            for call, name in source.calls()
            if name == "sleep" and ast.unparse(call.func) in {"sleep", "time.sleep"}
        ]
    )


# --- rule 47, and what is left open -----------------------------------------------------------------------------------


def test_code_is_ascii() -> None:
    """Code is ASCII, so that it reads alike everywhere; other letters come in as escapes."""
    fail_with(
        [
            f"{source.name}:{number}: {line.strip()!a}"
            for source in everything()
            for number, line in enumerate(source.text.splitlines(), 1)
            if not line.isascii()
        ]
    )


def test_nothing_is_left_open_in_the_tree() -> None:
    """What is still to be done is an issue, not a comment."""
    marks = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b")
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    texts = [(source.name, source.text) for source in everything()]
    texts += [*_code_in_c(), *((page.relative_to(ROOT).as_posix(), page.read_text("utf-8")) for page in pages)]
    fail_with(
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
    fail_with([f"{name}:{complaint}" for name, text in _code_in_c() for complaint in _complaints_about_c(text)])


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


def test_the_rule_for_borrowing_finds_a_mixin() -> None:
    """One as it stood here: it declares the store that another class makes, and stubs a method of it."""
    text = (
        "class LogQueues:\n"
        "    _store: Backend\n"
        "    _count: int\n"
        "    def __init__(self) -> None:\n"
        "        self._count = 0\n"
        "    def _check_open(self) -> None:\n"
        "        raise NotImplementedError\n"
        "class Whole(LogQueues):\n"
        "    _count: int\n"
    )
    sources = [Source(ROOT / "mixin.py", text, ast.parse(text))]
    assert [name for _, name, _ in _stubs(sources)] == ["_check_open"]
    assert [(node.name, names) for _, node, names in _borrowing(sources)] == [("LogQueues", ["_store"])]
