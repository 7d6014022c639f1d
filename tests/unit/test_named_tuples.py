"""Our `NamedTuple` makes the classes that the one of `typing` makes."""

from __future__ import annotations

import pickle
import typing

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
