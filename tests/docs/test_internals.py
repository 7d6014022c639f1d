"""The page about the inside names files and functions that exist, and every room of the import contract."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "eventlog"
PAGE = ROOT / "docs" / "internals" / "README.md"
TEXT = PAGE.read_text("utf-8")
STEPS = [
    (function, tuple(re.findall(r"`([\w/]+\.py)`", paths)))
    for functions, paths in re.findall(r"^\| \d+\.[^|]* \|([^|]*)\|([^|]*)\|", TEXT, re.MULTILINE)
    for function in re.findall(r"`([\w.]+)`", functions)
]


def names_of(path: Path) -> set[str]:
    """The functions of a module, and the methods of its classes as `Class.method`."""
    tree = ast.parse(path.read_text("utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for cls in tree.body:
        if isinstance(cls, ast.ClassDef):
            names |= {f"{cls.name}.{node.name}" for node in cls.body if isinstance(node, ast.FunctionDef)}
    return names


@pytest.mark.parametrize(("function", "paths"), STEPS)
def test_every_step_has_its_function(function: str, paths: tuple[str, ...]) -> None:
    """A hop of a record's way is a function of a file that the page names beside it."""
    assert any(function in names_of(SOURCE / path) for path in paths), paths


def test_the_steps_are_found() -> None:
    """Both ways are on the page."""
    assert len(STEPS) >= 20


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:\w+/)*\w+\.py)`", TEXT))))
def test_every_file_exists(path: str) -> None:
    """A file named on the page is in `src/eventlog/`."""
    assert (SOURCE / path).is_file()


def test_every_room_is_on_the_page() -> None:
    """The floors of the import contract, and the folders of the two big ones."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers" and one["containers"] == ["eventlog"])
    names = [name.strip() for layer in layers for name in layer.split(":")]
    rooms = [name for name in names if not name.startswith("(")]
    folders = [
        path.name
        for room in ("clients", "store")
        for path in (SOURCE / room).iterdir()
        if (path / "__init__.py").exists()
    ]
    lacking = [f"{room}/" for room in rooms if (SOURCE / room).is_dir() and f"`{room}/`" not in TEXT]
    lacking += [f"{room}.py" for room in rooms if (SOURCE / f"{room}.py").is_file() and f"`{room}.py`" not in TEXT]
    lacking += [f"{folder}/" for folder in folders if f"`{folder}/`" not in TEXT]
    assert lacking == []
