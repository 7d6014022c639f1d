"""
Python source that decodes one message of one version, made of its definition.

The code is straight: fields of a fixed size that follow each other are one call of `struct`, also together with the
length that comes after them, and there is a loop for each array. A field that the version does not have gets its
default, so a dict has all fields of its message. Every length is compared with what is left before memory is taken.
"""

from __future__ import annotations

from eventlog.kafka.protocol.schema import SIZES, Field, Message, holds
from eventlog.kafka.protocol.source import LETTERS, WIDTHS, Source, Trail, literal, name_of

SIGNATURE = "decode(data, view, at, end)"


def decoder(message: Message, version: int) -> tuple[str, dict[int, Trail]]:
    """Return the source of a function that decodes, and which fields its lines are about."""
    writer = _Decoder(version, is_flexible=holds(message.flexible, version))
    writer.message(message.fields)
    return writer.source.text("unpack_from", SIGNATURE), writer.source.trails("unpack_from")


class _Decoder:
    def __init__(self, version: int, *, is_flexible: bool) -> None:
        self.source = Source()
        self._version = version
        self._is_flexible = is_flexible
        self._run: list[tuple[str, str, str]] = []  # type, variable, path: what the next call of `struct` reads

    def message(self, fields: tuple[Field, ...]) -> None:
        made = self._struct(fields, 0)
        self._flush()
        self.source.add(f"return {made}, at", ())

    def _has(self, field: Field) -> bool:
        return holds(field.versions, self._version) or holds(field.tagged, self._version)

    def _is_tagged(self, field: Field) -> bool:
        return self._is_flexible and holds(field.tagged, self._version)

    def _is_nullable(self, field: Field) -> bool:
        return holds(field.nullable, self._version)

    # --- structs --------------------------------------------------------------------------------------------------

    def _struct(self, fields: tuple[Field, ...], level: int) -> str:
        """Read the fields of a struct, and return the dict that it becomes."""
        there = [field for field in fields if self._has(field)]
        for field in there:
            if not self._is_tagged(field):
                with self.source.field(field.name):
                    self._field(field, level)
        if self._is_flexible:
            with self.source.field("tagged fields"):
                self._tagged([field for field in there if self._is_tagged(field)], level)
        items = [
            f'"{field.name}": {_variable(field, level) if self._has(field) else literal(field)}' for field in fields
        ]
        return "{" + ", ".join(items) + "}"

    def _tagged(self, fields: list[Field], level: int) -> None:
        source = self.source
        for field in fields:
            source.add(f"{_variable(field, level)} = {literal(field)}")
        self._read("length8", "n")
        self._flush()
        if not fields:
            with source.block("if n:"):
                source.add("at = skip_tagged(data, at, n, end)")
            return
        with source.block("if n:"):
            source.add("if n > 127: n, at = varint(data, at, n)")
            source.add("if 2 * n > end - at: refuse_count(n, end - at)")
            with source.block("for _ in range(n):"):
                source.add("tag, n, at = tag_and_size(data, at, end)")
                source.add(f"stop_{level} = at + n")
                for number, field in enumerate(fields):
                    with source.field(field.name), source.block(f"{'el' * (number > 0)}if tag == {field.tag}:"):
                        self._field(field, level)
                        self._flush()
                with source.block("else:"):
                    source.add(f"at = stop_{level}")
                source.add(f'if at != stop_{level}: refuse("its size is not that of the field in it")')

    # --- fields ---------------------------------------------------------------------------------------------------

    def _field(self, field: Field, level: int) -> None:
        if field.is_array:
            self._array(field, level)
        elif field.type in SIZES:
            self._read(field.type, _variable(field, level))
        elif field.type == "struct":
            self._inner(field, level)
        else:
            self._buffer(field, level)

    def _inner(self, field: Field, level: int) -> None:
        """Read a struct that is no element of an array; one byte says whether it is there if it may be null."""
        assert field.fields is not None
        source, variable = self.source, _variable(field, level)
        if not self._is_nullable(field):
            made = self._struct(field.fields, level + 1)
            self._flush()
            source.add(f"{variable} = {made}")
            return
        self._read("int8", "n")
        self._flush()
        with source.block("if n < 0:"):
            source.add(f"{variable} = None")
        with source.block("else:"):
            made = self._struct(field.fields, level + 1)
            self._flush()
            source.add(f"{variable} = {made}")

    def _buffer(self, field: Field, level: int) -> None:
        """Read a string, bytes or records: their length, and then they."""
        source, variable = self.source, _variable(field, level)
        made = {
            "string": 'str(data[at:at + n], "utf-8")',
            "bytes": "bytes(data[at:at + n])",
            "records": "view[at:at + n]",
        }[field.type]
        with self._length("int16" if field.type == "string" else "int32", variable, is_null=self._is_nullable(field)):
            check = "n > end - at" if self._is_flexible else "not 0 <= n <= end - at"
            source.add(f"if {check}: refuse_length(n, end - at)")
            source.add(f"{variable} = {made}")
            source.add("at += n")

    def _array(self, field: Field, level: int) -> None:
        source, variable = self.source, _variable(field, level)
        with self._length("int32", variable, is_null=self._is_nullable(field)):
            least = self._least_of_element(field)
            check = "n" if least == 1 else f"n * {least}"
            check = f"{check} > end - at" if self._is_flexible else f"not 0 <= {check} <= end - at"
            source.add(f"if {check}: refuse_count(n, end - at)")
            letter = LETTERS.get(field.type)
            if letter is not None and letter in "bhiq":
                source.add(f'{variable} = read_numbers("{letter}", data, at, n)')
                source.add(f"at += n * {SIZES[field.type]}")
                return
            source.add(f"{variable} = []")
            with source.block("for _ in range(n):"):
                if field.fields is not None:
                    made = self._struct(field.fields, level + 1)
                else:
                    element = field._replace(name="element", is_array=False, nullable=(0, -1))
                    self._field(element, level + 1)
                    made = _variable(element, level + 1)
                self._flush()
                source.add(f"{variable}.append({made})")

    def _length(self, fixed: str, variable: str, *, is_null: bool) -> _Length:
        """Read the length of what follows into `n`; within the block it is there, so it is not null."""
        source = self.source
        self._read("length8" if self._is_flexible else fixed, "n")
        self._flush()
        if self._is_flexible:
            source.add("if n > 127: n, at = varint(data, at, n)")
        null = "n == 0" if self._is_flexible else "n == -1"
        if is_null:
            with source.block(f"if {null}:"):
                source.add(f"{variable} = None")
        elif self._is_flexible:
            source.add(f"if {null}: refuse_null()")
        return _Length(source, is_null=is_null, is_compact=self._is_flexible)

    def _least_of_element(self, field: Field) -> int:
        if field.fields is not None:
            return max(1, self._least(field.fields))
        return self._least_of(field._replace(is_array=False, nullable=(0, -1)))

    def _least(self, fields: tuple[Field, ...]) -> int:
        there = [field for field in fields if self._has(field) and not self._is_tagged(field)]
        return sum(map(self._least_of, there)) + self._is_flexible

    def _least_of(self, field: Field) -> int:
        if field.type in SIZES and not field.is_array:
            return SIZES[field.type]
        if field.fields is not None and not field.is_array:
            return 1 if self._is_nullable(field) else self._least(field.fields)
        if self._is_flexible:
            return 1
        return 2 if field.type == "string" and not field.is_array else 4

    # --- runs of a fixed size -------------------------------------------------------------------------------------

    def _read(self, kind: str, variable: str) -> None:
        self._run.append((kind, variable, self.source.path))

    def _flush(self) -> None:
        """Read what has a fixed size and is not read yet, in one call."""
        run, self._run = self._run, []
        if not run:
            return
        source, letters = self.source, [LETTERS[kind] for kind, _, _ in run]
        trail = tuple((path, WIDTHS[letter]) for (_, _, path), letter in zip(run, letters, strict=True))
        if letters == ["B"]:
            source.add(f"{run[0][1]} = data[at]", trail)
            source.add("at += 1")
            return
        form = "".join(letters)
        source.formats[form] = None
        targets = ", ".join(variable for _, variable, _ in run) + "," * (len(run) == 1)
        source.add(f"{targets} = unpack_from_{name_of(form)}(data, at)", trail)
        source.add(f"at += {sum(WIDTHS[letter] for letter in letters)}")
        for kind, variable, _ in run:
            if kind == "uuid":
                source.add(f"{variable} = to_uuid({variable})")


class _Length:
    """The block in which a length is known, and made what it says if it is compact."""

    def __init__(self, source: Source, *, is_null: bool, is_compact: bool) -> None:
        self._source = source
        self._is_compact = is_compact
        self._block = source.block("else:") if is_null else None

    def __enter__(self) -> None:
        if self._block is not None:
            self._block.__enter__()
        if self._is_compact:
            self._source.add("n -= 1")

    def __exit__(self, *_: object) -> None:
        if self._block is not None:
            self._block.__exit__(None, None, None)


def _variable(field: Field, level: int) -> str:
    return f"{field.name}_{level}"
