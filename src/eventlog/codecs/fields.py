"""
The fields of classes: taken apart for MessagePack, and made again, through cattrs.

attrs classes, dataclasses, TypedDicts and NamedTuples are known to cattrs; `models.py` has those of other libraries.

A value that this module takes apart can be made again, and is equal. cattrs checks values when it reads and seldom when
it writes, so the checks here stand on the writing side: a record that nobody can read must never be stored.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import operator
import uuid
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import attrs

from eventlog.codecs.base import Codec, is_union, shorten, shown, type_name
from eventlog.codecs.documents import as_key, pack
from eventlog.codecs.keyed import dict_reader, dict_writer, pair_reader, pair_writer
from eventlog.codecs.kinds import fields_of, hints_of, library_of, short_name
from eventlog.codecs.models import Read, Write, model_hooks
from eventlog.interruptions import unless_interrupted

if TYPE_CHECKING:
    from cattrs import Converter

# Types that MessagePack has itself, and other types that such a field may hold. Without our checks cattrs converts
# every value to the type: None to the text "None".
_NATIVE: tuple[tuple[type, tuple[type, ...]], ...] = (
    (str, ()),
    (int, ()),
    (float, (int,)),
    (bytes, ()),
    (bool, ()),
    (dt.datetime, ()),
)
# Types that are stored as text, with the functions that write and read them.
_AS_TEXT: tuple[tuple[type, Callable[[Any], str], Callable[[str], Any]], ...] = (
    (dt.date, dt.date.isoformat, dt.date.fromisoformat),
    (uuid.UUID, str, uuid.UUID),
    (decimal.Decimal, str, decimal.Decimal),
)


def hooks(codec: Codec[Any], *classes: type[Any]) -> list[tuple[Write, Read]]:
    """
    Return, for each class, the function that takes an instance apart and the one that makes it.

    Raises:
        ImportError: cattrs is not installed, or pydantic is too old.
        TypeError: the class cannot be read and written.
    """
    converter: Converter | None = None
    made: list[tuple[Write, Read]] = []
    for declared in classes:
        library = library_of(declared)
        try:
            if library in ("pydantic", "msgspec"):
                write, read = model_hooks(declared, is_key=codec.role == "key")
            else:
                converter = converter or _converter(codec)
                write, read = _class_hooks(converter, declared)
        except ImportError as error:
            raise ImportError(f"{_cannot_use(codec, declared)}: {error} Nothing was stored.") from error
        except unless_interrupted(Exception) as error:
            raise TypeError(
                f"{_cannot_use(codec, declared)}: {library if converter is None else 'cattrs'} cannot read and "
                f"write it, {type(error).__name__}: {shorten(str(error))}. Nothing was stored. Give its fields types "
                f'that it knows, or declare {codec.role}="msgpack".'
            ) from error
        made.append((write, read))
    return made


def _cannot_use(codec: Codec[Any], declared: type) -> str:
    return f"cannot use {codec.role}={shorten(short_name(declared))} for {codec.kind} {codec.topic!r}"


def _converter(codec: Codec[Any]) -> Converter:
    """Make the converter of a codec."""
    try:
        from cattrs.preconf.msgpack import make_converter
    except ImportError as error:
        raise ImportError('cattrs is not installed. Run: pip install "eventlog[cattrs]".') from error
    # The order of a set differs between processes, and equal keys have equal bytes.
    sets: dict[Any, Any] = {AbstractSet: partial(sorted, key=pack)} if codec.role == "key" else {}
    converter = make_converter(detailed_validation=False, unstruct_collection_overrides=sets)
    _register(converter, is_key=codec.role == "key")
    return converter


def _class_hooks(converter: Converter, declared: type) -> tuple[Write, Read]:
    """Return the hooks of a class that cattrs knows."""
    for one in _enums_in(declared, set()):
        write, read = _enum_hooks(one)
        converter.register_unstructure_hook(one, write)
        converter.register_structure_hook(one, read)
    write, structure = converter.get_unstructure_hook(declared), converter.get_structure_hook(declared)
    # The codec has checked the class of what it gets.
    write = getattr(write, "__wrapped__", write)
    return write, _with_short_cut(declared, structure)


def refusal(value: object, error: Exception) -> tuple[str, str]:
    """The reason why an instance cannot be stored, and advice; `error` came out of a hook or of MessagePack."""
    text = shorten(" ".join(str(error).split()))
    advice = "Give the fields the types that the class declares."
    if isinstance(error, UnicodeEncodeError):
        text, advice = "text with a lone surrogate is not valid in UTF-8", "Pass text without surrogates."
    elif isinstance(error, OverflowError):
        text, advice = "a number has more than 64 bits", "Pass a smaller number, or declare the field as str."
    elif isinstance(error, ValueError) and "tzinfo" in str(error):
        text, advice = "a datetime has no time zone", "Give it one, for example datetime.now(timezone.utc)."
    elif isinstance(error, ValueError):
        advice = "Pass what can be read again."
    return f"a field of {type_name(value)} cannot be stored: {text}", advice


# -- what cattrs is told -------------------------------------------------------------------------------------------


def _register(converter: Converter, *, is_key: bool) -> None:
    for native, others in _NATIVE:
        check = _native_check((native, *others))
        converter.register_unstructure_hook(native, check)
        converter.register_structure_hook(native, check)
    for kind, write, read in _AS_TEXT:
        converter.register_unstructure_hook(kind, _text_writer(kind, write))
        converter.register_structure_hook(kind, _text_reader(read))
    for predicate, factory in (
        (_is_class, _class_writer),
        (is_union, _union_writer),
        (_is_literal, _literal_writer),
        (_is_row, _row_writer),
        (_is_dict, dict_writer),
        (_is_pair, pair_writer),
        (_is_model, lambda declared, _converter: model_hooks(declared, is_key=is_key)[0]),
    ):
        converter.register_unstructure_hook_factory(predicate, factory)
    for predicate, reader in (
        (_is_dict, dict_reader),
        (_is_pair, pair_reader),
        (_is_model, lambda declared, _converter: model_hooks(declared, is_key=is_key)[1]),
    ):
        converter.register_structure_hook_factory(predicate, reader)


def _is_class(declared: Any) -> bool:
    return library_of(declared) in ("attrs", "dataclasses")


def _is_dict(declared: Any) -> bool:
    return library_of(declared) == "typeddict"


def _is_pair(declared: Any) -> bool:
    """Whether something is a NamedTuple, which is stored with the names of its fields."""
    return library_of(declared) == "namedtuple"


def _is_model(declared: Any) -> bool:
    return library_of(declared) in ("pydantic", "msgspec")


def _is_literal(declared: Any) -> bool:
    return get_origin(declared) is Literal


def _is_row(declared: Any) -> bool:
    """Whether a tuple is declared item by item."""
    return get_origin(declared) is tuple and get_args(declared)[-1:] != (Ellipsis,)


def _class_writer(declared: Any, converter: Converter) -> Write:
    """Make the hook for instances of one class; those of a subclass would lose its fields."""
    origin = get_origin(declared) or declared
    write = _with_checked_converters(converter, declared, converter.gen_unstructure_attrs_fromdict(declared))

    def write_checked(value: object) -> Any:
        if type(value) is origin:
            return write(value)
        raise TypeError(f"{type_name(value)} in a field of type {shorten(origin.__qualname__)}")

    write_checked.__wrapped__ = write  # type: ignore[attr-defined]
    return write_checked


def _with_checked_converters(converter: Converter, declared: Any, write: Write) -> Write:
    """
    Return the hook of a class, which reads again what it has written if the class has code that changes fields.

    A record is read by `__init__`, so a converter gets what it has already converted, and so does a function that runs
    after `__init__`.
    """
    origin = get_origin(declared) or declared
    names = (
        [field.name for field in attrs.fields(origin) if field.init and field.converter] if attrs.has(origin) else []
    )
    if hasattr(origin, "__attrs_post_init__") or hasattr(origin, "__post_init__"):
        names = [field.name for field in fields_of(origin)]
    if not names:
        return write

    def write_and_read(value: object) -> Any:
        stored = write(value)
        again = converter.structure(stored, declared)
        for name in names:
            before, after = getattr(value, name), getattr(again, name)
            if before != after and before == before:  # NaN is not
                raise TypeError(f"the class changes field {name} when it is read")
        return stored

    return write_and_read


def _union_writer(declared: Any, converter: Converter) -> Write:
    """
    Make the hook for one of several types, which a reader has to tell apart by what is stored.

    With None and one type there is nothing to tell.
    """
    members = [one for one in get_args(declared) if one is not NoneType]
    for one in members:
        converter.get_structure_hook(one)  # raises now, and not when the first record is read
    if len(members) == 1:
        return _optional_writer(converter, members[0])

    def write(value: object) -> Any:
        stored = converter.unstructure(value)
        again = converter.structure(stored, declared)
        if type(again) is not type(value):
            raise TypeError(f"{type_name(value)} in a field of type {shown(declared)}")
        return stored

    return write


def _optional_writer(converter: Converter, declared: Any) -> Write:
    try:
        write = converter.get_unstructure_hook(declared)
    except unless_interrupted(RecursionError):  # the class that we are just making the hook of
        write = partial(converter.unstructure, unstructure_as=declared)
    return lambda value: None if value is None else write(value)


def _literal_writer(declared: Any, _converter: Converter) -> Write:
    values = get_args(declared)

    def write(value: object) -> Any:
        if value not in values:
            raise TypeError(f"{type_name(value)} that is none of {shorten(', '.join(map(repr, values)))}")
        return value.value if isinstance(value, enum.Enum) else value

    return write


def _row_writer(declared: Any, converter: Converter) -> Write:
    """Make the hook for a tuple of a fixed length; a longer one would be cut off."""
    writers = [converter.get_unstructure_hook(one) for one in get_args(declared)]

    def write(value: object) -> Any:
        if not isinstance(value, tuple) or len(value) != len(writers):
            raise TypeError(f"{type_name(value)} in a field of a tuple with {len(writers)} items")
        return [write(item) for write, item in zip(writers, value, strict=True)]

    return write


# -- enums -----------------------------------------------------------------------------------------------------------


def _enums_in(declared: Any, seen: set[Any]) -> Iterator[type[enum.Enum]]:
    """The enums among the types of a class, of its fields, and of what is in those."""
    # They are registered one by one: for cattrs an enum of numbers is a number first.
    if isinstance(declared, type) and issubclass(declared, enum.Enum):
        yield declared
    if declared in seen:
        return
    seen.add(declared)
    inner = [*get_args(declared), getattr(declared, "__supertype__", None), getattr(declared, "__value__", None)]
    library, origin = library_of(declared), get_origin(declared) or declared
    if library == "attrs":
        inner += [one.type for one in attrs.fields(attrs.resolve_types(origin))]
    elif library in ("dataclasses", "namedtuple", "typeddict"):
        inner += hints_of(origin).values()
    for one in inner:
        if one is not None and not isinstance(one, list | str | int | bytes):
            yield from _enums_in(one, seen)


def _enum_hooks(declared: type[enum.Enum]) -> tuple[Write, Read]:
    """
    Return the hooks of an enum, which is stored by value.

    Raises:
        TypeError: a member does not come back from its value.
    """

    def write(value: object) -> Any:
        if isinstance(value, declared):
            return value.value
        raise TypeError(f"{type_name(value)} in a field of type {shorten(declared.__qualname__)}")

    def read(stored: Any, _declared: object) -> enum.Enum:
        try:
            return declared(stored)
        except unless_interrupted(ValueError):
            return declared(as_key(stored))  # a tuple has become a list

    return write, read


# -- plain types -----------------------------------------------------------------------------------------------------


def _with_short_cut(declared: type[Any], structure: Read) -> Read:
    """
    Return a faster `structure` for a class of plain fields: half the time if all fields are present.

    cattrs calls a hook for each field. If MessagePack has every type itself, one comparison of all types is enough;
    all other values go through the hooks, which also raise the errors.
    """
    if library_of(declared) != "attrs" or get_origin(declared) is not None:
        return structure
    fields = attrs.fields(declared)  # cattrs has resolved string annotations by now
    types = tuple(field.type for field in fields)
    natives = [native for native, _ in _NATIVE]
    if len(fields) < 2 or not all(field.init and not field.kw_only and field.type in natives for field in fields):
        return structure
    pick, count = operator.itemgetter(*(field.name for field in fields)), len(fields)

    def structure_plain(stored: Any, declared: type[Any]) -> Any:
        if len(stored) == count:
            try:
                values = pick(stored)
            except unless_interrupted(KeyError):  # as many fields, but not the same
                return structure(stored, declared)
            if tuple(map(type, values)) == types:
                return declared(*values)
        return structure(stored, declared)

    return structure_plain


def _native_check(kinds: tuple[type, ...]) -> Callable[..., Any]:
    """Make the hook that passes values of these types through, both ways."""

    def check(value: object, _declared: object = None) -> object:
        if isinstance(value, kinds):
            return value
        raise TypeError(f"{type_name(value)} in a field of type {kinds[0].__name__}")

    return check


def _text_writer(kind: type, write: Callable[[Any], str]) -> Callable[[object], str]:
    """Make the hook that writes one type as text, and refuses subclasses: a datetime is a date, but holds more."""

    def write_checked(value: object) -> str:
        if type(value) is kind:
            return write(value)
        raise TypeError(f"{type_name(value)} in a field of type {kind.__name__}")

    return write_checked


def _text_reader(read: Callable[[str], Any]) -> Callable[[str, object], Any]:
    """Make the hook that reads one type from text."""

    def read_text(text: str, _declared: object) -> Any:
        return read(text)

    return read_text
