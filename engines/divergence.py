"""What a replica keeps on disk when it differs from the log, and what can be said of it.

    replica --both versions of the output, its own state--> DIR/diverged/NAME --explained--> first differing message
    log up to the cause --done again by this program--> as in the log | as the replica made it | otherwise

Who made the log's version is another replica of the shard: it was first. Doing it again tells which of the two this
program makes, and so whether a process or a version is the matter.
"""

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from engines import snapshot as images
from engines.machines import cut
from engines.messages import decode, shown
from engines.replica import Replica
from engines.seeding import seed
from engines.sharding import named
from sequencer import __version__
from sequencer.client import Replay
from sequencer.config import Config
from sequencer.envelope import Batch, split_batches
from sequencer.errors import ConfigError, IslandError
from sequencer.sockets import context

DIRECTORY: Final = "diverged"
LOG_S: Final = 10.0
AROUND: Final = 2

Row = dict[str, Any]


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """Both versions of an output, as batches: the log's, at `sequence`, and the own one (empty where there is none).

    `image` is the replica's state then, compressed, and `position` how far it had come.
    """

    name: str
    machine: str
    shard: str
    sequence: int
    log: bytes
    own: bytes
    position: int
    image: bytes
    program: str


class Explanation(msgspec.Struct):
    """`rows` are the messages around the first that differs, `difference` its place in the output, from 1."""

    name: str
    shard: str
    output: int
    sequence: int
    cause: int
    difference: int
    rows: list[Row]
    made_by: str
    here: str
    again: str
    advice: str


def keep(config: Config, name: str, machine: str, replica: Replica) -> Path | None:
    """Write what a replica that differs knows of it; None where it differs in its state alone. Raises OSError."""
    found = replica.contradiction
    if found is None:
        return None
    log, own = found
    kept = Kept(
        name,
        machine,
        replica.sender,
        log.first_sequence,
        bytes(log.data),
        bytes(own.data) if own else b"",
        replica.position,
        _image_of(replica),
        program(),
    )
    directory = config.data_dir / DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / name
    temporary = path.with_suffix(".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.msgpack.encode(kept))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return path


def _image_of(replica: Replica) -> bytes:
    """The replica's own state, compressed; empty where it has none to tell."""
    try:
        return images.compress(images.encode(replica.snapshot())) if replica.position else b""
    except Exception:  # noqa: BLE001 - whatever the machine raises, the two versions are worth keeping
        return b""


def program() -> str:
    """What made an output: versions that a divergence may come from."""
    return f"sequencer-island {__version__}, Python {platform.python_version()} on {platform.machine()}"


def explained(config: Config, name: str) -> Explanation:
    """What can be said of a replica that has diverged on this host. Raises ConfigError where nothing is kept of it."""
    path = config.data_dir / DIRECTORY / name
    try:
        kept = msgspec.msgpack.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        known = sorted(found.name for found in path.parent.glob("*")) if path.parent.is_dir() else []
        raise ConfigError(
            f"nothing is kept of a divergence of {name!r} in {path.parent}: there is {', '.join(known) or 'none'}; "
            "it is on the host where the replica ran"
        ) from None
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    log = split_batches(kept.log)[0]
    own = split_batches(kept.own)[0] if kept.own else None
    theirs, ours = _messages(log), _messages(own) if own else []
    place = _first_difference(theirs, ours)
    again, advice = _again(config, kept, log, own)
    return Explanation(
        name,
        kept.shard,
        log.number,
        kept.sequence,
        log.cause,
        place + 1,
        _around(theirs, ours, place),
        kept.program,
        program(),
        again,
        advice,
    )


def _messages(batch: Batch) -> list[tuple[str, Row]]:
    try:
        return [shown(message) for message in decode(batch.channel, batch.payload)]
    except (KeyError, msgspec.DecodeError):
        return [("bytes", {"hex": bytes(batch.payload).hex()})]


def _first_difference(theirs: list[Any], ours: list[Any]) -> int:
    places = range(min(len(theirs), len(ours)))
    return next((place for place in places if theirs[place] != ours[place]), len(places))


def _around(theirs: list[tuple[str, Row]], ours: list[tuple[str, Row]], place: int) -> list[Row]:
    rows = []
    for at in range(max(0, place - AROUND), place + AROUND + 1):
        log, own = (_text(messages, at) for messages in (theirs, ours))
        if log or own:
            rows.append({"message": at + 1, "log": log, "replica": own, "differs": log != own})
    return rows


def _text(messages: list[tuple[str, Row]], at: int) -> str:
    if at >= len(messages):
        return ""
    kind, fields = messages[at]
    return " ".join([kind, *(f"{name}={value}" for name, value in fields.items())])


def _again(config: Config, kept: Kept, log: Batch, own: Batch | None) -> tuple[str, str]:
    """What this program makes of the cause, and what follows from that."""
    shard = named(kept.shard)
    try:
        make, _shard = cut(kept.machine, shard.spec)
        made = _made(config, make, kept.shard, log)
    except IslandError as error:
        return f"not done again: {error}", "run this where the venue and the machine are"
    if made is not None and made.digest == log.digest:
        return "as in the log", (
            "the log is right, and this program makes the same: the process, its host or its version was the matter; "
            "detach the replica and attach another"
        )
    if (made.digest if made else b"") == (own.digest if own else b""):
        return "as the replica made it", (
            "this program differs from the one that made the log: `sequencer prove` shows where; run the other version"
        )
    return "otherwise than both", "the machine is not deterministic: `sequencer lint` and `sequencer prove` look for it"


def _made(config: Config, make: Callable[..., Any], shard: str, log: Batch) -> Batch | None:
    """The output of this number that this program makes; None where it makes none."""
    with context(config) as made:
        begun = seed(
            make, shard, config.sources, config.cluster, before=max(log.cause, 1), context=made, say=lambda _doing: None
        )
        replica = begun.replica
        for entry in Replay(config.sources, begun.next_index, context=made, patience_s=LOG_S):
            if entry.message_count:
                for batch in replica.apply(entry):
                    if batch.number == log.number:
                        return batch
            if entry.first_sequence >= log.cause:
                break
    return None
