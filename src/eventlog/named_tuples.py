"""
`NamedTuple` as `typing` has it, made in a third of the time.

`typing.NamedTuple` compiles and checks the annotation of every field, which takes 50 to 100 us a class. Every program
makes some forty of them when it imports us, and twenty more when it joins its first group. Here annotations stay the
strings that they are in the source. Type checkers see the class of `typing`.
"""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414 - so it is exported
else:

    class _Maker(type):
        """The class of `NamedTuple`: a class made from it is one of `collections.namedtuple`."""

        def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, namespace)
            fields = namespace.get("__annotations__", ())
            defaults = [namespace.pop(field) for field in fields if field in namespace]
            made = namedtuple(name, fields, defaults=defaults, module=namespace["__module__"])  # noqa: PYI024
            for attribute, value in namespace.items():
                if attribute != "__module__":
                    setattr(made, attribute, value)
            return made

    class NamedTuple(metaclass=_Maker):
        """A tuple with names for its fields, as the class says them, and with its methods."""
