"""One FIX session on disk: both sides' numbers, and where in the log each report stands that was sent.

    IN      a message that was taken: MsgSeqNum, and the client's own number of the command that it became (0: none)
    OUT     a message that was sent: MsgSeqNum, SendingTime, and the place of its report in the log, or its text
    RESET   both sides begin with 1 again        START  reports up to this place are not for this session
    REWIND  messages from this MsgSeqNum on did not become commands: they are asked for again
    ON, OFF the session was logged on, or had logged off

Rules
- A row is written before what it tells of is done: IN before the command is submitted, OUT before the message is
  sent. After a crash the log tells which commands of the last rows are in it; the rest is rewound.
- The reports themselves are in the log. Only what is nowhere else (a reject of this gateway) is kept as text.
- Rows have checksums: a torn end is cut off. It is not synced: a crash of the process loses nothing, that of the
  host may lose what was told in the last seconds, and the session begins with a reset then.
"""

import os
import struct
import zlib
from array import array
from collections import deque
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from sequencer.errors import IslandError

_ROW: Final = struct.Struct("<IBBHQQQ")
_CRC_BYTES: Final = 4
TEXT_BYTES_MAX: Final = 60_000
NTH_MAX: Final = 255
UNCERTAIN_MAX: Final = 1 << 16
"""More commands than a gateway ever has in flight for a client."""


class Row(IntEnum):
    """What a row tells."""

    IN = 1
    OUT = 2
    RESET = 3
    START = 4
    REWIND = 5
    ON = 6
    OFF = 7


class Place(NamedTuple):
    """A report's sequence number in the log, and its place among the client's reports there."""

    sequence: int
    nth: int


NOWHERE: Final = Place(0, 0)


class Sent(NamedTuple):
    """A message that was sent: `text` holds its type and fields where no report of the log does."""

    number: int
    time_ns: int
    place: Place
    text: str


class Store:
    """The numbers of one session; what is noted has to be written before anything is done, see `flush`."""

    def __init__(self, path: Path) -> None:
        """Read what is there. Raises IslandError where that cannot be done."""
        self.next_in = 1
        self.next_out = 1
        self.place = NOWHERE
        """Of the last report that was sent; the next one is behind it."""
        self.last_command = 0
        """The client's number of the last command that a message became."""
        self.was_on = False
        self.has_started = False
        """It is known which reports are not for this session."""
        self._path = path
        self._taken: deque[tuple[int, int]] = deque(maxlen=UNCERTAIN_MAX)
        """(MsgSeqNum, command number, or 0) of the latest messages that were taken."""
        self._answered: set[int] = set()
        self._begin_out()
        self._rows = bytearray()
        self._is_fresh = False
        self._fd = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._load()
        except (OSError, ValueError) as error:
            raise IslandError(f"the FIX session {path} cannot be read: {error}") from None

    # --- what is noted --------------------------------------------------------------------------

    def took(self, number: int, command: int) -> None:
        """A message was taken, and became this command of the client (0: none)."""
        self._answered.discard(number)
        self._note(Row.IN, number, command)

    def sends(self, time_ns: int, place: Place = NOWHERE, text: str = "") -> int:
        """A message is about to be sent; its MsgSeqNum."""
        number = self.next_out
        self._note(Row.OUT, number, time_ns, place.sequence, place.nth, text)
        return number

    def reset(self) -> None:
        """Both sides begin with 1; what was sent before is asked for no more, and forgotten."""
        self._rows.clear()
        self._is_fresh = True
        self._note(Row.RESET, 0)
        if self.has_started:
            self._note(Row.START, self.place.sequence, index=self.place.nth)
        self._note(Row.ON if self.was_on else Row.OFF, self.last_command)

    def skip_in(self, number: int) -> None:
        """The other side goes on with this number."""
        self._note(Row.IN, number - 1)

    def start(self, sequence: int) -> None:
        """Reports up to this place are not for this session."""
        self._note(Row.START, sequence, index=NTH_MAX)

    def log_on(self, *, on: bool) -> None:
        """The session is logged on, or it is not."""
        if on != self.was_on:
            self._note(Row.ON if on else Row.OFF, self.last_command)

    def knows(self, command: int) -> None:
        """A command of the client that no message became; it is written with what is noted next."""
        self.last_command = max(self.last_command, command)

    def rewind(self, last_command: int) -> None:
        """The log has the client's commands up to this number: what was taken behind it is asked for again."""
        for number, command in self._taken:
            if command > last_command:
                self._note(Row.REWIND, number)
                return

    def was_answered(self, number: int) -> bool:
        """Whether this message comes again for the sake of one before it, and has been answered itself."""
        return number in self._answered

    def flush(self) -> None:
        """Write what was noted. Raises IslandError."""
        if not self._rows:
            return
        rows, self._rows = self._rows, bytearray()
        try:
            if self._is_fresh:
                self._begin_anew(rows)
            else:
                self._write(rows)
        except OSError as error:
            raise IslandError(f"the FIX session {self._path} cannot be kept: {error.strerror}") from None

    def close(self) -> None:
        """Write, and let go of the file."""
        self.flush()
        self._let_go()

    def _write(self, rows: bytearray) -> None:
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        while rows:
            del rows[: os.write(self._fd, rows)]

    def _begin_anew(self, rows: bytearray) -> None:
        """Put a new file in the place of the old one."""
        self._let_go()
        path, self._path = self._path, self._path.with_suffix(".new")
        try:
            self._path.unlink(missing_ok=True)
            self._write(rows)
            self._path.replace(path)
        finally:
            self._path = path
        self._is_fresh = False

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # --- what is asked --------------------------------------------------------------------------

    def sent(self, first: int, last: int) -> list[Sent]:
        """The messages with these numbers, as far as they were sent since the last reset."""
        begin, end = max(first, self._first_out), min(last, self.next_out - 1)
        return [self._sent_as(number) for number in range(begin, end + 1)]

    def _sent_as(self, number: int) -> Sent:
        at = number - self._first_out
        place = Place(self._sequences[at], self._indexes[at])
        return Sent(number, self._times_ns[at], place, self._texts.get(number, ""))

    # --- rows -----------------------------------------------------------------------------------

    def _note(self, row: Row, number: int, a: int = 0, b: int = 0, index: int = 0, text: str = "") -> None:
        payload = text.encode("latin-1", "replace")[:TEXT_BYTES_MAX]
        data = _ROW.pack(_ROW.size + len(payload), row, index, 0, number, a, b) + payload
        self._rows += data + zlib.crc32(data).to_bytes(_CRC_BYTES, "little")
        self._apply(row, number, a, b, index, payload.decode("latin-1"))

    def _apply(self, row: Row, number: int, a: int, b: int, index: int, text: str) -> None:
        if row is Row.IN:
            self.next_in = number + 1
            self._taken.append((number, a))
            self.last_command = a or self.last_command
        elif row is Row.OUT:
            self._apply_out(number, a, Place(b, index), text)
        elif row is Row.RESET:
            self.next_in = self.next_out = 1
            self._taken.clear()
            self._answered.clear()
            self._begin_out()
        elif row is Row.START:
            self.place = Place(number, index)
            self.has_started = True
        elif row is Row.REWIND:
            self.next_in = number
            self._answered |= {taken for taken, command in self._taken if taken > number and not command}
            self._taken = deque((one for one in self._taken if one[0] < number), maxlen=UNCERTAIN_MAX)
            self.last_command = next((command for _taken, command in reversed(self._taken) if command), 0)
        else:
            self.was_on = row is Row.ON
            self.last_command = max(self.last_command, number)

    def _apply_out(self, number: int, time_ns: int, place: Place, text: str) -> None:
        self.next_out = number + 1
        self._times_ns.append(time_ns)
        self._sequences.append(place.sequence)
        self._indexes.append(place.nth)
        if text:
            self._texts[number] = text
        self.place = max(self.place, place)

    def _begin_out(self) -> None:
        self._first_out = 1
        self._times_ns, self._sequences, self._indexes = array("Q"), array("Q"), array("B")
        self._texts: dict[int, str] = {}

    def _load(self) -> None:
        data = self._path.read_bytes() if self._path.exists() else b""
        at = 0
        while at + _ROW.size + _CRC_BYTES <= len(data):
            size, kind, index, _, number, a, b = _ROW.unpack_from(data, at)
            end = at + size
            crc = int.from_bytes(data[end : end + _CRC_BYTES], "little")
            if end + _CRC_BYTES > len(data) or zlib.crc32(data[at:end]) != crc or size < _ROW.size:
                break
            self._apply(Row(kind), number, a, b, index, data[at + _ROW.size : end].decode("latin-1"))
            at = end + _CRC_BYTES
        if at < len(data):
            os.truncate(self._path, at)
