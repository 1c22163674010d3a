"""Who may do what on the venue's sockets: roles, doors, and the list of keys. Pure; `keyring` keeps it in files.

    keys.toml --Keys.parse--> Keys --of(public key)--> Key --enters, sends, is_process, acts_as, operates--> yes or no

Rules
- A key says who one is; what that one may do stands in the list alone, and can change while all runs.
- What is not allowed is refused: an unknown key, a revoked one, a door that is not of its role, a name not its own.
- Operators speak in their own name: no key submits as another's operator, whatever else it may.
- A role opens doors and has operations (DOORS, and the methods of Key); patterns (as of a shell: `matching.*`) narrow
  them down to names.
- How much a key may ask for is usual for its role (USUAL), or stands in its `limits`.

A key is a CURVE key pair (CurveZMQ, rfc.zeromq.org/spec/26): 32 bytes each, written as 40 characters of Z85.
"""

import hashlib
import tomllib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from sequencer.errors import ConfigError
from sequencer.limits import LIMIT_MAX, Limits

FILE_NAME: Final = "keys.toml"
Z85_CHARACTERS: Final = 40
_NO_NAME: Final = frozenset("/*?[")
"""In no name: names are files' names, and what `standard` makes patterns of."""
Z85: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


Names = tuple[str, ...]

_OPERATOR_CHARS: Final = 15
"""That a sender has room for, behind `operator.`."""


class Role(StrEnum):
    """What a key is for."""

    NODE = "node"
    REPLICA = "replica"
    GATEWAY = "gateway"
    CLIENT = "client"
    READER = "reader"
    ADMIN = "admin"


class Door(StrEnum):
    """A socket that listens: what a node, its replayer and the gateways serve. It is the ZAP domain of its socket."""

    PEER = "peer"
    STREAM = "stream"
    INGRESS = "ingress"
    REPLAYER = "replayer"
    ACCESS = "access"
    FEED = "feed"


DOORS: Final[dict[Role, frozenset[Door]]] = {
    Role.NODE: frozenset({Door.PEER, Door.STREAM, Door.INGRESS, Door.REPLAYER}),
    Role.REPLICA: frozenset({Door.STREAM, Door.INGRESS, Door.REPLAYER}),
    Role.GATEWAY: frozenset({Door.STREAM, Door.INGRESS, Door.REPLAYER, Door.FEED}),
    Role.CLIENT: frozenset({Door.ACCESS, Door.FEED}),
    Role.READER: frozenset({Door.STREAM, Door.INGRESS, Door.REPLAYER, Door.FEED}),
    Role.ADMIN: frozenset({Door.STREAM, Door.INGRESS, Door.REPLAYER, Door.ACCESS, Door.FEED}),
}
"""At a node's ingress, a reader asks and says how it is; it submits nothing."""

USUAL: Final[dict[Role, Limits]] = {
    Role.NODE: Limits(LIMIT_MAX, LIMIT_MAX, 16 << 20, LIMIT_MAX),
    Role.REPLICA: Limits(10_000, 64 << 20, 2 << 20, 64),
    Role.GATEWAY: Limits(10_000, 64 << 20, 2 << 20, 64),
    Role.CLIENT: Limits(2_000, 1 << 20, 256 << 10, 16),
    Role.READER: Limits(500, 4 << 20, 128 << 10, 64),
    Role.ADMIN: Limits(200_000, 256 << 20, 16 << 20, 256),
}
"""What a key of a role may ask of a door, unless its `limits` say otherwise. Replicas and gateways speak for many, in
batches: a few thousand a second at most. An admin sends whole flows."""

_SUBMITS: Final = frozenset({Role.REPLICA, Role.GATEWAY})
OPERATOR: Final = "operator"
"""The sender of operators of this host, who need no key; those with one have a sender of their own."""


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One of `[[keys]]`: who has it, and what that one may do."""

    name: str
    role: Role
    public: str
    senders: tuple[str, ...] = ()
    """Patterns of the senders that it may submit as: `matching.*`, `gateway.web-1`."""
    processes: tuple[str, ...] = ()
    """Patterns of the names that its processes may have."""
    clients: tuple[str, ...] = ()
    """Patterns of the clients that it may act as at a gateway."""
    serves: tuple[str, ...] = ()
    """Names of [endpoints] where this key is the server's."""
    operates: bool = False
    """What operators may: change the group, hand over the lead, discard snapshots, submit as any other sender."""
    limits: Limits = Limits()
    """How much it may ask for, where that is not what is usual for its role."""
    revoked: str = ""
    """When, if it was."""

    @property
    def bounds(self) -> Limits:
        """How much it may ask of a door; nothing is left out."""
        return self.limits.over(USUAL[self.role])

    def enters(self, door: Door) -> bool:
        """Whether its connections are let in."""
        return door in DOORS[self.role]

    def sends(self, sender: str) -> bool:
        """Whether it may submit batches of this sender, and bring snapshots of a shard of this name."""
        if sender == OPERATOR or sender.startswith(f"{OPERATOR}."):
            return self.operates and sender == operator_sender(self.name)
        return self.operates or (self.role in _SUBMITS and _fits(sender, self.senders))

    def is_process(self, name: str) -> bool:
        """Whether a process of it may have this name."""
        return _fits(name, self.processes)

    def acts_as(self, client: str) -> bool:
        """Whether it may log this client on at a gateway."""
        return self.enters(Door.ACCESS) and _fits(client, self.clients)

    @property
    def rights(self) -> str:
        """All of it in words, for people."""
        named = {
            "submits as": self.senders, "is": self.processes, "acts as": self.clients, "serves": self.serves
        }  # fmt: skip
        words = [f"{what} {', '.join(patterns)}" for what, patterns in named.items() if patterns]
        return "; ".join([*words, *(["operates"] if self.operates else [])])


def operator_sender(name: str) -> str:
    """The sender of an operator whose key has this name, for the log to tell who it was; "": of one without a key.

    A name that is too long for a sender, or not ASCII, is told by a part of its SHA-256, behind a ? as in no name.
    """
    if not name:
        return OPERATOR
    if name.isascii() and len(name) <= _OPERATOR_CHARS:
        return f"{OPERATOR}.{name}"
    return f"{OPERATOR}.?{hashlib.sha256(name.encode()).hexdigest()[: _OPERATOR_CHARS - 1]}"


def key_of_operator(sender: str) -> str:
    """The name of the key, or the part of a digest, that an operator's sender tells; empty without a key."""
    return "" if sender == OPERATOR else sender.removeprefix(f"{OPERATOR}.")


LOCAL: Final = Key("", Role.ADMIN, "", processes=("*",), clients=("*",), operates=True)
"""Who comes through an ipc socket: these are private to the user whose venue it is."""


def standard(
    name: str,
    role: Role,
    public: str,
    *,
    of: Iterable[str] = (),
    serves: Iterable[str] = (),
    processes: Iterable[str] = (),
    operates: bool = False,
    limits: Limits | None = None,
) -> Key:
    """A key with the rights that its role usually has. `of`: the machines of a replica, the clients of a client.

    `processes`: the names of its processes, where these are not like its own; `limits`, where these are not usual.
    """
    made = _standard(name, role, public, tuple(of), tuple(serves), tuple(processes), operates=operates)
    return made if limits is None else msgspec.structs.replace(made, limits=limits)


def _standard(name: str, role: Role, public: str, named: Names, serves: Names, others: Names, *, operates: bool) -> Key:
    match role:
        case Role.NODE:
            return Key(name, role, public, processes=(name, f"{name}-replayer"))
        case Role.REPLICA:
            senders = tuple(f"{machine}.*" for machine in named or (name,))
            return Key(name, role, public, senders=senders, processes=others or (name, f"{name}-*"))
        case Role.GATEWAY:
            return Key(
                name,
                role,
                public,
                senders=(f"gateway.{name}",),
                processes=(name,),
                serves=serves,
                operates=operates,
            )
        case Role.CLIENT:
            return Key(name, role, public, clients=named or (name,))
        case Role.READER:
            return Key(name, role, public, processes=others or (name, f"{name}-*"))
        case Role.ADMIN:
            return Key(name, role, public, processes=("*",), clients=("*",), operates=True)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: list[Key] = []


class Keys:
    """The list of keys. A name has one key that counts, and any number of revoked ones."""

    def __init__(self, listed: Iterable[Key] = ()) -> None:
        self.listed = tuple(listed)
        self._valid = {key.public: key for key in self.listed if not key.revoked}
        self._named = {key.name: key for key in self._valid.values()}

    @classmethod
    def parse(cls, text: str, name: str = FILE_NAME) -> "Keys":
        """Check the text of a list. Raises ConfigError."""
        try:
            listed = msgspec.convert(tomllib.loads(text), _File).keys
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{name} is not valid TOML: {error}") from None
        except msgspec.ValidationError as error:
            raise ConfigError(f"{name}: {error}") from None
        problem = _problem(listed)
        if problem:
            raise ConfigError(f"{name}: {problem}")
        return cls(listed)

    def text(self) -> str:
        """As `parse` reads it."""
        return "".join(f"[[keys]]\n{_lines(key)}\n" for key in self.listed)

    def of(self, public: str) -> Key | None:
        """Whose public key this is, in Z85; None where it is nobody's any more."""
        return self._valid.get(public)

    def whose(self, public: str) -> str:
        """The name of who has a key, or had it; the key itself, where it was nobody's."""
        return next((key.name for key in self.listed if key.public == public), public)

    def named(self, name: str) -> Key | None:
        """The key of this name that counts."""
        return self._named.get(name)

    def serving(self, endpoint: str) -> Key | None:
        """The key of who listens at one of [endpoints]."""
        return next((key for key in self._valid.values() if endpoint in key.serves), None)

    def with_key(self, key: Key) -> "Keys":
        """The list with one more. Raises ConfigError where its name has a key, or it could not be read again."""
        if key.name in self._named:
            raise ConfigError(f"{key.name} has a key: revoke it first, `sequencer keys revoke {key.name}`")
        listed = (*self.listed, key)
        problem = _problem(listed)
        if problem:
            raise ConfigError(problem)
        return Keys(listed)

    def without(self, name: str, when: datetime | None = None) -> "Keys":
        """The list with the key of this name revoked. Raises ConfigError where it has none."""
        if name not in self._named:
            raise ConfigError(f"{name} has no key to revoke: `sequencer keys list` shows who has")
        stamp = (when or datetime.now(UTC)).isoformat(timespec="seconds")
        return Keys(
            msgspec.structs.replace(key, revoked=stamp) if key is self._named[name] else key for key in self.listed
        )

    def changed_since(self, before: "Keys") -> frozenset[str]:
        """Public keys that counted then, and now do not count, or not for the same."""
        return frozenset(public for public, key in before._valid.items() if self._valid.get(public) != key)


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _problem(listed: Sequence[Key]) -> str:
    if not listed:
        return "expected [[keys]], got none: nobody could come in"
    seen: dict[str, str] = {}
    for key in listed:
        if not key.name.isprintable() or not key.name or not _NO_NAME.isdisjoint(key.name):
            return f"name: expected a name that can be a file's, and is no pattern, got {key.name!r}"
        words = (*key.senders, *key.processes, *key.clients, *key.serves, key.revoked)
        unprintable = next((word for word in words if not word.isprintable()), "")
        if unprintable:
            return f"{key.name}: expected text that can be printed, got {unprintable!r}"
        if len(key.public) != Z85_CHARACTERS or not set(key.public) <= set(Z85):
            return f"{key.name}.public: expected {Z85_CHARACTERS} characters of Z85, got {key.public!r}"
        if key.limits.problem:
            return f"{key.name}.limits.{key.limits.problem} of a {key.role}"
        if key.public in seen:
            return f"{key.name}.public: expected keys of their own, {seen[key.public]} has the same"
        seen[key.public] = key.name
    valid = [key.name for key in listed if not key.revoked]
    twice = next((name for name in valid if valid.count(name) > 1), "")
    return f"{twice}: expected one key that counts, got several: set `revoked` of the others" if twice else ""


def _lines(key: Key) -> str:
    fields = msgspec.to_builtins(key)
    return "".join(f"{name} = {_toml(value)}\n" for name, value in fields.items())


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + " }"
    return msgspec.json.encode(value).decode()
