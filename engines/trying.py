"""How a shard would fare with some messages refused: its log replayed on a copy, in a process of its own.

    snapshot before them + log --> replica that skips them --> position, its outputs compared with the log's

Rules:
- It goes up to what was committed when it began. Where the machine raises, or does not come to an end, it stops; the
  outputs of the shard in the entries behind that are compared all the same: what the log holds of it was made by
  somebody who acted on these messages, or it was made here too.
"""

import os
import select
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from engines.forking import FAILED, fork
from engines.hand import Hand
from engines.machine import Machine
from engines.replica import Replica
from engines.reproducing import NO_END_S, Outcome, locate
from engines.seeding import seed
from engines.sharding import ShardingState
from engines.skips import Decided, SkipState
from sequencer.client import Context, Replay
from sequencer.config import Config
from sequencer.envelope import Entry
from sequencer.errors import DivergedError, IslandError
from sequencer.group import committed_index

LOG_S: Final = 10.0
PAUSE_S: Final = 0.1
_NEVER: Final = 1 << 62

Say = Callable[[str], None]


class Trial(msgspec.Struct):
    """A shard with some messages refused, up to entry `index` of the log: it came to `position`.

    `error` is why it went no further than `stops_at`, the first sequence number of an entry; empty where nothing
    stopped it. `skips` is what later decisions about skips depend on.
    """

    index: int = 0
    position: int = 0
    skips: SkipState = SkipState()
    sharding: ShardingState = ShardingState()
    stops_at: int = 0
    error: str = ""
    diverged: bool = False


@dataclass(frozen=True)
class Attempt:
    """A shard with messages refused, to be replayed from a state of before `before`."""

    config: Config
    make: Callable[[], Machine]
    shard: str
    refused: tuple[int, ...]
    before: int

    def begin(self, last_index: int | None, made: Context) -> tuple[Replica, Replay]:
        """The replica in that state, and the entries that follow. Raises IslandError."""
        config = self.config
        begun = seed(
            self.make,
            self.shard,
            config.sources,
            config.cluster,
            before=self.before,
            context=made,
            say=lambda _doing: None,
        )
        begun.replica.skipped = {**begun.replica.skipped, **dict.fromkeys(self.refused, Decided(_NEVER, self.shard))}
        return begun.replica, Replay(config.sources, begun.next_index, last_index, context=made, patience_s=LOG_S)


def tried(attempt: Attempt, say: Say, no_end_s: float = NO_END_S) -> Trial:
    """Replay the log with messages refused. Raises IslandError where that fails."""
    last_index = committed_index(attempt.config)
    hand = Hand()
    trial = _watched(lambda: _replay(attempt, last_index, 0, hand), hand, say, no_end_s)
    if trial is None:  # once more, up to what has no end
        end, again = hand.read().first, Hand()
        trial = _watched(lambda: _replay(attempt, last_index, end, again), again, say, no_end_s)
    if trial is None:
        raise IslandError(f"an entry before {end:,} has no end either, this time: is the host too busy? Try again")
    return trial


def next_culprit(attempt: Attempt, stops_at: int) -> Outcome:
    """What a shard cannot take in the entry at `stops_at`, with messages refused."""
    made = Context.of(attempt.config)
    try:
        replica, entries = attempt.begin(None, made)
        return locate(replica.machine, entries, stops_at, replica.skipped, replica.sharding)
    finally:
        made.destroy(linger=0)


def _watched(work: Callable[[], Trial], hand: Hand, say: Say, no_end_s: float) -> Trial | None:
    """What a process of its own finds; None where it has had the same entry in hand for too long."""
    child = fork(lambda _read_fd, write_fd: _tell(work(), write_fd), keeps_files=True)
    said = b""
    try:
        while True:
            if select.select([child.read_fd], [], [], PAUSE_S)[0]:
                part = os.read(child.read_fd, 1 << 16)
                if not part:
                    break
                said += part
                continue
            seen = hand.read()
            say(f"trying it: at sequence {seen.position:,}")
            if seen.first and time.monotonic_ns() - seen.since_ns > no_end_s * 1_000_000_000:
                return None
    finally:
        child.kill()
        child.bury()
    if not said or said.startswith(FAILED):
        why = said.removeprefix(FAILED).decode(errors="replace") or "its process ended"
        raise IslandError(f"the trial failed: {why}")
    return msgspec.msgpack.decode(said, type=Trial)


def _tell(trial: Trial, write_fd: int) -> None:
    os.write(write_fd, msgspec.msgpack.encode(trial))


def _replay(attempt: Attempt, last_index: int, end: int, hand: Hand) -> Trial:
    made = Context.of(attempt.config)
    replica, entries = attempt.begin(last_index, made)
    trial = _take_all(replica, entries, end, hand)
    trial.index, trial.position = last_index, replica.position
    trial.skips, trial.sharding = replica.skips.state(), replica.sharding.state()
    return trial


def _take_all(replica: Replica, entries: Iterable[Entry], end: int, hand: Hand) -> Trial:
    """Apply entries until one cannot be, or up to that at `end` (0: to the last); only hear what is behind it."""
    trial = Trial()
    try:
        for entry in entries:
            if trial.error:
                replica.hear(entry)
            elif entry.first_sequence == end:
                trial.stops_at, trial.error = end, f"the entry at sequence {end:,} has no end"
                replica.hear(entry)
            elif entry.message_count:
                hand.take(entry, replica.position)
                trial.error = _taken(replica, entry)
                trial.stops_at = entry.first_sequence if trial.error else 0
                hand.put_down(replica.position)
    except DivergedError as error:
        trial.error, trial.diverged = str(error), True
    return trial


def _taken(replica: Replica, entry: Entry) -> str:
    """Have a replica apply an entry; return why it cannot, or nothing. Raises DivergedError."""
    try:
        replica.apply(entry)
    except DivergedError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the machine raises is where it stops
        return f"{type(error).__name__}: {error}, in the entry at sequence {entry.first_sequence:,}"
    return ""
