"""The notebook runs in a real kernel from its first cell to its last, and is kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.examples.programs import ROOT, Program

NOTEBOOK = ROOT / "examples" / "notebook" / "tour.ipynb"


def cells(path: Path) -> list[dict[str, Any]]:
    """The cells with code."""
    return [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


def run(notebook: Path, folder: Path) -> tuple[int, str, Path]:
    """Runs a notebook: the exit code, what was printed, and where the notebook with its outputs is."""
    target = folder / "run.ipynb"
    names = ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    environment = {**dict.fromkeys(names, str(folder)), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    with Program("-m", "tests.examples.run_notebook", str(notebook), str(target), environment=environment) as program:
        return program.end(seconds=60.0), program.output, target


def shown(cell: dict[str, Any]) -> str:
    """The output of a cell, as text."""
    return "".join("".join(output["data"]["text/plain"]) for output in cell["outputs"])


def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path) -> None:
    """It consumes columns, replays them, and awaits at the top of a cell what another cell has appended."""
    code, printed, target = run(NOTEBOOK, tmp_path)
    assert code == 0, printed
    done = cells(target)
    assert [cell["execution_count"] for cell in done] == list(range(1, len(done) + 1))
    outputs = {cell["source"][-1].strip(): shown(cell) for cell in done}
    assert outputs['len(again["offset"])'] == "0"
    assert outputs['len(replayed["offset"])'] == "1000"
    assert outputs["await asyncio.wait_for(collecting, timeout=10.0)"] == "['green', 'oolong', 'mint']"
    assert not [output for cell in done for output in cell["outputs"] if output["output_type"] != "execute_result"]


@pytest.mark.long
def test_a_notebook_with_a_wrong_cell_fails(tmp_path: Path) -> None:
    """The error of the cell is what is printed."""
    wrong = json.loads(NOTEBOOK.read_text("utf-8"))
    code = {"cell_type": "code", "id": "x", "metadata": {}, "execution_count": None, "outputs": []}
    wrong["cells"] = [{**code, "source": ["assert len([]) == 1"]}]
    (tmp_path / "wrong.ipynb").write_text(json.dumps(wrong), "utf-8")
    code, printed, _ = run(tmp_path / "wrong.ipynb", tmp_path)
    assert code == 1
    assert "AssertionError" in printed


def test_the_notebook_is_kept_without_outputs() -> None:
    """Outputs are lines that nobody wrote: clear them before you save it."""
    text = NOTEBOOK.read_text("utf-8")
    notebook = json.loads(text)
    assert [cell["outputs"] for cell in cells(NOTEBOOK)] == [[] for _ in cells(NOTEBOOK)]
    assert {cell["execution_count"] for cell in cells(NOTEBOOK)} == {None}
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
    assert set(notebook["metadata"]["language_info"]) == {"name"}
    assert text.isascii()
