"""One configuration, read and checked once at the edge: `venue.toml` in the data directory.

    [venue]      cluster id
    [[nodes]]    the ordering nodes, with their endpoints, and the disks of those who founded the group
    [journal]    segment size and reserve
    [timing]     elections and heartbeats
    [limits]     what a node takes in
    [channels]   which senders may write on which channels
    [output_quorum]  how many replicas must have made an output of which senders, before it is sequenced
    [endpoints]  where gateways listen
    [tls]        `certificate` and `private_key`, PEM files, of the doors web and fix; [tls.web], [tls.fix]: of one
    [processes]  what `sequencer up` starts beside the nodes
    [logs]       what processes tell of themselves, and how large its files get
    [monitoring] where each process, by name, serves /metrics, /healthz and /readyz: HOST:PORT

Endpoints are ZeroMQ endpoint strings. Relative paths, of `ipc://` and of files, are taken from the data directory.

Over `tcp://` only who has a key is heard: see `keys`. The doors `web` and `fix`, where strangers' protocols are spoken,
speak TLS where they have a certificate; one without is plain, and refused unless its host is a loopback address. What
hosts share, venue.toml and keys.toml, may be in a directory of its own: CONFIG_VARIABLE.
"""

import contextlib
import os
import socket
import tomllib
from enum import StrEnum
from fnmatch import fnmatchcase
from ipaddress import ip_address
from pathlib import Path

import msgspec

from sequencer.envelope import SENDER_BYTES_MAX
from sequencer.errors import ConfigError
from sequencer.keyring import DIRECTORY as SECRETS
from sequencer.keyring import Keyring
from sequencer.keys import FILE_NAME as KEYS_FILE
from sequencer.members import Member, Members

FILE_NAME = "venue.toml"
CONFIG_VARIABLE = "SEQUENCER_CONFIG"
"""An environment variable: the directory with venue.toml and keys.toml, where it is not the data directory."""
OUTPUT_QUORUM_MAX = 7
PORT_MAX = 65535
LOG_BYTES_MIN = 4 << 10
TLS_DOORS = ("web", "fix")
"""The endpoints at which strangers' protocols are spoken: plain, or in TLS."""
_SOCKET_PATH_BYTES_MAX = 100
NODE_DOORS = ("ingress", "publisher", "replayer", "peer")
TCP = "tcp://"
_TRANSPORTS = ("ipc://", TCP, "tipc://", "inproc://")


class LogLevel(StrEnum):
    """What a line of a log can be worth, in rising order."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LOG_LEVELS = tuple(level.value for level in LogLevel)


class Source(msgspec.Struct, frozen=True):
    """Where one node's stream is found: its publisher, the replayer of its log; and where it takes batches."""

    name: str
    publisher: str
    replayer: str
    ingress: str = ""


class Venue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[venue]`: `cluster` is 32 hexadecimal digits, the identity of the group and its log."""

    cluster: str


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of `[[nodes]]`. `disk` is the identity that a founder's directory was given, 32 hexadecimal digits.

    Who belongs to the group is told by its log, which begins with the founders; a node that joined later has no
    `disk` here. A `retired` one was removed from the group: it is neither started nor asked.
    """

    name: str
    ingress: str
    publisher: str
    replayer: str
    peer: str
    disk: str = ""
    retired: bool = False


class JournalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[journal]`: sizes in bytes. Below `reserve_bytes` of room, only control and `reserve_channels` are served.

    The latest `plain_segments` are kept as they were written, older ones are compressed; with 0, none is.
    """

    segment_bytes: int = 64 << 20
    plain_segments: int = 4
    reserve_bytes: int = 8 << 20
    reserve_channels: tuple[int, ...] = ()


class TimingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[timing]`, in ms."""

    election_ms: int = 120
    heartbeat_ms: int = 30
    publisher_heartbeat_ms: int = 100


class LimitsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[limits]` of intake: how much a node takes into one entry. Small ones let all work at once."""

    entry_bytes: int = 512 << 10
    entry_batches: int = 4096


class LogsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[logs]`: lines of `level` and above are written. A file of `file_bytes` is set aside, in place of the last."""

    level: str = "info"
    file_bytes: int = 16 << 20


class KeyPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A certificate (with what leads to its root, if anything) and its private key: paths of PEM files."""

    certificate: str
    private_key: str


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[tls]`: a pair for all doors, or one for each, or both: a door's own comes first."""

    certificate: str | None = None
    private_key: str | None = None
    web: KeyPair | None = None
    fix: KeyPair | None = None

    def pair(self, door: str) -> KeyPair | None:
        """What a door shows; None: it is plain."""
        own: KeyPair | None = getattr(self, door)
        if own is not None or self.certificate is None or self.private_key is None:
            return own
        return KeyPair(self.certificate, self.private_key)


class ProcessConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of `[processes]`: the words behind `sequencer`, without `--data`."""

    command: list[str]
    operates: bool = False
    """Whether operators act through it: the key that is made for it may do what they may."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    venue: Venue
    nodes: list[NodeConfig]
    channels: dict[str, list[int]]
    endpoints: dict[str, str] = {}
    processes: dict[str, ProcessConfig] = {}
    journal: JournalConfig = JournalConfig()
    timing: TimingConfig = TimingConfig()
    limits: LimitsConfig = LimitsConfig()
    output_quorum: dict[str, int] = {}
    logs: LogsConfig = LogsConfig()
    monitoring: dict[str, str] = {}
    tls: TlsConfig = TlsConfig()


class Config(msgspec.Struct, frozen=True):
    """A venue's configuration, valid and with absolute endpoints."""

    data_dir: Path
    cluster: bytes
    nodes: tuple[NodeConfig, ...]
    channels: dict[str, tuple[int, ...]]
    endpoints: dict[str, str]
    processes: dict[str, ProcessConfig]
    journal: JournalConfig
    timing: TimingConfig
    limits: LimitsConfig
    output_quorum: dict[str, int]
    logs: LogsConfig
    monitoring: dict[str, str]
    tls: dict[str, KeyPair]
    """By door, with absolute paths. A door that is not there is plain."""
    founders: Members
    """The group as its log begins."""
    written_nodes: tuple[NodeConfig, ...]
    """The nodes with their endpoints as they stand in the file: what the log tells is the same on every host."""
    holder: str = ""
    """The process that has read it, whose key it uses; "": who gives commands."""

    @classmethod
    def load(cls, data_dir: Path) -> "Config":
        """Read DIR/venue.toml. Raises ConfigError, naming the key that is wrong."""
        path = config_path(data_dir)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError(f"{data_dir} holds no venue: {path} is missing; `sequencer up` creates one") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from None
        return cls.parse(text, data_dir, str(path))

    @classmethod
    def parse(cls, text: str, data_dir: Path, name: str = FILE_NAME) -> "Config":
        """Check the text of a configuration file. Raises ConfigError."""
        try:
            file = msgspec.convert(tomllib.loads(text), _File)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{name} is not valid TOML: {error}") from None
        except msgspec.ValidationError as error:
            raise ConfigError(f"{name}: {error}") from None
        problem = _problem(file)
        if problem:
            raise ConfigError(f"{name}: {problem}")
        base = data_dir.absolute()
        return cls(
            data_dir=base,
            cluster=bytes.fromhex(file.venue.cluster),
            nodes=tuple(_absolute(node, base) for node in file.nodes if not node.retired),
            channels={pattern: tuple(channels) for pattern, channels in file.channels.items()},
            endpoints={key: endpoint_in(base, value) for key, value in file.endpoints.items()},
            processes=file.processes,
            journal=file.journal,
            timing=file.timing,
            limits=file.limits,
            output_quorum=file.output_quorum,
            logs=file.logs,
            monitoring=file.monitoring,
            tls={door: _pair_in(base, pair) for door in TLS_DOORS if (pair := file.tls.pair(door))},
            founders=Members.founding(_founder(node) for node in file.nodes if node.disk),
            written_nodes=tuple(file.nodes),
        )

    def held_by(self, process: str) -> "Config":
        """The same, as a process of this name has it."""
        return msgspec.structs.replace(self, holder=process)

    def keyring(self) -> Keyring:
        """The keys of who has read this. Raises ConfigError."""
        own = self.holder.removesuffix("-replayer")
        return Keyring.load(self.keys_path, self.secrets_directory, own, self._servers)

    def _servers(self) -> dict[str, str]:
        """Whose key is to be expected where: as this has it, and as the file has it by now."""
        servers: dict[str, str] = {}
        for config in (self._as_it_is_now(), self):
            servers |= {getattr(node, door): node.name for node in config.nodes for door in NODE_DOORS}
            servers |= {endpoint: f"endpoints.{name}" for name, endpoint in config.endpoints.items()}
        return servers

    def _as_it_is_now(self) -> "Config":
        try:
            return Config.load(self.data_dir)
        except ConfigError:
            return self

    @property
    def keys_path(self) -> Path:
        """The list of keys."""
        return config_path(self.data_dir).with_name(KEYS_FILE)

    @property
    def secrets_directory(self) -> Path:
        """Where the keys of this host's processes are."""
        return self.data_dir / SECRETS

    def node(self, name: str) -> NodeConfig:
        """The node of this name. Raises ConfigError."""
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes)
        raise ConfigError(f"there is no node {name!r} in {FILE_NAME}: it has {known}")

    def journal_directory(self, name: str) -> Path:
        """Where a node keeps its journal."""
        return self.data_dir / name

    def snapshot_directory(self, name: str) -> Path:
        """Where a node keeps the snapshots of replicas."""
        return self.data_dir / f"{name}-snapshots"

    def written(self, name: str) -> NodeConfig:
        """A node as the file has it. Raises ConfigError."""
        self.node(name)
        return next(node for node in self.written_nodes if node.name == name)

    def resolved(self, member: Member) -> NodeConfig:
        """A member's endpoints: as the file has them, or else as the log tells them."""
        for node in self.nodes:
            if node.name == member.name:
                return node
        node = NodeConfig(member.name, member.ingress, member.publisher, member.replayer, member.peer)
        return _absolute(node, self.data_dir)

    def endpoint(self, name: str) -> str:
        """The endpoint of this name in `[endpoints]`. Raises ConfigError."""
        try:
            return self.endpoints[name]
        except KeyError:
            raise ConfigError(f"[endpoints] has no `{name}`: add it to {FILE_NAME}") from None

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where the stream can be read, one source a node."""
        return tuple(Source(node.name, node.publisher, node.replayer, node.ingress) for node in self.nodes)

    @property
    def ingress(self) -> tuple[str, ...]:
        """Where batches can be submitted, one endpoint a node."""
        return tuple(node.ingress for node in self.nodes)

    @property
    def named_hosts(self) -> tuple[str, ...]:
        """Hosts of endpoints that are names, and have to be looked up."""
        endpoints = [getattr(node, door) for node in self.nodes for door in NODE_DOORS]
        hosts = map(named_host, [*endpoints, *self.endpoints.values()])
        return tuple(sorted({host for host in hosts if host}))

    def permitted(self, sender: str) -> frozenset[int]:
        """The channels that a sender may write on."""
        return frozenset(
            channel
            for pattern, channels in self.channels.items()
            if fnmatchcase(sender, pattern)
            for channel in channels
        )

    def needed(self, sender: str) -> int:
        """How many processes must have made a sender's batches before they are sequenced: those of the first fit."""
        fits = (count for pattern, count in self.output_quorum.items() if fnmatchcase(sender, pattern))
        return next(fits, 1)


def config_path(data_dir: Path) -> Path:
    """Where the venue.toml is that belongs to a data directory."""
    return Path(os.environ.get(CONFIG_VARIABLE, "") or data_dir) / FILE_NAME


def listening_host(host: str) -> str:
    """Where a process listens that is found at `host`: at an address or interface alone, for a name everywhere ("").

    A host that has several networks has the name in each of them.
    """
    with contextlib.suppress(ValueError):
        return str(ip_address(host.strip("[]")))
    return host if host in ("localhost", *(name for _index, name in socket.if_nameindex())) else ""


def named_host(endpoint: str) -> str:
    """The host of a tcp endpoint if it is a name that has to be looked up, else ""."""
    if not endpoint.startswith(TCP):
        return ""
    host = endpoint.removeprefix(TCP).rpartition(":")[0]
    return "" if host == "*" or listening_host(host) else host


def endpoint_in(base: Path, endpoint: str) -> str:
    """Make a relative ipc path absolute; one too long for a socket address goes by a short name in /tmp.

    The short directory is the user's own and named by the long one, so every process finds the same.
    """
    if not endpoint.startswith("ipc://") or endpoint[6:7] in ("/", "@"):
        return endpoint
    path = str(base / endpoint[6:])
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES_MAX:
        path = str(_short_directory(base) / endpoint[6:].replace("/", "-"))
    return f"ipc://{path}"


def is_loopback(endpoint: str) -> bool:
    """Whether only this machine reaches a TCP endpoint: its host is in 127.0.0.0/8, ::1 or localhost."""
    host = endpoint.removeprefix(TCP).rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _pair_in(base: Path, pair: KeyPair) -> KeyPair:
    return KeyPair(str(base / pair.certificate), str(base / pair.private_key))


def _short_directory(base: Path) -> Path:
    import hashlib  # noqa: PLC0415 - the rare case

    digest = hashlib.sha256(os.fsencode(base)).hexdigest()[:16]
    path = Path(f"/tmp/sequencer-{os.getuid()}-{digest}")
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise ConfigError(f"{path} belongs to another user: choose a shorter --data path, so that it is not needed")
    return path


def _absolute(node: NodeConfig, base: Path) -> NodeConfig:
    return NodeConfig(
        node.name,
        endpoint_in(base, node.ingress),
        endpoint_in(base, node.publisher),
        endpoint_in(base, node.replayer),
        endpoint_in(base, node.peer),
        node.disk,
        node.retired,
    )


def _founder(node: NodeConfig) -> Member:
    return Member(
        node.name,
        bytes.fromhex(node.disk),
        ingress=node.ingress,
        publisher=node.publisher,
        replayer=node.replayer,
        peer=node.peer,
    )


def _problem(file: _File) -> str:
    """What is wrong beyond types, or nothing."""
    names = [node.name for node in file.nodes]
    founders = [node for node in file.nodes if node.disk]
    if not _is_identity(file.venue.cluster):
        return f"venue.cluster: expected 32 hexadecimal digits, got {file.venue.cluster!r}"
    if len(set(names)) != len(names):
        return f"nodes: expected nodes of different names, got {names}"
    if all(node.retired for node in file.nodes):
        return "nodes: expected a node that is not retired"
    if len(founders) not in (1, 3, 5):
        return f"nodes: expected 1, 3 or 5 founders, which have a `disk`, got {len(founders)}"
    for node in founders:
        if not _is_identity(node.disk):
            return f"nodes.{node.name}.disk: expected 32 hexadecimal digits, got {node.disk!r}"
    return _endpoint_problem(file) or _tls_problem(file) or _number_problem(file)


def _is_identity(text: str) -> bool:
    return len(text) == 32 and set(text) <= set("0123456789abcdef")


def _endpoint_problem(file: _File) -> str:
    for key, address in file.monitoring.items():
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or int(port) > PORT_MAX:
            return f"monitoring.{key}: expected HOST:PORT such as 127.0.0.1:21001, got {address!r}"
    named = {f"endpoints.{key}": value for key, value in file.endpoints.items()}
    for node in file.nodes:
        for key in NODE_DOORS:
            named[f"nodes.{node.name}.{key}"] = getattr(node, key)
    seen: dict[str, str] = {}
    for key, value in named.items():
        if not value.startswith(_TRANSPORTS):
            return f"{key}: expected an endpoint such as tcp://127.0.0.1:20001, got {value!r}"
        if value in seen:
            return f"{key}: {value} is also {seen[value]}; every endpoint must be its own"
        seen[value] = key
    return ""


def _tls_problem(file: _File) -> str:
    tls = file.tls
    if (tls.certificate is None) != (tls.private_key is None):
        return "tls: expected both `certificate` and `private_key`, got one of them"
    for door in TLS_DOORS:
        pair, endpoint = tls.pair(door), file.endpoints.get(door, "")
        if pair is not None and not (pair.certificate and pair.private_key):
            return f"tls: expected file names for {door}, got {pair.certificate!r} and {pair.private_key!r}"
        if pair is None and endpoint.startswith(TCP) and not is_loopback(endpoint):
            return (
                f"endpoints.{door}: expected a loopback host such as 127.0.0.1, or a certificate, got {endpoint} "
                "without one: name its files under [tls]; `sequencer certificate` makes one for development"
            )
    return ""


def _number_problem(file: _File) -> str:
    journal, timing, limits = file.journal, file.timing, file.limits
    if journal.segment_bytes < 64 << 10:
        return f"journal.segment_bytes: expected at least {64 << 10}, got {journal.segment_bytes}"
    if not 0 <= journal.reserve_bytes < journal.segment_bytes:
        return f"journal.reserve_bytes: expected 0 to segment_bytes, got {journal.reserve_bytes}"
    if journal.plain_segments < 0:
        return f"journal.plain_segments: expected 0 (compress none) or more, got {journal.plain_segments}"
    if not 0 < timing.heartbeat_ms * 2 <= timing.election_ms:
        return f"timing.election_ms: expected at least twice heartbeat_ms, got {timing.election_ms}"
    if timing.publisher_heartbeat_ms <= 0:
        return f"timing.publisher_heartbeat_ms: expected a positive number, got {timing.publisher_heartbeat_ms}"
    if limits.entry_bytes <= 0 or limits.entry_batches <= 0:
        return "limits: expected positive numbers"
    if file.logs.level not in LOG_LEVELS:
        return f"logs.level: expected {', '.join(LOG_LEVELS)}, got {file.logs.level!r}"
    if file.logs.file_bytes < LOG_BYTES_MIN:
        return f"logs.file_bytes: expected at least {LOG_BYTES_MIN}, got {file.logs.file_bytes}"
    for pattern, channels in file.channels.items():
        if len(pattern) > SENDER_BYTES_MAX or not all(0 < channel < 1 << 16 for channel in channels):
            return f"channels.{pattern}: expected channel numbers from 1 to 65535, got {channels}"
    for pattern, count in file.output_quorum.items():
        if not 1 <= count <= OUTPUT_QUORUM_MAX:
            return f"output_quorum.{pattern}: expected 1 to {OUTPUT_QUORUM_MAX} replicas, got {count}"
    return ""
