"""The pages of the recipes show the examples that the tests run, and nothing else."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest

from tests.examples.programs import ROOT

RECIPES = {
    "fastapi": "fastapi_service",
    "django": "django_site",
    "gunicorn": "gunicorn_service",
    "systemd": "systemd_service",
    "notebook": "notebook",
}
_FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMANDS = {"console", "sh"}
_READ = {".py", ".service", ".ipynb"}


def _shown(page: Path) -> list[str]:
    """The code of a page, without the commands for a shell."""
    return [text for language, text in _FENCE.findall(page.read_text("utf-8")) if language not in _COMMANDS]


def _code(path: Path) -> str:
    """What a file shows; the cells of a notebook one after the other."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        text = "".join(line for cell in json.loads(text)["cells"] for line in [*cell["source"], "\n"])
    return textwrap.dedent(text)


@pytest.mark.parametrize("name", RECIPES)
def test_a_page_shows_lines_of_its_example(name: str) -> None:
    """Each block of code stands in a file of the example, word for word; its indentation may differ."""
    code = [_code(path) for path in (ROOT / "examples" / RECIPES[name]).rglob("*") if path.suffix in _READ]
    blocks = _shown(ROOT / "docs" / "how-to" / f"{name}.md")
    assert blocks
    for block in blocks:
        plain = textwrap.dedent(block)
        forms = [textwrap.indent(plain, " " * width) for width in range(0, 20, 4)]
        assert any(form in text for form in forms for text in code), f"not in {RECIPES[name]}:\n{block}"
