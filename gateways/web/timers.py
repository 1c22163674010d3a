"""Cancel-after timers: all orders of a client are canceled at a time, unless it says before that it is still there.

    set(client, due) --> DIR/NAME/timers.json --> due(now) --> CancelAll, by the log --> done(client)

Rules
- A timer is on disk before it is confirmed: a gateway that comes back after its end cancels at once.
- A timer that is due stays until the venue has answered: the next process cancels again where this one died.
"""

from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from sequencer.errors import ConfigError, IslandError

FILE_NAME: Final = "timers.json"


class Timers:
    """The timers of all clients, in ms since the epoch."""

    def __init__(self, directory: Path) -> None:
        """Those that an earlier process left. Raises ConfigError."""
        self._path = directory / FILE_NAME
        self._firing: set[str] = set()
        try:
            self._due: dict[str, int] = msgspec.json.decode(self._path.read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            self._due = {}
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"{self._path} cannot be read: {error}; remove it to forget all timers") from None

    def set(self, client: str, due_ms: int) -> None:
        """Cancel then; 0: not any more. Raises IslandError where that cannot be written."""
        if due_ms:
            self._due[client] = due_ms
        else:
            self._due.pop(client, None)
        self._firing.discard(client)
        self._write()

    def due(self, now_ms: int) -> list[str]:
        """Whose time has come; each is told once."""
        found = [client for client, at in self._due.items() if at <= now_ms and client not in self._firing]
        self._firing.update(found)
        return found

    @property
    def are_firing(self) -> bool:
        """Whether some that were due are not done."""
        return bool(self._firing)

    def done(self, client: str) -> None:
        """The orders of a client whose timer was due are canceled."""
        if client in self._firing:
            with suppress(IslandError):  # on a full disk: the next process cancels once more
                self.set(client, 0)

    def _write(self) -> None:
        temporary = self._path.with_suffix(".new")
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_bytes(msgspec.json.encode(self._due))
            temporary.replace(self._path)
        except OSError as error:
            raise IslandError(f"cannot write {self._path}: {error.strerror}") from None
