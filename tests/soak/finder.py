"""A harness that always finds something: the soak has to notice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path


def trial(seed: int, directory: Path) -> Counter[str]:
    """Leaves a file and complains."""
    (directory / "left").write_text(str(seed))
    raise AssertionError(f"a record was lost with seed {seed}")
