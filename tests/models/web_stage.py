"""The web gateway without sockets: a process that can die at any moment, a log behind it, and clients with keys.

    Trader --JSON--> WebGateway --batches--> Island
           <--JSON--            <--entries--

A trader keeps to docs/web.md and shares no code with the gateway: it numbers its commands, says again under the same
number what has no answer, and comes back with the place of the last execution that it saw.
"""

import json
from collections import deque
from pathlib import Path

from gateways.order.session import Limits
from gateways.web.gateway import WebGateway
from gateways.web.keys import Keys, sign
from sequencer.envelope import Entry
from tests.models.island import Island

BEGIN_NS = 1_796_000_000_000_000_000


class Stage:
    """The log, the gateway in front of it, and who is connected."""

    def __init__(self, directory: Path, **limits: int) -> None:
        self.island = Island()
        self.now_ms = 1000
        self.keys = Keys()
        self.answers: dict[int, tuple[int, dict]] = {}
        """Over REST, by caller."""
        self._directory = directory
        self._limits = Limits(**limits)
        self._unseen: deque[Entry] = deque()
        self._connections: dict[int, Trader] = {}
        self._count = 0
        self._callers = 0
        self.start()

    def utc_ns(self) -> int:
        return BEGIN_NS + self.now_ms * 1_000_000

    def start(self) -> None:
        """A new process, which has read all of the log."""
        self.now_ms += 1
        self.gateway = WebGateway(self.keys, self._directory, self.utc_ns, "1", self._limits)
        self._unseen.clear()
        self.gateway.tick(self.now_ms)
        self.gateway.stream(self.island.log)
        self.gateway.go_live()

    def connect(self, trader: "Trader") -> int:
        self._count += 1
        self._connections[self._count] = trader
        self.gateway.connect(self._count)
        return self._count

    def lose(self, number: int) -> None:
        """A connection breaks."""
        if self._connections.pop(number, None) is not None:
            self.gateway.lost(number)

    def say(self, number: int, message: dict) -> None:
        self.gateway.receive(number, json.dumps(message))

    def rest(self, call) -> tuple[int, dict]:
        """Ask over REST by `call(caller)`; the answer, when all has come to rest."""
        self._callers -= 1
        caller = self._callers
        call(caller)
        self.settle()
        return self.answers[caller]

    def submit(self, *commands) -> None:
        """Commands of another gateway."""
        self._unseen.extend(self.island.sequence(list(commands)))

    def pass_time(self, ms: int) -> None:
        for _ in range(0, ms, 100):
            self.now_ms += 100
            self.turn()

    def turn(self, crash: str = "") -> None:
        """One wake. It may crash: before anything is done, or when the batches are submitted and nobody is told."""
        self.gateway.tick(self.now_ms)
        while self._unseen:
            self.gateway.stream([self._unseen.popleft()])
        duties = self.gateway.duties()
        if crash == "at once":
            return self.crash()
        for count, payload in duties.batches:
            self._unseen.extend(self.island.submit("gateway.web", payload, count))
        if crash == "submitted":
            return self.crash()
        for numbers, text in duties.told:
            for number in numbers:
                if number in self._connections:
                    self._connections[number].hear(json.loads(text))
        self.answers |= {caller: (status, json.loads(body)) for caller, (status, body) in duties.answers}
        for number, why in duties.closing:
            self._drop(number, why)
        log = self.island.log
        for index, take in (
            (duties.reports_from, self.gateway.old_reports),
            (duties.past_from, self.gateway.old_past),
            (duties.accounts_from, self.gateway.old_accounts),
        ):
            if index:
                take(log[index - 1 :][:3])
        return None

    def settle(self) -> None:
        """Turn until nothing happens any more."""
        for _ in range(400):
            before = self._activity()
            self.turn()
            if self._activity() == before and not self._unseen:
                return
        raise AssertionError("it does not come to rest")

    def crash(self) -> None:
        """The process ends here, without a word; another one begins."""
        for number in tuple(self._connections):
            self._drop(number, "the process died")
        self.start()

    def _drop(self, number: int, why: str) -> None:
        trader = self._connections.pop(number, None)
        if trader is not None:
            self.gateway.lost(number)
            trader.disconnected(why)

    def _activity(self) -> object:
        gateway = self.gateway
        return (
            len(self.island.log), len(self.answers), [len(one.heard) for one in self._connections.values()],
            gateway.trading.orders.position, gateway._past.next_index, gateway.private.accounts.next_index,
        )  # fmt: skip


class Trader:
    """One client. `executions` are its rows, in order, each once; `problems` what docs/web.md forbids."""

    def __init__(self, stage: Stage, name: str, may: tuple[str, ...] = ("read", "trade")) -> None:
        self.key = stage.keys.issue(name, may)
        stage.gateway.use(stage.keys)
        self._stage = stage
        self.begin(name)

    def begin(self, name: str) -> None:
        """Know nothing yet."""
        self.name = name
        self.executions: list[dict] = []
        self.orders: list[dict] = []
        """Live ones, as the last snapshot has them."""
        self.credit: list[dict] = []
        self.outcomes: dict[int, dict] = {}
        """Number of a command -> what it was answered."""
        self.refusals: list[str] = []
        """Why requests were not taken."""
        self.problems: list[str] = []
        self.heard: list[dict] = []
        self.closed = ""
        self._number = 0
        self._asked: dict[int, dict] = {}
        """Number of a command -> the request, until it is answered."""
        self._next_command = 1
        self._seen = 0
        self._counts: dict[str, int] = {}

    @property
    def is_connected(self) -> bool:
        return self._number != 0

    def token(self) -> str:
        return self._stage.gateway.gate.token(self.key)

    def connect(self, *channels: str) -> None:
        """A new connection, which goes on from what was seen, and says again what has no answer."""
        self._number = self._stage.connect(self)
        self._token = self.token()
        self.go_on(*channels)

    def go_on(self, *channels: str) -> None:
        """From what was seen, with what has no answer."""
        self._counts.clear()
        for channel in channels or ("executions",):
            since = {"since": self._seen} if channel == "executions" or self._seen else {}
            self.say("subscribe", channel=channel, **since)
        self.ask_again()

    def ask_again(self) -> None:
        """Say again what has no answer, in order."""
        for number in sorted(self._asked):
            self.say(**self._asked[number], req_id=number)

    def disconnected(self, why: str = "") -> None:
        self._number, self.closed = 0, why

    def hang_up(self) -> None:
        self._stage.lose(self._number)
        self._number = 0

    def say(self, method: str, req_id: int | None = None, **params: object) -> None:
        """A request with a token."""
        message = {"method": method, "params": {"token": self._token, **params}}
        self._stage.say(self._number, message if req_id is None else {**message, "req_id": req_id})

    def order(self, method: str, **params: object) -> int:
        """A command under the next number; the number."""
        number, self._next_command = self._next_command, self._next_command + 1
        self._asked[number] = {"method": method, **params, "number": number}
        if self._number:
            self.say(**self._asked[number], req_id=number)
        return number

    def signed(self, method: str, path: str, body: bytes = b"", nonce: int = 0) -> tuple[str, bytes, str, str, str]:
        """What `Gate.admit` takes of a request that is signed."""
        nonce_text = str(nonce or self._stage.utc_ns() // 1000)
        return method + path, body, self.key.key, nonce_text, sign(self.key.secret, method + path, nonce_text, body)

    def hear(self, message: dict) -> None:
        """One message."""
        self.heard.append(message)
        channel, kind = message.get("channel"), message.get("type")
        if "method" in message:
            self._hear_reply(message)
        elif channel in ("executions", "credit", "drop_copy"):
            before = self._counts.get(channel)
            if kind == "update" and message["sequence"] != (before or 0) + 1 and before is not None:
                self.problems.append(f"{channel} goes from {before} to {message['sequence']}")
            self._counts[channel] = message["sequence"]
            if channel == "credit":
                self.credit = message["data"]
                return
            if kind == "snapshot" and channel == "executions":
                self.orders = message["data"]
                self._note(message["since"])
                self._seen = max(self._seen, message["log_sequence"])
            else:
                self._note(message["data"])

    def _note(self, rows: list[dict]) -> None:
        known = {row["exec_id"] + row.get("client", "") for row in self.executions}
        for row in rows:
            if row["exec_id"] + row.get("client", "") in known:
                self.problems.append(f"told twice: {row}")
            if row["log_sequence"] < self._seen:
                self.problems.append(f"{row} after {self._seen}")
            self._seen = row["log_sequence"]
            self.executions.append(row)

    def _hear_reply(self, reply: dict) -> None:
        if reply["method"] in ("subscribe", "unsubscribe"):
            if not reply["success"]:
                self.refusals.append(reply["error"])
            return
        number, is_taken = reply.get("req_id", 0), "log_sequence" in reply.get("result", {})
        if number in self._asked and is_taken:
            del self._asked[number]
            self.outcomes[number] = reply
        elif not number or not is_taken:
            self.refusals.append(reply.get("error", ""))
        elif reply != self.outcomes.get(number, reply):
            self.problems.append(f"answered again, and differently: {reply}")
