"""The pages of the recipes show the examples that the tests run, and nothing else."""

from __future__ import annotations

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
}
_FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMANDS = {"console", "sh"}


def _shown(page: Path) -> list[str]:
    """The code of a page, without the commands for a shell."""
    return [text for language, text in _FENCE.findall(page.read_text("utf-8")) if language not in _COMMANDS]


@pytest.mark.parametrize("name", RECIPES)
def test_a_page_shows_lines_of_its_example(name: str) -> None:
    """Each block of code stands in a file of the example, word for word; its indentation may differ."""
    files = [path for path in (ROOT / "examples" / RECIPES[name]).rglob("*") if path.suffix in {".py", ".service"}]
    code = [textwrap.dedent(path.read_text("utf-8")) for path in files]
    blocks = _shown(ROOT / "docs" / "how-to" / f"{name}.md")
    assert blocks
    for block in blocks:
        plain = textwrap.dedent(block)
        forms = [textwrap.indent(plain, " " * width) for width in range(0, 20, 4)]
        assert any(form in text for form in forms for text in code), f"not in {RECIPES[name]}:\n{block}"
