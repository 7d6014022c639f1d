"""
The decorator of methods that implement a method of the front door.

Their docstring is the one of the abstract method. Type checkers and ruff read `override` as the one of `typing`, which
Python has from 3.12 on; at runtime it does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method: T) -> T:
        """Mark a method as one of the front door."""
        return method


__all__ = ["override"]
