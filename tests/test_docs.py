"""
The documentation is true: its examples run, and its reference leaves nothing out.

A page is a story: its blocks marked `python` run from top to bottom in one namespace, in an empty directory. A
block marked `python no-run` is only compiled. Lines that begin with `>>>` are checked as doctests.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import logging
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

import eventlog
from tests.docs.api_page import parts_of

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
PAGES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if path.exists()]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL)
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@attrs.frozen
class Block:
    """One fenced block: its text, its line in the page, and whether it runs."""

    text: str
    line: int
    runs: bool


def _blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    blocks = []
    for match in _FENCE.finditer(text):
        language, *words = match["info"].split() or [""]
        if language in {"python", "pycon"}:
            body = re.sub(rf"^{match['indent']}", "", match["body"], flags=re.MULTILINE)
            blocks.append(Block(body, text.count("\n", 0, match.start("body")), "no-run" not in words))
    return blocks


def _run(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    if ">>> " in block.text:
        name = page.relative_to(ROOT).as_posix()
        test = doctest.DocTestParser().get_doctest(block.text, {}, name, str(page), block.line)
        test.globs = namespace  # the parser copies; a story goes on in the same one
        _check(test)
    else:
        code = compile("\n" * block.line + block.text, str(page), "exec", dont_inherit=True)  # pages have no __future__
        if block.runs:
            exec(code, namespace)


def _check(test: doctest.DocTest) -> None:
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=_FLAGS).run(test, out=report.append, clear_globs=False)
    if result.failed:
        pytest.fail("".join(report), pytrace=False)


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Takes back what a page says about Python's log, which the tests after it listen to."""
    root = logging.getLogger()
    levels = {name: one.level for name, one in root.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    before, handlers = root.level, list(root.handlers)
    yield
    for name, one in root.manager.loggerDict.items():
        if isinstance(one, logging.Logger):
            one.setLevel(levels.get(name, logging.NOTSET))
            one.disabled = False
    root.setLevel(before)
    root.handlers[:] = handlers


@pytest.mark.usefixtures("logging_as_before")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_examples_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who types a page in, from top to bottom, gets what it says."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in _blocks(page):
        _run(block, page, namespace)


# --- docstrings ---------------------------------------------------------------------------------------------------


def _modules() -> Iterator[ModuleType]:
    yield eventlog
    for module in pkgutil.walk_packages(eventlog.__path__, "eventlog."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            yield importlib.import_module(module.name)


def _doctests() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [
        test
        for module in _modules()
        for test in finder.find(module, extraglobs={"eventlog": eventlog})
        if test.examples
    ]


@pytest.mark.parametrize("test", _doctests(), ids=lambda test: test.name)
def test_example_of_a_docstring_runs(test: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An example in a docstring does what it shows."""
    monkeypatch.chdir(tmp_path)
    _check(test)


# --- the reference is complete ------------------------------------------------------------------------------------


def _reference() -> str:
    pages = sorted(REFERENCE.glob("**/*.md"))
    assert pages, f"no page in {REFERENCE}"
    return "\n".join(page.read_text("utf-8") for page in pages)


def _is_named(name: str, text: str) -> bool:
    """Whether the text has the name in code style: `name`, `eventlog.name(...)`, `name=...`, or in a code block."""
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", code) is not None


def _missing(names: list[str]) -> list[str]:
    text = _reference()
    return [name for name in names if not _is_named(name, text)]


def _options(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def test_the_reference_has_every_public_name() -> None:
    """What can be imported from `eventlog` is described in the reference."""
    assert _missing(list(eventlog.__all__)) == []


def test_the_reference_has_every_public_method() -> None:
    """What can be called on a public class is described in the reference."""
    methods = {
        name
        for public in eventlog.__all__
        if inspect.isclass(value := getattr(eventlog, public)) and not issubclass(value, BaseException)
        for part in parts_of(value)
        for name, member in vars(part).items()
        if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property))
    }
    assert _missing(sorted(methods)) == []


@pytest.mark.parametrize("name", ["open", "topic", "producer", "consumer", "transaction", "processor", "projection"])
def test_the_reference_has_every_option(name: str) -> None:
    """Each keyword of the makers is described in the reference."""
    function = eventlog.open if name == "open" else getattr(eventlog.EventLog, name)
    options = _options(function)
    assert options, f"{name}() takes no keywords: this test looks at the wrong thing"
    assert _missing(options) == []


def test_the_reference_has_every_error() -> None:
    """Each error class is described in the reference."""
    errors = [
        name
        for name in eventlog.__all__
        if inspect.isclass(value := getattr(eventlog, name)) and issubclass(value, BaseException)
    ]
    assert errors
    assert _missing(errors) == []


def test_the_reference_has_every_command() -> None:
    """Each command that `eventlog --help` lists is described in the reference."""
    commands = list(importlib.import_module("eventlog.cli.root").COMMANDS)
    assert {"topics", "groups"} <= set(commands)
    assert _missing([f"eventlog {command}" for command in commands]) == []


def test_the_reference_has_every_variable_of_the_environment() -> None:
    """A variable that the code knows stands in the table of installation.md, and no other does."""
    page = (REFERENCE / "installation.md").read_text("utf-8")
    texts = [path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py")]
    known = {name for text in texts for name in re.findall(r"EVENTLOG_[A-Z_]+", text)}
    assert known
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == known


# --- the pages hold together ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page",
    [*PAGES, *(path for name in ("CONTRIBUTING.md", "CHANGELOG.md") if (path := ROOT / name).exists())],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    """A link to a file of this project leads to a file that is there."""
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text("utf-8"))
    broken = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert broken == []


def test_every_decision_record_has_a_number_of_its_own() -> None:
    """A number names one record for good; work that goes on side by side may leave one out."""
    numbers = sorted(path.name[:4] for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert all(number.isdigit() for number in numbers)
    assert len(numbers) == len(set(numbers))


def test_the_runner_finds_a_wrong_example(tmp_path: Path) -> None:
    """A page whose example is wrong fails, so the tests above can."""
    page = tmp_path / "page.md"
    page.write_text("```python\nnumber = 1\n```\n\n```python\nassert number == 2\n```\n", "utf-8")
    namespace: dict[str, Any] = {}
    first, second = _blocks(page)
    _run(first, page, namespace)
    with pytest.raises(AssertionError):
        _run(second, page, namespace)
