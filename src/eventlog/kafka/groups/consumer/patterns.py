"""
Regular expressions that clients subscribe by, as far as it is safe to match them.

Kafka takes the syntax of RE2, which matches in linear time. Python's `re` does not, and native members of the group
match the same expression with it. So only what both understand alike is taken, and only with repetitions that cannot
multiply: at most two that may end at several places, each of a single character.
"""

from __future__ import annotations

import re
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Final

from eventlog.interruptions import unless_interrupted

_MOST_BYTES: Final = 1_000
_MOST_OPEN: Final = 2
_PLAIN: Final = frozenset(
    {constants.LITERAL, constants.NOT_LITERAL, constants.ANY, constants.IN, constants.AT, constants.CATEGORY}
)
_REPEATS: Final = frozenset({constants.MAX_REPEAT, constants.MIN_REPEAT})


def refusal_of(pattern: str) -> str | None:
    """Why a regular expression is not taken; None for one that is."""
    if len(pattern) > _MOST_BYTES:
        return f"it has more than {_MOST_BYTES} characters"
    try:
        re.compile(pattern)
        parsed = parser.parse(pattern)
    except unless_interrupted(re.error, OverflowError, RecursionError) as error:
        return str(error)
    try:
        count = _open_repetitions(parsed)
    except unless_interrupted(ValueError) as error:
        return str(error)
    if count > _MOST_OPEN:
        return f"it has {count} repetitions of no fixed count, and {_MOST_OPEN} at most are safe to match"
    return None


def _open_repetitions(parsed: Any) -> int:
    """Count the repetitions of no fixed count, and refuse all that `re` may take long for."""
    count = 0
    for operation, argument in parsed:
        if operation in _REPEATS:
            least, most, repeated = argument
            is_single = len(repeated) == 1 and repeated[0][0] in _PLAIN
            if most == 1:
                count += _open_repetitions(repeated)
            elif not is_single:
                raise ValueError("it repeats more than a single character")
            else:
                count += least != most  # a fixed count can match in one way alone
        elif operation is constants.SUBPATTERN:
            count += _open_repetitions(argument[-1])
        elif operation is constants.BRANCH:
            count += sum(_open_repetitions(branch) for branch in argument[1])
        elif operation not in _PLAIN:
            raise ValueError("it looks back or ahead, which RE2 does not")
    return count
