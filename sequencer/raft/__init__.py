"""Consensus over batches: the Raft paper's algorithm as a pure core.

    step(now, input) --> duties:  persist the ballot, send, write entries, answer, publish

No I/O, clock or randomness of its own: the same steps give the same duties.
"""

from sequencer.raft.core import Raft
from sequencer.raft.duties import Duties
from sequencer.raft.election import Role, Timing
from sequencer.raft.log import Log
from sequencer.raft.messages import (
    Append,
    Appended,
    AskVote,
    ChangeMembers,
    Cleared,
    Event,
    Gone,
    Message,
    Persisted,
    Propose,
    Read,
    TimeoutNow,
    Transfer,
    Voted,
)

__all__ = [
    "Append",
    "Appended",
    "AskVote",
    "ChangeMembers",
    "Cleared",
    "Duties",
    "Event",
    "Gone",
    "Log",
    "Message",
    "Persisted",
    "Propose",
    "Raft",
    "Read",
    "Role",
    "TimeoutNow",
    "Timing",
    "Transfer",
    "Voted",
]
