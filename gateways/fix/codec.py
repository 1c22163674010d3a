"""FIX messages as bytes: `8=FIX.4.4|9=LENGTH|35=TYPE|...|10=SUM|`, where | is the byte 1.

    bytes of a connection --Framer--> bodies of whole messages --parse--> Message
    header and fields ---encode--> bytes

Rules
- What cannot be framed (a wrong BodyLength or CheckSum) is garbled: it is passed over and counted, up to the next
  `8=FIX`, as the session protocol asks.
- A message says its length before it is there: one longer than MESSAGE_BYTES_MAX ends the connection.
- Values are text, one byte a character. A data field may hold the byte 1; the field before it tells its length.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from gateways.fix.tags import BEGIN_STRING, DATA_OF_LENGTH, MSG_TYPE

BEGIN: Final = "FIX.4.4"
SOH: Final = "\x01"
MESSAGE_BYTES_MAX: Final = 64 << 10
NUMBER_CHARS_MAX: Final = 18
_SOH: Final = b"\x01"
_HEAD_BYTES_MAX: Final = 32
_TRAILER_BYTES: Final = 7
_CODE: Final = "latin-1"
_FIELD: Final = re.compile("(?<![^\x01])([0-9]+)=([^\x01]*)\x01")
_TAGS: Final = {str(tag): tag for tag in range(1, 1000)}
"""Of nearly all fields: others are read the long way."""

Fields = list[tuple[int, str]]


class FramingError(ValueError):
    """This connection cannot be read any further."""


class Message(msgspec.Struct, gc=False):
    """One message: BeginString, and all fields between BodyLength and CheckSum in their order; tag 0 is no number."""

    begin: str
    fields: Fields
    first: dict[int, str]
    """The first value of each tag."""

    @property
    def type(self) -> str:
        """MsgType, or nothing."""
        return self.first.get(MSG_TYPE, "")

    def get(self, tag: int, default: str = "") -> str:
        """The first value of a tag."""
        return self.first.get(tag, default)


class Framer:
    """The bytes of one connection, and what of them is not a whole message yet."""

    def __init__(self) -> None:
        self.garbled = 0
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take what has come; every whole message in it. Raises FramingError."""
        buffer, at = self._rest + data if self._rest else data, 0
        try:
            while True:
                at = self._start(buffer, at)
                end = _end(buffer, at)
                if end < 0:
                    break
                if end == at:
                    at += 1  # what follows up to the next is passed over
                    continue
                message = parse(buffer[at:end]) if _has_sum(buffer, at, end) else None
                at = end
                if message is not None and message.fields and message.fields[0][0] == MSG_TYPE:
                    yield message
                else:
                    self.garbled += 1
        finally:
            self._rest = buffer[at:]

    def _start(self, buffer: bytes, at: int) -> int:
        """Where the next message may begin; what is passed over is garbled."""
        if buffer.startswith(b"8=FIX", at):
            return at
        found = buffer.find(b"8=FIX", at)
        if found < 0:
            found = max(at, len(buffer) - 4)
            while found < len(buffer) and not b"8=FIX".startswith(buffer[found:]):
                found += 1
        self.garbled += found > at
        return found


def _end(buffer: bytes, at: int) -> int:
    """Where the message at a place ends: -1 where that is not here yet, the place itself where it is none."""
    first = buffer.find(_SOH, at, at + _HEAD_BYTES_MAX)
    second = buffer.find(_SOH, first + 1, at + _HEAD_BYTES_MAX) if first >= 0 else -1
    if second < 0:
        return at if len(buffer) - at >= _HEAD_BYTES_MAX else -1
    length = buffer[first + 3 : second]
    if buffer[first + 1 : first + 3] != b"9=" or not length.isdigit() or len(length) > NUMBER_CHARS_MAX:
        return at
    if int(length) > MESSAGE_BYTES_MAX:
        raise FramingError(f"a message of {int(length):,} bytes, and at most {MESSAGE_BYTES_MAX:,} are taken")
    trailer = second + 1 + int(length)
    end = trailer + _TRAILER_BYTES
    if end > len(buffer):
        return -1
    is_whole = buffer[trailer : trailer + 3] == b"10=" and buffer[end - 1] == 1 and buffer[trailer - 1] == 1
    return end if is_whole else at


def _has_sum(buffer: bytes, at: int, end: int) -> bool:
    """Whether a message has the CheckSum that it says; each byte is looked at once, whatever is nested in it."""
    trailer = end - _TRAILER_BYTES
    return buffer[trailer + 3 : end - 1] == b"%03d" % (sum(buffer[at:trailer]) & 255)


def is_number(text: str) -> bool:
    """Whether text is a number without sign that fits into 63 bits, with room to spare."""
    return 0 < len(text) <= NUMBER_CHARS_MAX and text.isascii() and text.isdigit()


def parse(data: bytes) -> Message:
    """A whole message. What is not TAG=VALUE has the tag 0 and all of it as value."""
    head, _, body = data[:-_TRAILER_BYTES].decode(_CODE).partition(SOH)
    body = body[body.index(SOH) + 1 :]
    found = _FIELD.findall(body)
    try:
        fields = [(_TAGS[tag], value) for tag, value in found]
    except KeyError:
        fields = []
    if len(fields) != body.count(SOH):
        fields = [_field(part) for part in body.split(SOH)[:-1]]
    first = dict(reversed(fields))
    if not DATA_OF_LENGTH.keys().isdisjoint(first):
        fields = _with_data(fields)
        first = dict(reversed(fields))
    return Message(head.removeprefix(f"{BEGIN_STRING}="), fields, first)


def _field(part: str) -> tuple[int, str]:
    tag, equals, value = part.partition("=")
    number = int(tag) if equals and len(tag) < 8 and tag.isdigit() and tag.isascii() and tag[0] != "0" else 0
    return number, value if number else part


def _with_data(fields: Fields) -> Fields:
    """Put together again what the byte 1 in a value of known length has cut."""
    made: Fields = []
    rest = iter(fields)
    for tag, value in rest:
        made.append((tag, value))
        length = int(value) if tag in DATA_OF_LENGTH and is_number(value) else 0
        found = next(rest, None) if tag in DATA_OF_LENGTH else None
        if found is None:
            continue
        number, data = found
        while number == DATA_OF_LENGTH[tag] and len(data) < length and (more := next(rest, None)) is not None:
            data += SOH + (f"{more[0]}={more[1]}" if more[0] else more[1])
        made.append((number, data))
    return made


def encode(kind: str, header: str, fields: Iterable[tuple[int, object]]) -> bytes:
    """A message of a type; `header` holds the fields that follow on MsgType, each ended by SOH."""
    pairs = [f"{tag}={value}{SOH}" for tag, value in fields]
    text = "".join(pairs)
    if text.count(SOH) != len(pairs):  # an id that came by another door
        text = "".join([pair[:-1].replace(SOH, "?") + SOH for pair in pairs])
    body = f"35={kind}{SOH}{header}{text}".encode(_CODE, "replace")
    head = b"8=FIX.4.4\x019=%d\x01" % len(body)
    return b"%b%b10=%03d\x01" % (head, body, (sum(head) + sum(body)) & 255)
