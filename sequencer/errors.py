"""What can go wrong in the world, as one small tree.

Each message says what was expected, what came and what the caller can do.
Our own bugs are assertions and never appear here.
"""


class IslandError(Exception):
    """Root of every error that this project raises on purpose."""


class ConfigError(IslandError):
    """A configuration file or option that cannot be used; the message names the key."""


class EnvelopeError(IslandError):
    """Bytes that are not a whole, well-formed batch or entry."""


class JournalError(IslandError):
    """The journal cannot be opened or written."""


class CorruptJournalError(JournalError):
    """A record that was durable once no longer reads back; nothing may be built on it."""


class DiskFullError(JournalError):
    """There is no room for the next segment; intake stops until there is."""


class DivergedLogError(JournalError):
    """A leader's log contradicts what this node holds as committed: one of them is damaged."""


class UnreachableError(IslandError):
    """No node, replayer or gateway answered within the time allowed."""


class UnnotedError(IslandError):
    """Something was not begun, since it could not be written into the log who asked for it."""


class FencedError(IslandError):
    """A newer process has opened a session under this sender's name; this one must stop."""


class DivergedError(IslandError):
    """A sequenced output of this shard differs from the one that this replica computed."""


class VersionError(IslandError):
    """The log asks for rules of a machine that this program does not know."""


class SnapshotError(IslandError):
    """A replica's snapshot that cannot be used; the message says why."""


class RunningError(IslandError):
    """The data directory is in use by another process."""
