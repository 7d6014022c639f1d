"""Our `NamedTuple` makes the classes that the one of `typing` makes."""

from __future__ import annotations

import copy
import inspect
import pickle
import typing
from typing import Any

import pytest

from eventlog.named_tuples import NamedTuple

K = typing.TypeVar("K")


class Place(NamedTuple):
    """A place."""

    name: str
    number: int | None = None

    @property
    def text(self) -> str:
        """Both."""
        return f"{self.name}:{self.number}"


class Both(NamedTuple, typing.Generic[K]):
    """Two."""

    one: K
    other: K


class Nothing(NamedTuple):
    """No field."""


def test_fields_defaults_methods_and_documentation_are_those_of_the_class() -> None:
    """As a class of `typing` has them."""
    place = Place("a")
    assert (place, place.text, Place("b", 2)._replace(name="c")) == (("a", None), "a:None", ("c", 2))
    assert (Place.__doc__, Place.__module__, Place._fields) == ("A place.", __name__, ("name", "number"))
    assert typing.get_type_hints(Place) == {"name": str, "number": int | None}
    assert (Both(1, 2).other, Nothing()) == (2, ())


def test_a_value_comes_back_from_a_pickle() -> None:
    """With its class."""
    again = pickle.loads(pickle.dumps(Place("a", 1)))
    assert (again, type(again)) == (("a", 1), Place)


def test_no_other_field_can_be_passed_or_set() -> None:
    """A slip of the pen is an error."""
    with pytest.raises(TypeError):
        Place("a", 1, 2)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        Place("a").size = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        Place(1, nombre=2)  # type: ignore[call-arg, arg-type]


def pair_of_classes(count: int) -> tuple[Any, Any]:
    """Two classes with the same fields, ours and that of `typing`; the last field has a default if there are two."""
    fields = [f"field_{number}" for number in range(count)]
    lines = [f"    {field}: int{' = 7' if count > 1 and field == fields[-1] else ''}\n" for field in fields]
    made: list[Any] = []
    for base in (NamedTuple, typing.NamedTuple):
        space = {"NamedTuple": base, "__name__": __name__}
        exec("from __future__ import annotations\nclass Fields(NamedTuple):\n" + ("".join(lines) or "    pass"), space)
        made.append(space["Fields"])
    return made[0], made[1]


@pytest.mark.parametrize("count", range(18))
def test_a_class_of_so_many_fields_is_like_one_of_typing(count: int) -> None:
    """What is shown, copied, taken apart, replaced, and said of a wrong call."""
    ours, theirs = pair_of_classes(count)
    for name in ("_fields", "_field_defaults", "__match_args__", "__slots__", "__bases__", "__doc__", "__module__"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert parameters_of(ours) == parameters_of(theirs)
    numbers = range(count)
    one, other = ours(*numbers), theirs(*numbers)
    assert (repr(one), one._asdict(), tuple(one)) == (repr(other), other._asdict(), tuple(other))
    assert one == ours(**one._asdict()) == ours._make(numbers) == copy.copy(one) == copy.deepcopy(one)
    assert [getattr(one, name) for name in ours._fields] == list(numbers)
    if count > 1:
        assert ours(*numbers[:-1])[-1] == 7
        assert one._replace(field_1=50) == other._replace(field_1=50)
    for call in (
        lambda made: made(*numbers, 1),
        lambda made: made(nothing=1),
        lambda made: made._make([*numbers, 1]),
        lambda made: made(*numbers)._replace(nothing=1),
    ):
        assert error_of(call, ours) == error_of(call, theirs)


def parameters_of(made: Any) -> list[tuple[str, Any, Any]]:
    """The parameters of the constructor, without their annotations."""
    return [(one.name, one.kind, one.default) for one in inspect.signature(made).parameters.values()]


def error_of(call: Any, made: Any) -> tuple[type, str]:
    """What a wrong call of a class raises."""
    with pytest.raises((TypeError, ValueError)) as raised:
        call(made)
    return raised.type, str(raised.value)
