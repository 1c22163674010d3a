"""FIX without sockets: a gateway process that can die at any moment, a log behind it, and counterparties.

    Counterparty --bytes--> FixGateway --batches--> Island
                 <--bytes--            <--entries--

A counterparty is written after the standard and shares no code with the gateway's session but the codec: it keeps what
it sent, asks for what it missed, and repeats what it is asked for.
"""

import os
from collections import deque
from pathlib import Path

from gateways.fix.codec import SOH, Framer, Message, encode
from gateways.fix.doors import FixGateway
from gateways.fix.settings import Counterparty as Party
from gateways.fix.settings import Settings
from gateways.order.session import Limits
from gateways.times import utc_text
from sequencer.envelope import Entry
from tests.models.island import Island

BEGIN_NS = 1_795_000_000_000_000_000
ADMIN = frozenset("012345A")


class Clock:
    """Time of day and monotonic time, one step at a time."""

    def __init__(self) -> None:
        self.now_ms = 1000

    def utc_ns(self) -> int:
        return BEGIN_NS + self.now_ms * 1_000_000


class Stage:
    """The log, the gateway in front of it, and the connections to it."""

    def __init__(self, directory: Path, *parties: Party, settings: dict[str, int] | None = None, **limits: int) -> None:
        self.island = Island()
        self.clock = Clock()
        self._directory = directory
        self._settings = Settings(open=not parties, sessions=list(parties), **(settings or {}))
        self._limits = Limits(**limits)
        self._unseen: deque[Entry] = deque()
        self._connections: dict[int, Counterparty] = {}
        self._count = 0
        self.start()

    def start(self) -> None:
        """A new process, which has read all of the log."""
        self.gateway = FixGateway(self._settings, self._directory, self.clock.utc_ns, self._limits)
        self._unseen.clear()
        self.gateway.tick(self.clock.now_ms)
        self.gateway.stream(self.island.log)
        self.gateway.go_live()

    def connect(self, party: "Counterparty") -> int:
        """A new connection of a counterparty; its number."""
        self._count += 1
        self._connections[self._count] = party
        self.gateway.opened(self._count)
        return self._count

    def say(self, number: int, data: bytes) -> None:
        """Bytes of a counterparty arrive."""
        self.gateway.receive(number, data)

    def lose(self, number: int) -> None:
        """A connection breaks."""
        if self._connections.pop(number, None) is not None:
            self.gateway.lost(number)

    def pass_time(self, ms: int) -> None:
        """Let time pass, in small steps."""
        for _ in range(0, ms, 100):
            self.clock.now_ms += 100
            self.gateway.tick(self.clock.now_ms)
            self.turn()

    def turn(self, crash: str = "", delivered: float = 1.0) -> None:
        """One wake. It may crash: before the stores are written, behind that, or when the batches are submitted.

        `delivered` is how much of the bytes reach the counterparties, where it crashes at last.
        """
        while self._unseen:
            self.gateway.stream([self._unseen.popleft()])
        if crash == "at once":
            return self.crash()
        self.gateway.flush()
        duties = self.gateway.duties()
        if crash == "stored":
            return self.crash()
        for count, payload in duties.batches:
            self._unseen.extend(self.island.submit("gateway.fix", payload, count))
        if duties.rebuild_from:
            self.gateway.rebuild(self.island.log[duties.rebuild_from - 1 :][:3])
        for number, data in duties.frames:
            party = self._connections.get(number)
            if party is not None:
                party.hear(data if crash != "submitted" else data[: int(len(data) * delivered)])
        for number in duties.closing:
            self._drop(number)
        return self.crash() if crash == "submitted" else None

    def settle(self) -> None:
        """Turn until nothing happens any more."""
        for _ in range(200):
            before = self._activity()
            self.turn()
            if self._activity() == before and not self._unseen:
                return
        raise AssertionError("it does not come to rest")

    def crash(self) -> None:
        """The process ends here, without a word; another one begins."""
        for door in self.gateway._doors.values():
            if door.store._fd >= 0:
                os.close(door.store._fd)
        for number in tuple(self._connections):
            self._drop(number)
        self.start()

    def _drop(self, number: int) -> None:
        party = self._connections.pop(number, None)
        if party is not None:
            party.disconnected()

    def _activity(self) -> object:
        return (
            len(self.island.log),
            [party.activity for party in self._connections.values()],
            self.gateway.orders.position,
        )


class Counterparty:
    """One initiator. `reports`: its application messages in order, each once; `problems`: what the standard forbids."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.name = name
        self.reports: list[Message] = []
        self.problems: list[str] = []
        self.heard: list[Message] = []
        """All that came, in the order in which it came."""
        self.bytes_heard: list[bytes] = []
        self.sent: dict[int, tuple[str, list[tuple[int, object]]]] = {}
        self.next_out = 1
        self.next_in = 1
        self.is_logged_on = False
        self.is_resetting = False
        """It has asked for new numbers, and has no answer: it sends nothing meanwhile."""
        self._stage = stage
        self._number = 0
        self._framer = Framer()

    @property
    def activity(self) -> int:
        """Grows with all that it hears."""
        return len(self.heard)

    # --- what it does -----------------------------------------------------------------------------

    def log_on(self, *extra: tuple[int, object], is_patient: bool = True) -> None:
        """Connect and log on, and wait for the answer, or not."""
        self._number = self._stage.connect(self)
        self._framer = Framer()
        if (141, "Y") in extra:
            self._forget_numbers()
        self.send("A", (98, 0), (108, 30), *extra)
        if is_patient:
            self._stage.settle()

    def send(self, kind: str, *fields: tuple[int, object]) -> int:
        """Send a message with the next number, whether or not it arrives; return that."""
        number = self.next_out
        self.next_out += 1
        self.sent[number] = (kind, list(fields))
        self._post(kind, number, fields)
        return number

    def reset(self, *extra: tuple[int, object]) -> None:
        """Have numbers begin anew, while it is logged on."""
        expected = self.next_in
        self._forget_numbers()
        self.next_in = expected  # until that is answered
        self.send("A", (98, 0), (108, 30), (141, "Y"), *extra)

    def _forget_numbers(self) -> None:
        self.next_out = self.next_in = 1
        self.sent.clear()
        self.is_resetting = True

    def order(self, name: str, side: int = 1, price: object = 100, quantity: object = 5) -> int:
        """A limit order in the one instrument of the island."""
        fields = [(11, name), (55, "I1"), (54, side), (60, self._time), (40, 2), (44, price), (38, quantity)]
        return self.send("D", *fields)

    def post(self, kind: str, number: int, *fields: tuple[int, object], sending_time: str = "", **ids: str) -> None:
        """Send anything, under any number, from and to anybody."""
        time, sender, target = sending_time or self._time, ids.get("sender", self.name), ids.get("target", "ISLAND")
        header = f"34={number}{SOH}49={sender}{SOH}56={target}{SOH}52={time}{SOH}"
        self._stage.say(self._number, encode(kind, header, fields))

    def hang_up(self) -> None:
        """Break the connection."""
        self._stage.lose(self._number)
        self.disconnected()

    def of(self, kind: str) -> list[Message]:
        """All that it heard of one type."""
        return [message for message in self.heard if message.type == kind]

    @property
    def _time(self) -> str:
        return utc_text(self._stage.clock.utc_ns())

    def _post(self, kind: str, number: int, fields: object, extra: str = "") -> None:
        header = f"34={number}{SOH}{extra}49={self.name}{SOH}56=ISLAND{SOH}52={self._time}{SOH}"
        if extra:
            header += f"122={self._time}{SOH}"
        self._stage.say(self._number, encode(kind, header, fields))

    # --- what it hears ----------------------------------------------------------------------------

    def disconnected(self) -> None:
        """The connection is gone."""
        self.is_logged_on, self._number = False, 0

    def hear(self, data: bytes) -> None:
        """Bytes of the gateway."""
        self.bytes_heard += [b"8=FIX" + part for part in data.split(b"8=FIX")[1:]]
        for message in self._framer.feed(data):
            self.heard.append(message)
            self._take(message)

    def _take(self, message: Message) -> None:
        number, kind, again = int(message.get(34)), message.type, message.get(43) == "Y"
        if kind == "A":
            self.is_logged_on = True
        if kind == "A" and self.is_resetting and message.get(141) == "Y":
            self._begin_anew()
            return
        if number < self.next_in:
            if not again:
                self.problems.append(f"number {number} came again: {message.fields}")
            return
        if number > self.next_in:
            self.send("2", (7, self.next_in), (16, 0))
            if kind == "2":
                self._repeat(message)
            return
        self.next_in = int(message.get(36)) if kind == "4" else number + 1
        if kind == "2":
            self._repeat(message)
        elif kind not in ADMIN:
            self.reports.append(message)

    def _begin_anew(self) -> None:
        self.is_resetting, self.next_in = False, 2

    def _repeat(self, request: Message) -> None:
        begin, end = int(request.get(7)), int(request.get(16)) or self.next_out - 1
        gap = begin
        for number in range(begin, min(end, self.next_out - 1) + 1):
            kind, fields = self.sent.get(number, ("0", []))
            if kind in ADMIN:
                continue
            self._fill(gap, number)
            self._post(kind, number, fields, f"43=Y{SOH}")
            gap = number + 1
        self._fill(gap, min(end, self.next_out - 1) + 1)

    def _fill(self, gap: int, number: int) -> None:
        if number > gap:
            self._post("4", gap, [(123, "Y"), (36, number)], f"43=Y{SOH}")


class Strict(Counterparty):
    """One that asks for a gap once, and keeps what comes ahead: an answer that is wrong or missing is not mended."""

    def __init__(self, stage: Stage, name: str) -> None:
        super().__init__(stage, name)
        self._ahead: dict[int, Message] = {}
        self._asked_to = 0

    def disconnected(self) -> None:
        """The connection is gone, and what came ahead is to come again."""
        super().disconnected()
        self._ahead.clear()
        self._asked_to = 0

    def _begin_anew(self) -> None:
        super()._begin_anew()
        self._ahead.clear()
        self._asked_to = 0

    def _take(self, message: Message) -> None:
        number = int(message.get(34))
        if number > self.next_in:
            if message.type == "A":
                self.is_logged_on = True
            if message.type == "2":
                self._repeat(message)
            else:
                self._ahead[number] = message
            if self._asked_to < self.next_in:
                self._asked_to = number - 1
                self.send("2", (7, self.next_in), (16, 0))
            return
        super()._take(message)
        while self.next_in in self._ahead:
            super()._take(self._ahead.pop(self.next_in))
        self._ahead = {ahead: one for ahead, one in self._ahead.items() if ahead > self.next_in}
