"""What a forked process leaves alone: everything that it shares with its parent, but what it was given."""

import os

_STANDARD = 3


def close_others(*kept: int) -> None:
    """Close every file but these and the standard ones: sockets and locks are the parent's."""
    low = _STANDARD
    for fd in sorted(kept):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))
