"""What a process that listens on tcp does now and then: follow the list of keys, and tell who was refused."""

import time
from typing import Final

from sequencer.errors import ConfigError
from sequencer.keys import Keys
from sequencer.logs import Log
from sequencer.sockets import Context

LOOK_MS: Final = 100
_AT_ONCE: Final = 5


class KeyWatch:
    """Call `look` in each turn of a loop."""

    def __init__(self, context: Context, log: Log) -> None:
        self._context = context
        self._log = log
        self._looked_ms = 0

    def look(self) -> frozenset[str]:
        """Public keys that do not count as they did at the last call: what they were told of is to end.

        Raises IslandError where the process cannot let anybody in any more.
        """
        now_ms = time.monotonic_ns() // 1_000_000
        if now_ms - self._looked_ms < LOOK_MS:
            return frozenset()
        self._looked_ms = now_ms
        for refusal in self._context.refusals():
            self._log.seldom("warning", "refused", at_once=_AT_ONCE, **refusal._asdict())
        self._context.guard()
        try:
            changed = self._context.changed()
        except ConfigError as error:
            self._log.error("list of keys not taken", why=str(error))
            return frozenset()
        keys = self._context.keyring.keys if changed else Keys()
        for public in sorted(changed):
            self._log.warning("key revoked" if keys.of(public) is None else "key changed", key=keys.whose(public))
        return changed
