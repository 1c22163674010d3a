"""Who may log on in FIX: `fix.toml` beside venue.toml, or, without it, everybody as the client of its own name.

comp_id = "ISLAND"              # ours

[[sessions]]
comp_id = "BANK1"               # theirs
client = "ANN"
cancel_on_disconnect = true

[[sessions]]
comp_id = "AUDIT"
drop_copy = true                # no client: it gets the reports of all
"""

import tomllib
from pathlib import Path

import msgspec

from gateways.names import is_client_name
from gateways.order.protocol import is_operator
from sequencer.errors import ConfigError

FILE_NAME = "fix.toml"
COMP_ID = "ISLAND"


class Counterparty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of `[[sessions]]`: its comp id, and the client that it speaks for. Heartbeats in seconds.

    With a `username` or a `password` a Logon has to carry it (553, 554). `reset` tells whether ResetSeqNumFlag is
    obeyed. A `drop_copy` speaks for nobody, and hears what all are told.
    """

    comp_id: str
    client: str = ""
    username: str = ""
    password: str = ""
    heartbeat_min: int = 1
    heartbeat_max: int = 300
    reset: bool = True
    cancel_on_disconnect: bool = False
    drop_copy: bool = False
    messages_per_s: int | None = None


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file. `open` lets in who is not listed, as the client that is called as its comp id, if it is nobody's.

    At most `sessions_max` are logged on at once. `messages_per_s` bounds each that names no bound of its own; 0: none.
    """

    comp_id: str = COMP_ID
    open: bool = False
    sessions_max: int = 1000
    messages_per_s: int = 0
    sessions: list[Counterparty] = []

    @classmethod
    def load(cls, data_dir: Path) -> "Settings":
        """Read DIR/fix.toml. Raises ConfigError."""
        path = data_dir / FILE_NAME
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls(open=True)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from None
        try:
            found = msgspec.convert(tomllib.loads(text), cls)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise ConfigError(f"{path}: {error}") from None
        if problem := _problem(found):
            raise ConfigError(f"{path}: {problem}")
        return found

    def find(self, comp_id: str) -> Counterparty | None:
        """Who logs on under this comp id, or nobody."""
        for one in self.sessions:
            if one.comp_id == comp_id:
                return one
        is_free = not is_operator(comp_id) and all(one.client != comp_id for one in self.sessions)
        return Counterparty(comp_id, comp_id) if self.open and is_free and is_comp_id(comp_id) else None

    def pace_of(self, party: Counterparty) -> int:
        """How many messages it may send in a second; 0: as many as are taken."""
        return self.messages_per_s if party.messages_per_s is None else party.messages_per_s


def is_comp_id(text: str) -> bool:
    """Whether a comp id can be a client's name as well."""
    return is_client_name(text) and text.isascii()


def _problem(found: Settings) -> str:
    names = [one.comp_id for one in found.sessions]
    if found.sessions_max < 1 or found.messages_per_s < 0:
        return f"expected sessions_max > 0 and messages_per_s >= 0, got {found.sessions_max}, {found.messages_per_s}"
    for one in found.sessions:
        if not is_comp_id(one.comp_id) or not (one.drop_copy or is_client_name(one.client)):
            return f"sessions: expected comp_id and client of 1 to 64 printable characters, got {one.comp_id!r}"
        if one.drop_copy and (one.client or one.cancel_on_disconnect):
            return f"sessions.{one.comp_id}: a drop_copy has no client, and no orders that could be canceled"
        if (one.messages_per_s or 0) < 0:
            return f"sessions.{one.comp_id}: expected messages_per_s >= 0, got {one.messages_per_s}"
        if not 0 < one.heartbeat_min <= one.heartbeat_max:
            return f"sessions.{one.comp_id}: expected 0 < heartbeat_min <= heartbeat_max, got {one.heartbeat_min}"
    if len(set(names)) != len(names):
        return f"sessions: expected different comp ids, got {names}"
    clients = [one.client for one in found.sessions if not one.drop_copy]
    if len(set(clients)) != len(clients):
        return f"sessions: expected a client of its own for each, got {clients}"
    return ""
