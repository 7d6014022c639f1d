"""
The name of a certificate's subject, as Kafka writes it: `CN=alice,OU=Billing,O=Example` (RFC 2253, by Java's rules).

`ssl` has the subject only as text without its types, and Kafka shows the encoding of attributes that RFC 2253 gives no
name; so this reads the certificate itself, which OpenSSL has checked before.
"""

from __future__ import annotations

from typing import Final

_NAMES: Final = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
}
_ENCODINGS: Final = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1E: "utf-16-be", 0x1C: "utf-32-be"}
"""How the text of each type of ASN.1 is encoded: UTF8, Printable, T61, IA5, BMP and Universal."""
_ESCAPED: Final = frozenset(',=+<>#;"\\')
_VERSION: Final = 0xA0
_LONG: Final = 0x80
_MOST_LENGTH_BYTES: Final = 4


def subject_name(certificate: bytes) -> str:
    """
    The subject of a certificate.

    Args:
        certificate: in DER, as `SSLSocket.getpeercert(True)` has it.

    Raises:
        ValueError: if it is none.
    """
    outer = _content(certificate, 0)[1]
    to_be_signed = _content(outer, 0)[1]
    parts = _parts(to_be_signed)
    if parts and parts[0][0] == _VERSION:
        parts = parts[1:]
    if len(parts) < 5:
        raise ValueError("a certificate without a subject")
    _, subject, _ = parts[4]  # after serial number, algorithm, issuer and validity
    relative = ["+".join(_attribute(one) for _, one, _ in _parts(many)) for _, many, _ in _parts(subject)]
    return ",".join(reversed(relative))


def _attribute(data: bytes) -> str:
    """One attribute: its name, or its number where it has none, and its value."""
    (_, number, _), (kind, value, whole) = _parts(data)
    identifier = _dotted(number)
    name = _NAMES.get(identifier)
    if name is None or kind not in _ENCODINGS:
        return f"{name or identifier}=#{whole.hex()}"
    return f"{name}={_escaped(value.decode(_ENCODINGS[kind]))}"


def _escaped(text: str) -> str:
    """The text with backslashes before special characters, and before spaces at either end."""
    characters = ["\\00" if one == "\0" else f"\\{one}" if one in _ESCAPED else one for one in text]
    begin, end = len(text) - len(text.lstrip(" ")), len(text.rstrip(" "))
    for place in (*range(begin), *range(max(begin, end), len(text))):
        characters[place] = "\\ "
    return "".join(characters)


def _dotted(data: bytes) -> str:
    """An object identifier, in numbers and dots."""
    numbers, value = [], 0
    for byte in data:
        value = value << 7 | byte & 0x7F
        if byte < _LONG:
            numbers.append(value)
            value = 0
    if not numbers:
        raise ValueError("an object identifier without numbers")
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _parts(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """The parts of a sequence or a set: tag, content, and the whole of each."""
    parts, at = [], 0
    while at < len(data):
        tag, content, end = _content(data, at)
        parts.append((tag, content, data[at:end]))
        at = end
    return parts


def _content(data: bytes, at: int) -> tuple[int, bytes, int]:
    """The tag and the content of a part, and where it ends."""
    if at + 2 > len(data):
        raise ValueError("a certificate that is cut off")
    tag, length = data[at], data[at + 1]
    at += 2
    if length >= _LONG:
        count = length - _LONG
        if not 1 <= count <= _MOST_LENGTH_BYTES:
            raise ValueError("a length that no certificate has")
        length = int.from_bytes(data[at : at + count], "big")
        at += count
    if at + length > len(data):
        raise ValueError("a certificate that is cut off")
    return tag, data[at : at + length], at + length
