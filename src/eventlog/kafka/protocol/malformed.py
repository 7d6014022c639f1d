"""
The error of bytes that are no message of Kafka's protocol.

Knows nothing of schemas.
"""

from __future__ import annotations


class MalformedMessage(ValueError):
    """
    Bytes that are not the message that they should be, or not all of it.

    `message` is the kind of message by Kafka's name with its version, `field` the path of the field that could not be
    read, `place` how many bytes into the input it begins. `field` is "" where it is the end of the message that is
    wrong. Nothing was changed: the connection that the bytes came from is out of step, so close it.
    """

    def __init__(self, reason: str, *, message: str, field: str, place: int) -> None:
        where = f", field {field}" if field else ""
        super().__init__(f"malformed {message}{where} at byte {place}: {reason}")
        self.reason = reason
        self.message = message
        self.field = field
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (self.reason, self.message, self.field, self.place)


def _again(reason: str, message: str, field: str, place: int) -> MalformedMessage:
    return MalformedMessage(reason, message=message, field=field, place=place)
