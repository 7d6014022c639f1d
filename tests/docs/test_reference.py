"""
The reference says what the code does: signatures, defaults, errors, names of locks and of tests.

`tests/test_docs.py` sees to it that nothing is left out; here we see to it that what is there is true.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog import options
from eventlog.batches.format import TARGET_BYTES
from eventlog.store.lmdb import opening
from tests.docs import api_page, cli_page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"


def _text(page: Path) -> str:
    return page.read_text("utf-8")


def _rows(text: str) -> list[list[str]]:
    """The rows of all tables, without heads and rules."""
    lines = [line.strip() for line in text.splitlines()]
    tables = [number for number, line in enumerate(lines) if re.fullmatch(r"\|( *-+:? *\|)+", line)]
    heads = {number - 1 for number in tables}
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for number, line in enumerate(lines)
        if line.startswith("|") and number not in heads and number not in tables
    ]


def _sections() -> dict[str, str]:
    """The sections of options.md that are about one function, by its name."""
    parts = re.split(r"^## `([\w.]+)`$", _text(REFERENCE / "options.md"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.split("\n## ")[0] for part in parts[2::2]), strict=True))


def _default(cell: str) -> Any:
    """What a cell says of a default."""
    return inspect.Parameter.empty if cell == "required" else ast.literal_eval(cell.strip("`"))


def _function(name: str) -> Any:
    first, last = name.split(".")
    return getattr(eventlog if first == "eventlog" else getattr(eventlog, first), last)


def test_the_api_page_is_what_the_docstrings_say() -> None:
    """The page is made, not written; a docstring that changes changes it."""
    assert _text(api_page.PAGE) == api_page.page(), "run: python -m tests.docs.api_page"


@pytest.mark.parametrize("name", sorted(_sections()))
def test_options_have_the_defaults_of_the_signature(name: str) -> None:
    """Each keyword of a function is a row of its table, with the default that the signature has."""
    stated = {row[0].strip("`"): _default(row[1]) for row in _rows(_sections()[name])}
    parameters = inspect.signature(_function(name)).parameters.values()
    assert stated == {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}


def test_every_function_with_keywords_has_its_table() -> None:
    """A public method that takes keywords stands in options.md."""
    functions = {
        f"{name}.{member_name}"
        for name in eventlog.__all__
        if inspect.isclass(cls := getattr(eventlog, name)) and not issubclass(cls, BaseException)
        for part in api_page.parts_of(cls)
        for member_name, member in vars(part).items()
        if not member_name.startswith("_")
        and inspect.isfunction(inspect.unwrap(member))
        and any(one.kind is one.KEYWORD_ONLY for one in inspect.signature(member).parameters.values())
    }
    assert functions
    assert functions - set(_sections()) == set()


def test_every_number_has_a_unit() -> None:
    """An option whose default is a number says what it counts."""
    lacking = [
        f"{name}: {row[0]}"
        for name, section in _sections().items()
        for row in _rows(section)
        if isinstance(default := _default(row[1]), (int, float)) and not isinstance(default, bool) and not row[2]
    ]
    assert lacking == []


def test_the_bounds_of_the_pages_are_those_of_the_code() -> None:
    """Limits are written in two places, in words and in code, and are the same."""
    limits = _text(REFERENCE / "limits.md") + _text(REFERENCE / "options.md")
    for number in (
        options.MAX_NAME_LENGTH,
        options.MAX_PARTITIONS,
        options.MAX_RECORD_BYTES,
        options.LARGEST_RECORD_BYTES,
        TARGET_BYTES,
        opening.LEAST_MAP_BYTES,
        opening.MAX_READERS,
    ):
        assert f"{number:,}" in limits
    assert (opening.MAP_BYTES, opening.MEMORY_MAP_BYTES) == (1 << 40, 16 << 30)


def test_errors_have_the_base_and_the_retriability_of_the_class() -> None:
    """Each error of errors.md says what the class says."""
    table = _text(REFERENCE / "errors.md").partition("## The classes")[2].partition("\n## ")[0]
    rows = {row[0].strip("`"): row for row in _rows(table)}
    for name in eventlog.__all__:
        error = getattr(eventlog, name)
        if inspect.isclass(error) and issubclass(error, eventlog.EventLogError):
            bases = [base.__name__ for base in error.__bases__ if base not in (eventlog.EventLogError, Exception)]
            assert rows[name][1] == ", ".join(f"`{base}`" for base in bases), name
            assert rows[name][2] == ("yes" if error.retriable else "no"), name
            assert len(rows[name]) == 6, name


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", _text(page), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda page: page.name)
def test_links_into_a_page_find_their_heading(page: Path) -> None:
    """What follows the `#` of a link is a heading of the page it leads to."""
    for target, anchor in re.findall(r"\]\(([^)\s#]*)#([^)\s]+)\)", _text(page)):
        if "://" not in target:
            assert anchor in _anchors(page.parent / target if target else page), f"{target}#{anchor}"


def test_every_page_is_reached_from_the_readme() -> None:
    """Somebody who starts at the README can find each page by following links."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page.is_dir():
            waiting += page.glob("*.md")
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", _text(page))
        waiting += [(page.parent / target).resolve() for target in targets if "://" not in target]
    lost = [page.relative_to(ROOT).as_posix() for page in sorted(DOCS.rglob("*.md")) if page not in seen]
    assert lost == []


def _locks() -> set[tuple[str, str]]:
    """Every lock and bell that the sources make: its file, and the name it is given."""
    found = set()
    for path in sorted((ROOT / "src" / "eventlog").rglob("*.py")):
        name = path.relative_to(ROOT / "src" / "eventlog").as_posix()
        for node in ast.walk(ast.parse(_text(path))):
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if re.match(r"threading\.(R?Lock|Condition|Event|Semaphore|Barrier)\(", ast.unparse(node.value)):
                    found.add((name, ast.unparse(target).removeprefix("self.").lstrip("_")))
    return found


def test_every_lock_is_on_the_page_about_locks() -> None:
    """The page names each lock and bell of the sources, with its file."""
    rows = _rows(_text(DOCS / "internals" / "locks.md").partition("\n## The order")[0])
    named = {(row[1].strip("`"), row[0].strip("`").lstrip("_")) for row in rows if row[1].endswith(".py`")}
    assert _locks()
    assert _locks() - named == set()


def test_the_page_of_the_command_is_what_its_help_says() -> None:
    """Whoever changes a command runs `python -m tests.docs.cli_page`."""
    assert _text(cli_page.PAGE) == cli_page.page()
