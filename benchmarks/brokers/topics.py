"""The topics that every broker has."""

from __future__ import annotations

from typing import Final

ONE: Final = "one"
EIGHT: Final = "eight"
GROUPED: Final = "grouped"
SINGLE: Final = "single"
PARTITIONS: Final = {ONE: 1, EIGHT: 8, GROUPED: 1, SINGLE: 1}
"""Topics, and the counts of their partitions."""
