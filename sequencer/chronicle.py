"""What happens to a node, as lines of its log: what has changed from one look at it to the next.

    node --look, at once when its role changes, else ten times a second--> Chronicle --Log--> stderr

Nothing here is asked by the loop for each batch: it is compared and told beside it.
"""

import time
from typing import Final

from sequencer.durable import DurableOrderer
from sequencer.journal import LocalDisk
from sequencer.logs import Level, Log
from sequencer.members import Members
from sequencer.protocol import Answer, Refused
from sequencer.raft import Role
from sequencer.sessions import Verdict

SLOW_SYNC_NS: Final = 100_000_000
"""A disk that takes longer to sync may cost the lead: elections time out soon after."""
_TOLD_VERDICTS: Final[dict[str, Level]] = {
    Verdict.CONFLICT.value: "warning",
    Verdict.FENCED.value: "info",
    "invalid": "warning",
    "not-permitted": "warning",
}
"""Duplicates and gaps are the daily work of senders and replicas; of a full disk more is said than that."""


class TimedDisk(LocalDisk):
    """The operating system's files, and how long syncs of them take."""

    def __init__(self) -> None:
        self.slowest_ns = 0
        """The longest since this was set to 0."""

    def sync(self, fd: int) -> None:
        begun_ns = time.monotonic_ns()
        super().sync(fd)
        self.slowest_ns = max(self.slowest_ns, time.monotonic_ns() - begun_ns)


class Chronicle:
    """The log of a node, as its shell writes it."""

    def __init__(self, log: Log, name: str, disk: TimedDisk) -> None:
        self.log = log
        self._name = name
        self._disk = disk

    def open(self, core: DurableOrderer) -> None:
        """What the node found on its disk."""
        for note in core.journal.recovered.notes:
            self.log.warning("journal repaired", note=note)
        self.log.info("journal opened", last_index=core.raft.log.last_index, commit_index=core.raft.commit_index)

    def look(self, core: DurableOrderer) -> None:
        """Tell what is another than at the last look."""
        self._tell_lead(core)
        self._tell_group(core)
        self._tell_disk(core)
        clock = core.orderer.clock
        if self.log.is_news("jumps", clock.jumps, 0):
            self.log.warning("clock jump refused", jumps=clock.jumps, offset_ms=clock.offset_ns // 1_000_000)
        self.log.tend()

    def refused(self, answer: Answer, key: str) -> None:
        """A batch was not taken of who has this key; none is shown over ipc."""
        if isinstance(answer, Refused) and answer.verdict in _TOLD_VERDICTS:
            level = _TOLD_VERDICTS[answer.verdict]
            self.log.seldom(level, "batch refused", verdict=answer.verdict, sender=answer.sender, key=key)

    def stranger(self, door: str, why: str) -> None:
        """Something came that is not of this group, or not of our protocol."""
        self.log.seldom("warning", "malformed frame", door=door, why=why)

    def _tell_lead(self, core: DurableOrderer) -> None:
        raft = core.raft
        if self.log.is_news("role", (raft.role, raft.term), (Role.FOLLOWER, raft.term)):
            self.log.info(f"became {raft.role.value}", term=raft.term, last_index=raft.log.last_index)
        if self.log.is_news("leader", raft.leader, ""):
            if raft.leader and raft.leader != self._name:
                self.log.info("leader seen", leader=raft.leader, term=raft.term)
            elif not raft.leader:
                self.log.warning("no leader", term=raft.term)

    def _tell_group(self, core: DurableOrderer) -> None:
        raft = core.raft
        committed = raft.log.members_index <= raft.commit_index
        if self.log.is_news("members", (raft.members.version, committed), (raft.members.version, committed)):
            self.log.info("members changed", **_group(raft.members), committed=committed)
        if self.log.is_news("removed", raft.is_removed, known=False) and raft.is_removed:
            self.log.warning("removed from the group")
        if self.log.is_news("strangers", sorted(raft.strangers), []) and raft.strangers:
            self.log.warning("disk of a stranger", names=sorted(raft.strangers))

    def _tell_disk(self, core: DurableOrderer) -> None:
        suspect_index = core.raft.suspect_index
        if self.log.is_news("suspect", suspect_index, 0):
            if suspect_index:
                self.log.warning("suspect", index=suspect_index)
            else:
                self.log.info("repaired", commit_index=core.raft.commit_index)
        if self.log.is_news("full", core.is_full, known=False):
            room = {"room_bytes": core.journal.room_bytes()}
            if core.is_full:
                self.log.warning("disk full, intake stops", **room)
            else:
                self.log.info("room on the disk, intake resumes", **room)
        if self._disk.slowest_ns > SLOW_SYNC_NS:
            self.log.seldom("warning", "slow sync", longest_ms=self._disk.slowest_ns // 1_000_000)
        self._disk.slowest_ns = 0


def _group(members: Members) -> dict[str, object]:
    learners = [member.name for member in members.all if not member.voter]
    return {"version": members.version, "voters": members.voters, "learners": learners}
