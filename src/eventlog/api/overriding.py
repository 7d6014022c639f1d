"""
The decorator of methods that implement a method of the front door.

Their docstring is the one of the abstract method. Type checkers and ruff read `override` as the one of `typing`, which
Python has from 3.12 on; at runtime it names the method as users know it, for the errors of wrong calls.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method: T) -> T:
        """Mark a method as one of the front door."""
        if isinstance(method, FunctionType):
            method.__qualname__ = public_name(method.__qualname__)
        return method


def public_name(name: str) -> str:
    """
    The name that users know a class by.

    Example:
        >>> public_name("EmbeddedLog.topic"), public_name("EmbeddedTopic.append")
        ('EventLog.topic', 'Topic.append')
    """
    if name.startswith("EmbeddedLog"):
        return "EventLog" + name.removeprefix("EmbeddedLog")
    return name.removeprefix("Embedded")


__all__ = ["override", "public_name"]
