"""Upcasters: functions that turn the stored fields of one version of a class into those of the next."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from eventlog.codecs.base import Codec, shorten, type_name
from eventlog.interruptions import unless_interrupted

Chain: TypeAlias = tuple[Callable[[dict[str, Any]], Any], ...]
"""The upcasters of one name: the first takes version 1, the second version 2, and so on."""


def checked_upcasters(upcasters: object, where: str, *, known: Collection[str] | None = None) -> dict[str, Chain]:
    """
    Return a copy of the upcasters.

    Args:
        upcasters: as they were passed.
        where: the topic or state, for messages.
        known: the only names that may have upcasters; None for any name.

    Raises:
        TypeError: they are not valid.
    """
    if upcasters is None:
        return {}
    wrong = None
    chains: dict[str, Chain] = {}
    if not isinstance(upcasters, Mapping):
        wrong = f"{type_name(upcasters)} is not a mapping"
    else:
        for name, chain in upcasters.items():
            if not isinstance(name, str):
                wrong = f"{type_name(name)} is not the name of a class"
            elif known is not None and name not in known:
                wrong = f"the only class is {shorten(', '.join(known))}, not {shorten(name)}"
            elif not isinstance(chain, Sequence) or isinstance(chain, str):
                wrong = f"{type_name(chain)} of {shorten(name)!r} is not a list of functions"
            elif not all(map(callable, chain)):
                wrong = f"a member of the list of {shorten(name)!r} cannot be called"
            else:
                chains[name] = tuple(chain)
    if wrong:
        raise TypeError(
            f"cannot use upcasters= for {where}: {wrong}. Nothing was stored. Pass a mapping from names of classes to "
            f'lists of functions, e.g. {{"Opened": [from_1_to_2, from_2_to_3]}}.'
        )
    return chains


def upcast(codec: Codec[Any], name: str, chain: Chain, version: int, fields: Any, *, ends: Collection[type]) -> Any:
    """
    Return the newest fields of an older version, or the instance that the last upcaster made.

    Args:
        codec: the codec that reads them.
        name: the stored name of their class.
        chain: the upcasters of that name.
        version: the version of the fields.
        fields: the fields, which become the upcasters' own.
        ends: the types that the last upcaster may return beside a dict.

    Raises:
        ValueError: an upcaster raised, or returned something else.
    """
    for number in range(version, len(chain) + 1):
        try:
            made = chain[number - 1](fields)
        except unless_interrupted(Exception) as error:  # the caller's code may raise any error
            raise codec.damaged(f"{_upcaster(name, number)}: {type(error).__name__}: {error}") from error
        if type(made) in ends and number == len(chain):
            return made
        if not isinstance(made, dict):
            raise codec.damaged(f"{_upcaster(name, number)} returned {type_name(made)}")
        fields = made
    return fields


def _upcaster(name: str, number: int) -> str:
    """Return the name in messages of the upcaster that takes the fields of version `number`."""
    return f"upcaster {number} of {name[:30]}"
