"""The compose file of the page about containers, as far as it can be read without Docker and a parser of YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "containers.md"
_SERVICE_KEYS = {"build", "user", "volumes", "init", "stop_grace_period", "command", "deploy", "group_add", "<<"}
"""The keys of a service that the page uses, all of the Compose specification."""


def _blocks() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", _PAGE.read_text("utf-8"), re.DOTALL)


def _paths(block: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The keys of each line that has one, from the outermost on, and its value; raises for lines that fit nowhere."""
    above: list[str] = []
    for line in block.splitlines():
        text = re.sub(r"\s+#.*$", "", line).rstrip()
        if not text or text.lstrip().startswith("- "):
            continue
        matched = re.fullmatch(r"((?:  )*)([\w<-]+):(?: (\S.*))?", text)
        assert matched is not None, line
        depth = len(matched[1]) // 2
        assert depth <= len(above), line
        above[depth:] = [matched[2]]
        yield tuple(above), matched[3] or ""


def test_the_compose_file_has_what_compose_knows() -> None:
    """Keys of services, one anchor that all of them use, and a volume that is declared."""
    block, *_ = _blocks()
    paths = dict(_paths(block))
    services = {path[1] for path in paths if path[0] == "services" and len(path) > 1}
    assert {path[0] for path in paths} == {"x-app", "services", "volumes"}
    assert paths["x-app",] == "&app"
    assert all(paths["services", service, "<<"] == "*app" for service in services)
    assert {path[1] for path in paths if path[0] == "x-app" and len(path) == 2} <= _SERVICE_KEYS
    assert {path[2] for path in paths if path[0] == "services" and len(path) == 3} <= _SERVICE_KEYS
    [volume] = re.findall(r"^ +- (\w+):/data$", block, re.MULTILINE)
    assert ("volumes", volume) in paths


def test_what_the_page_says_of_services_is_in_the_file() -> None:
    """The parts that change a service, and the namespaces that are shared with one."""
    block, *others = _blocks()
    services = {path[1] for path, _ in _paths(block) if path[0] == "services" and len(path) > 1}
    assert set(re.findall(r'pid: "service:(\w+)"', _PAGE.read_text("utf-8"))) <= services
    for other in others:
        paths = dict(_paths(f"services:\n{other}"))
        assert {path[1] for path in paths if len(path) > 1} <= services
        assert {path[2] for path in paths if len(path) > 2} <= _SERVICE_KEYS
