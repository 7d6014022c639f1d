"""
Python source that encodes one message of one version, made of its definition.

The code is straight, as that of the decoder. A field that is missing in the dict gets its default; fields that the
version does not have are left out.
"""

from __future__ import annotations

from eventlog.kafka.protocol.primitives import COPIED_BYTES
from eventlog.kafka.protocol.schema import SIZES, Field, Message, holds
from eventlog.kafka.protocol.source import LETTERS, WIDTHS, Source, Trail, literal, name_of

SIGNATURE = "encode(message_0)"


def encoder(message: Message, version: int) -> tuple[str, dict[int, Trail]]:
    """Return the source of a function that encodes, and which fields its lines are about."""
    writer = _Encoder(version, is_flexible=holds(message.flexible, version))
    writer.message(message.fields)
    return writer.source.text("pack", SIGNATURE), writer.source.trails("pack")


class _Encoder:
    def __init__(self, version: int, *, is_flexible: bool) -> None:
        self.source = Source()
        self._version = version
        self._is_flexible = is_flexible
        self._is_in_tagged = False
        self._run: list[tuple[str, str, str]] = []  # letter, value, path: what the next call of `struct` writes

    def message(self, fields: tuple[Field, ...]) -> None:
        self.source.add("parts = []")
        self.source.add("out = bytearray()")
        self._struct(fields, 0)
        self._flush()
        self.source.add("parts.append(out)", ())
        self.source.add("return parts", ())

    def _is_tagged(self, field: Field) -> bool:
        return self._is_flexible and holds(field.tagged, self._version)

    def _is_nullable(self, field: Field) -> bool:
        return holds(field.nullable, self._version)

    # --- structs --------------------------------------------------------------------------------------------------

    def _struct(self, fields: tuple[Field, ...], level: int) -> None:
        there = [field for field in fields if holds(field.versions, self._version) or self._is_tagged(field)]
        if there:
            self.source.add(f"get_{level} = message_{level}.get")
        for field in there:
            if not self._is_tagged(field):
                with self.source.field(field.name):
                    self._field(field, level, self._value(field, level))
        if self._is_flexible:
            tagged = [field for field in there if self._is_tagged(field)]
            self._tagged(sorted(tagged, key=lambda field: field.tag), level)

    def _tagged(self, fields: list[Field], level: int) -> None:
        if not fields:
            self._run.append(("x", "", self.source.path))
            return
        source = self.source
        self._flush()
        there = " or ".join(f'"{field.name}" in message_{level}' for field in fields)
        with source.block(f"if {there}:"):
            source.add(f"tagged_{level} = []")
            for field in fields:
                with source.field(field.name):
                    self._tagged_field(field, level)
            source.add(f"out += to_varint(len(tagged_{level}))")
            with source.block(f"for tag, value in tagged_{level}:"):
                source.add("out += to_varint(tag) + to_varint(len(value))")
                source.add("out += value")
        with source.block("else:"):
            source.add("out.append(0)")

    def _tagged_field(self, field: Field, level: int) -> None:
        """Write a field into bytes of its own if it is not the default."""
        source = self.source
        source.add(f"value_{level} = {self._value(field, level)}")
        with source.block(f"if value_{level} != {literal(field)}:"):
            source.add(f"before_{level} = out")
            source.add("out = bytearray()")
            was_in_tagged, self._is_in_tagged = self._is_in_tagged, True
            self._field(field, level, f"value_{level}")
            self._flush()
            self._is_in_tagged = was_in_tagged
            source.add(f"tagged_{level}.append(({field.tag}, out))")
            source.add(f"out = before_{level}")

    def _value(self, field: Field, level: int) -> str:
        return f'get_{level}("{field.name}", {literal(field)})'

    # --- fields ---------------------------------------------------------------------------------------------------

    def _field(self, field: Field, level: int, value: str) -> None:
        if field.is_array:
            self._array(field, level, value)
        elif field.type == "uuid":
            self._write("16s", f"{value}.bytes")
        elif field.type in SIZES:
            self._write(LETTERS[field.type], value)
        elif field.type == "struct":
            self._inner(field, level, value)
        else:
            self._buffer(field, value)

    def _inner(self, field: Field, level: int, value: str) -> None:
        assert field.fields is not None
        source = self.source
        self._flush()  # it may hold fields of the struct before this one
        source.add(f"message_{level + 1} = {value}")
        if not self._is_nullable(field):
            self._struct(field.fields, level + 1)
            return
        with source.block(f"if message_{level + 1} is None:"):
            source.add("out.append(255)")
        with source.block("else:"):
            source.add("out.append(1)")
            self._struct(field.fields, level + 1)
            self._flush()

    def _buffer(self, field: Field, value: str) -> None:
        """Write a string, bytes or records: their length, and then they."""
        source, is_string = self.source, field.type == "string"
        length, null = ("h", "-1") if is_string else ("i", "-1")
        is_nullable = self._is_nullable(field)
        if is_string and not is_nullable:
            source.add(f"value = {value}.encode()")
        else:
            source.add(f"value = {value}")
        if is_nullable:
            self._flush()
            with source.block("if value is None:"):
                self._write_length(length, null)
                self._flush()
            with source.block("else:"):
                if is_string:
                    source.add("value = value.encode()")
                self._sized(field, length)
        else:
            self._sized(field, length)

    def _sized(self, field: Field, length: str) -> None:
        source = self.source
        if field.type == "string":
            self._write_length(length, "len(value)")
            self._flush()
            source.add("out += value")
            return
        source.add("size = len(value) if type(value) is not list else size_of(value)")
        self._write_length(length, "size")
        self._flush()
        if self._is_in_tagged:
            source.add("out += value")
            return
        with source.block(f"if size < {COPIED_BYTES} or type(value) is list:"):
            source.add("out = put(parts, out, value, size)")
        with source.block("else:"):
            source.add("parts += (out, value)")
            source.add("out = bytearray()")

    def _array(self, field: Field, level: int, value: str) -> None:
        source, elements = self.source, f"elements_{level}"
        source.add(f"{elements} = {value}")
        if self._is_nullable(field):
            self._flush()
            with source.block(f"if {elements} is None:"):
                self._write_length("i", "-1")
                self._flush()
            with source.block("else:"):
                self._elements(field, level, elements)
        else:
            self._elements(field, level, elements)

    def _elements(self, field: Field, level: int, elements: str) -> None:
        source = self.source
        self._write_length("i", f"len({elements})")
        self._flush()
        letter = LETTERS.get(field.type)
        if letter is not None and letter in "bhiq":
            source.add(f'out += write_numbers("{letter}", {elements})')
            return
        with source.block(f"for message_{level + 1} in {elements}:"):
            if field.fields is not None:
                self._struct(field.fields, level + 1)
            else:
                element = field._replace(is_array=False, nullable=(0, -1))
                self._field(element, level + 1, f"message_{level + 1}")
            self._flush()

    # --- lengths and runs of a fixed size ---------------------------------------------------------------------------

    def _write_length(self, letter: str, length: str) -> None:
        """Write a length, in a fixed size or as a variable integer that is one more; -1 is null."""
        if not self._is_flexible:
            self._write(letter, length)
        elif length == "-1":
            self._run.append(("x", "", self.source.path))
        else:
            self._flush()
            self.source.add(f"n = {length} + 1")
            with self.source.block("if n < 128:"):
                self.source.add("out.append(n)")
            with self.source.block("else:"):
                self.source.add("out += to_varint(n)")

    def _write(self, letter: str, value: str) -> None:
        self._run.append((letter, value, self.source.path))

    def _flush(self) -> None:
        """Write what has a fixed size and is not written yet, in one call."""
        run, self._run = self._run, []
        if not run:
            return
        trail = tuple((path, WIDTHS[letter]) for letter, _, path in run)
        if all(letter == "x" for letter, _, _ in run):
            self.source.add(f"out += {bytes(len(run))!r}" if len(run) > 1 else "out.append(0)", trail)
            return
        form = "".join(letter for letter, _, _ in run)
        self.source.formats[form] = None
        values = ", ".join(value for letter, value, _ in run if letter != "x")
        self.source.add(f"out += pack_{name_of(form)}({values})", trail)
