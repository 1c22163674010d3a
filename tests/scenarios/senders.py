"""Words for senders: batches into a node's intake, what it answers, what comes out of the stream.

Two kinds of senders. A *process* is a pen: it seals its batches 1, 2, 3, ... into a chain and submits any of them
to any node, in any order and as often as it is told. A *client* is the real `Submission`: it decides by itself what
to say again. Batches are called after whoever sealed them: `p 3`.
"""

from dataclasses import dataclass, field

from sequencer.client.submission import Submission
from sequencer.envelope import CONTROL, Batch, encode_batch, split_batches
from sequencer.errors import IslandError
from sequencer.node import over_limit
from sequencer.protocol import ANSWERS, FRAME_BATCHES_MAX, QUESTIONS, AskPosition
from sequencer.sessions import Position
from tests.scenarios import looks
from tests.scenarios.stage import COMMANDS, ENGINES, Node, Stage


@dataclass
class Process:
    """A pen that writes for a sender. `sealed` are its batches by number, chained from `start` on."""

    name: str
    sender: str
    start: Position = field(default_factory=Position)
    sealed: dict[int, Batch] = field(default_factory=dict)

    @property
    def channel(self) -> int:
        """Where it speaks."""
        return ENGINES if self.sender.startswith("engine") else COMMANDS

    def batch(self, number: int) -> Batch:
        """Its batch of this number, the same whenever it is asked for."""
        for made in range(min(number, self.start.number + 1), number + 1):
            if made not in self.sealed:
                before = self.sealed[made - 1].digest if made > self.start.number + 1 else self.start.digest
                self.sealed[made] = self.seal(made, before)
        return self.sealed[number]

    def seal(self, number: int, previous: bytes, *, channel: int | None = None, count: int = 1) -> Batch:
        """A batch of its, wherever it belongs."""
        return encode_batch(
            self.sender, self.channel if channel is None else channel, number, f"{self.name} {number}".encode(),
            count=count, previous=previous, incarnation=self.start.incarnation,
        )  # fmt: skip

    def opening(self, incarnation: int) -> Batch:
        """OpenSession."""
        return encode_batch(
            self.sender, CONTROL, self.start.number, self.name.encode(), count=1, incarnation=incarnation
        )


@dataclass
class Client:
    """A Submission, and how much of the stream it has read."""

    name: str
    submission: Submission
    now_ms: int = 0
    position: int = 0


class Senders:
    """What processes and clients do."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._processes: dict[str, Process] = {}
        self._clients: dict[str, Client] = {}

    # --- processes ------------------------------------------------------------------------------

    def process(self, name: str, _of: str = "of", sender: str = "") -> None:
        """A process that speaks under a sender's name, its own if none is given."""
        self._processes[name] = Process(name, sender or name)

    def offer(self, name: str, to: str, *numbers: str) -> None:
        """Batches to a node's intake, in as few frames as may be: 1 2 3, or 1..3."""
        batches = [self._sealed(name, number) for word in numbers for number in _range(word)]
        for start in range(0, len(batches), FRAME_BATCHES_MAX):
            self._hand(to, b"".join(batch.data for batch in batches[start : start + FRAME_BATCHES_MAX]))

    def submit(self, name: str, to: str, *numbers: str) -> None:
        """The same, and the node makes an entry of all that waits."""
        self.offer(name, to, *numbers)
        self.turn(to)

    def turn(self, to: str) -> None:
        """A node makes one entry of all that waits."""
        self._stage.turn(to)

    def forge(self, name: str, to: str, number: str, how: str) -> None:
        """A batch that is not as it should be: `damaged`, `empty`, on a `channel=N`, or behind `previous=N`."""
        pen, at = self._processes[name], int(number)
        before = pen.batch(at - 1).digest if at > pen.start.number + 1 else pen.start.digest
        what, _, value = how.partition("=")
        if what == "damaged":
            data = bytearray(pen.batch(at).data)
            data[-1] ^= 1
        elif what == "empty":
            data = pen.seal(at, before, count=0).data
        elif what == "channel":
            data = pen.seal(at, before, channel=int(value)).data
        else:
            data = pen.seal(at, pen.batch(int(value)).digest).data
        self._hand(to, bytes(data))
        self.turn(to)

    def noise(self, to: str) -> None:
        """A frame that begins like a batch, and is none."""
        self._hand(to, b"ISB1 and nothing of sense")

    def opens(self, name: str, to: str, incarnation: str = "") -> None:
        """OpenSession of the next incarnation, or of this one; the process goes on in it."""
        pen = self._processes[name]
        opening = pen.opening(int(incarnation) if incarnation else pen.start.incarnation + 1)
        self._stage.sealed[opening.digest] = f"open {name} {opening.incarnation}"
        pen.start = Position(opening.incarnation, pen.start.number, pen.start.digest)
        pen.sealed.clear()
        self._hand(to, opening.data)
        self.turn(to)

    def asks(self, name: str, to: str) -> None:
        """A process asks how far its sender is, and goes on from there."""
        pen = self._processes[name]
        at = self._stage.nodes[to].orderer.position(pen.sender)
        pen.start = Position(at.incarnation, at.number, at.digest)
        pen.sealed.clear()
        self._tell(to, looks.answer(at, self._stage.sealed))

    def position(self, to: str, sender: str) -> None:
        """How far a sender is, as a node tells anyone."""
        self._tell(to, looks.answer(self._stage.nodes[to].orderer.position(sender), self._stage.sealed))

    def stream(self, name: str) -> None:
        """What a node has published since it started: index, sequence numbers, batches."""
        for entry in self._stage.nodes[name].published:
            batches = ", ".join(looks.batch(batch, self._stage.sealed) for batch in entry.batches())
            numbers = f" ({entry.first_sequence}..{entry.next_sequence - 1})" if entry.message_count else ""
            self._stage.told.append(f"{name} publishes {entry.index}{numbers}: {batches or 'nothing'}")

    def _sealed(self, name: str, number: int) -> Batch:
        batch = self._processes[name].batch(number)
        self._stage.sealed[batch.digest] = f"{name} {number}"
        return batch

    def _hand(self, to: str, frame: bytes) -> None:
        answer = _take(self._stage.nodes[to], frame)
        if answer is not None:
            self._tell(to, looks.answer(answer, self._stage.sealed))

    def _tell(self, name: str, what: str) -> None:
        self._stage.told.append(f"{name} {what}")

    # --- clients --------------------------------------------------------------------------------

    def client(self, name: str, *words: str) -> None:
        """A real sender that knows these nodes: `client g a b c`, or `client h of g a b c`."""
        sender, nodes = (words[1], words[2:]) if words[0] == "of" else (name, words)
        made = Client(name, None)
        made.submission = Submission(
            nodes, sender, now_ms=lambda: made.now_ms, random=lambda size: name.encode().ljust(size)
        )
        self._clients[name] = made

    def starts(self, name: str) -> None:
        """It begins to open a session."""
        self._clients[name].submission.open()

    def sends(self, name: str, count: str) -> None:
        """It submits so many batches."""
        submission = self._clients[name].submission
        for _ in range(int(count)):
            submission.submit(COMMANDS, f"{name} {submission.number + 1}".encode(), 1)
            self._stage.sealed[submission.digest] = f"{name} {submission.number}"
        submission.flush()

    def posts(self, name: str, fate: str = "") -> None:
        """What it has to say goes to the node that it has chosen.

        `lost`: on the way; `unheard`: the answers are; `over`: the rate of its key, so that the node reads none of it.
        """
        submission = self._clients[name].submission
        to, frames = submission.target, list(submission.outbox)
        submission.outbox.clear()
        node = self._stage.nodes[to]
        if not frames:
            self._tell(name, "has nothing to say")
        for frame in frames:
            answer = None if fate == "lost" or node.orderer is None else _take_any(node, bytes(frame), fate)
            self._tell(name, f"to {to}: {self._what(bytes(frame))}{f', {fate}' if fate else ''}")
            if answer is not None and fate in ("", "over"):
                self._tell(to, looks.answer(answer, self._stage.sealed))
                self._attempt(name, lambda heard=answer: submission.hear(heard))
        if node.orderer is not None:
            self.turn(to)

    def reads(self, name: str, node: str) -> None:
        """It reads what a node has published, from where it left off."""
        client = self._clients[name]
        for entry in self._stage.nodes[node].published:
            if entry.index > client.position:
                client.position = entry.index
                for batch in entry.batches():
                    self._attempt(name, lambda seen=batch: self._observe(client, seen))

    def waits(self, name: str, passed_ms: str) -> None:
        """Time passes at it."""
        client = self._clients[name]
        client.now_ms += int(passed_ms)
        client.submission.watch()

    def _observe(self, client: Client, batch: Batch) -> None:
        was_open = client.submission.is_open
        if client.submission.observe(batch):
            self._tell(client.name, f"sees {looks.batch(batch, self._stage.sealed)}")
        if client.submission.is_open and not was_open:
            at = client.submission
            self._tell(client.name, f"is open in incarnation {at.incarnation}, and goes on behind number {at.number}")

    def _attempt(self, name: str, act: object) -> None:
        try:
            act()
        except IslandError as error:
            self._tell(name, f"stops: {error}")

    def _what(self, frame: bytes) -> str:
        if frame[:4] != b"ISB1":
            return "how far am I?"
        return ", ".join(looks.batch(batch, self._stage.sealed) for batch in split_batches(frame))


def _take(node: Node, frame: bytes) -> object:
    """What a node's shell does with a frame of batches, a full disk included."""
    raft = node.raft
    return node.orderer.take(frame, lambda channel: raft.fit or channel in (CONTROL, ENGINES), raft.leader)


def _take_any(node: Node, frame: bytes, fate: str) -> object:
    if fate == "over":
        return ANSWERS.decode(over_limit("", [frame])[0])
    if frame[:4] == b"ISB1":
        return _take(node, frame)
    question = QUESTIONS.decode(frame)
    assert isinstance(question, AskPosition), question
    return node.orderer.position(question.sender)


def _range(word: str) -> range:
    first, _, last = word.partition("..")
    return range(int(first), int(last or first) + 1)
