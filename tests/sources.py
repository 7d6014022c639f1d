"""The files of this project as the rules of the house read them: their text and their syntax trees."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "eventlog"

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@attrs.frozen
class Source:
    """One file of Python: its text, its tree, and its name from the root of the project."""

    path: Path
    text: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...] = attrs.field(init=False, repr=False)
    """All of the tree, kept because most rules look at all."""

    @nodes.default
    def _all_nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

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
        return (node for node in self.nodes if isinstance(node, Function))

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Every call, with the last part of the called name: `Thread` for `threading.Thread()`."""
        for node in self.nodes:
            if isinstance(node, ast.Call):
                if isinstance(node.func, ast.Name):
                    yield node, node.func.id
                elif isinstance(node.func, ast.Attribute):
                    yield node, node.func.attr

    def documented(self) -> Iterator[tuple[Documented, str, str]]:
        """Every node with a docstring, its name, and the docstring."""
        for node in self.nodes:
            if isinstance(node, Documented) and (doc := ast.get_docstring(node)) is not None:
                name = self.path.stem if isinstance(node, ast.Module) else node.name
                yield node, name, doc


@cache
def read(folder: str) -> tuple[Source, ...]:
    """
    Return every file of Python in a folder.

    A million nodes of trees would have the garbage collector look at all of them again and again: six times the work.
    """
    paths = sorted((ROOT / folder).rglob("*.py"))
    gc.collect()
    gc.disable()
    try:
        return tuple(Source(path, text := path.read_text("utf-8"), ast.parse(text)) for path in paths)
    finally:
        gc.freeze()
        gc.enable()


def package() -> tuple[Source, ...]:
    """Return the files of `src/`."""
    sources = read("src")
    assert sources, "no sources found: the rules would hold of nothing"
    return sources


def everything() -> tuple[Source, ...]:
    """Return the files that are held to the rules."""
    return (*package(), *read("tests"), *read("benchmarks"), *read("examples"))


def fail_with(complaints: list[str]) -> None:
    """Fail with a line for each complaint; pass if there is none."""
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


def is_exception(value: object) -> bool:
    """Whether a value is a class of errors."""
    return isinstance(value, type) and issubclass(value, BaseException)


def is_public(name: str) -> bool:
    """Whether a name is for users."""
    return not name.startswith("_")


def own_docstring(value: object) -> str | None:
    """Return the docstring that a thing does not inherit, if it has one."""
    doc = value.__dict__.get("__doc__") if isinstance(value, type) else getattr(value, "__doc__", None)
    return doc if isinstance(doc, str) and doc.strip() else None
