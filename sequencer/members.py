"""Who orders: the members of the group, as the log says.

    venue.toml [[nodes]]  --founding-->  entry 1  --add, promote, remove: one at a time-->  entry n

Rules:
- The first entry of a log names its founders; every later change is an entry of its own. What the group
  is at any place is a function of the log up to there, committed or not; a dropped tail takes its part along.
- A member is a name *and a disk*: votes and acknowledgements count only from the disk that the log names.
  An empty disk under an old name is a stranger, and never votes.
- Voters decide. A learner receives everything and decides nothing.
"""

from collections.abc import Iterable
from typing import Self

import msgspec

from sequencer.envelope import CONTROL, Batch, Entry, encode_batch
from sequencer.errors import EnvelopeError

SEQUENCER = "sequencer"
"""The sender of changes of the group. No process may speak under this name."""

MEMBERS_MAX = 16


class Member(msgspec.Struct, array_like=True, frozen=True):
    """One node of the group. `disk` is the 16 bytes that its directory was given when it was made.

    Endpoints are ZeroMQ endpoint strings, as they stand in venue.toml. `joining`: a learner that becomes a
    voter by itself once it has caught up.
    """

    name: str
    disk: bytes
    voter: bool = True
    joining: bool = False
    ingress: str = ""
    publisher: str = ""
    replayer: str = ""
    peer: str = ""


class Members(msgspec.Struct, array_like=True, frozen=True):
    """The whole group after `version` changes (0: founding), by name."""

    version: int
    all: tuple[Member, ...]

    @classmethod
    def founding(cls, members: Iterable[Member]) -> Self:
        """The group that a log begins with."""
        return cls(0, tuple(sorted(members, key=lambda member: member.name)))

    def find(self, name: str) -> Member | None:
        """The member of this name."""
        return next((member for member in self.all if member.name == name), None)

    @property
    def voters(self) -> tuple[str, ...]:
        """Names of those who decide."""
        return tuple(member.name for member in self.all if member.voter)

    def has_voter(self, name: str, disk: bytes) -> bool:
        """Whether what this disk says under this name counts."""
        member = self.find(name)
        return member is not None and member.voter and member.disk == disk

    def with_member(self, member: Member) -> "Members":
        """The group with this member, in place of the one of its name."""
        others = [other for other in self.all if other.name != member.name]
        return Members(self.version + 1, tuple(sorted([*others, member], key=lambda each: each.name)))

    def without(self, name: str) -> "Members":
        """The group without a member."""
        return Members(self.version + 1, tuple(member for member in self.all if member.name != name))

    def promoted(self, name: str) -> "Members":
        """The group with a learner made a voter."""
        member = self.find(name)
        assert member is not None, (name, self)
        return self.with_member(msgspec.structs.replace(member, voter=True, joining=False))

    def why_not_next(self, after: "Members") -> str:
        """What stands against `after` as the next group; nothing if a single change leads there."""
        old = {member.name: member for member in self.all}
        new = {member.name: member for member in after.all}
        changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        if len(changed) != 1 or after.version != self.version + 1:
            return f"one member is changed at a time, got changes of {', '.join(changed) or 'nobody'}"
        if not after.voters or len(new) > MEMBERS_MAX:
            return f"a group has a voter and at most {MEMBERS_MAX} members"
        was, is_now = old.get(changed[0]), new.get(changed[0])
        if is_now is not None and is_now.voter and (was is None or was.disk != is_now.disk):
            return f"{changed[0]} comes with a disk that holds nothing yet: it begins as a learner"
        return ""


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Members)


def members_batch(members: Members) -> Batch:
    """The batch that says it: without messages, so that it takes no sequence number."""
    return encode_batch(SEQUENCER, CONTROL, 0, _ENCODER.encode(members), count=0, incarnation=members.version + 1)


def members_in(entry: Entry) -> Members:
    """The group that an entry with `changes_members` tells. Raises EnvelopeError."""
    for batch in entry.batches():
        if batch.sender == SEQUENCER:
            try:
                return _DECODER.decode(batch.payload)
            except msgspec.MsgspecError as error:
                raise EnvelopeError(f"entry {entry.index} does not tell the members of the group: {error}") from None
    raise EnvelopeError(f"entry {entry.index} is marked as a change of the group and holds none")
