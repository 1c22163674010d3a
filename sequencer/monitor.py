"""Where a process tells over HTTP how it is, if `[monitoring]` of venue.toml names a port for it."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sequencer.exposition import Exposition

INTERVAL_MS: Final = 500
"""How often a loop tells how it is."""


def open_monitor(address: str, name: str, role: str) -> "Exposition | None":
    """A process's port, HOST:PORT; None for no address. Raises IslandError where it cannot listen there."""
    if not address:
        return None
    from sequencer.exposition import Exposition  # noqa: PLC0415 - 60 ms of a start, which most processes can spare

    return Exposition(address, name, role)
