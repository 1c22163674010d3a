"""What operators can do over the web: the functions behind the commands of the same purpose, each with a reason.

    POST /v1/venue/NAME, a body --> an action, checked --> written to the log: who, what, why --> done --> words

They wait for other processes: they are called in a thread of their own, one at a time.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from engines import browsing, forensics, operating, skipping
from engines.sharding import named
from gateways import trades
from gateways.times import iso_text
from gateways.web.refusals import RefusedError
from sequencer import admin, group
from sequencer.config import Config
from sequencer.errors import ConfigError, IslandError

SKIPPED_MAX: Final = 100
"""Messages in one request."""

Reason = Annotated[str, Meta(min_length=1, max_length=200)]
Sequence = Annotated[int, Meta(ge=1)]


class TransferLeader(msgspec.Struct, forbid_unknown_fields=True):
    """Hand the lead to a node."""

    node: str
    reason: Reason


class Snapshot(msgspec.Struct, forbid_unknown_fields=True):
    """Take a snapshot of every shard of a machine (empty: of all), and wait until nodes keep it."""

    reason: Reason
    machine: str = ""


class Skip(msgspec.Struct, forbid_unknown_fields=True):
    """Have a stopped shard refuse a message, or several, and go on. `shard` is I/N, or as `poison` names it."""

    sequence: Sequence | Annotated[list[Sequence], Meta(min_length=1, max_length=SKIPPED_MAX)]
    machine: str
    reason: Reason
    shard: str = ""


class Trade(msgspec.Struct, forbid_unknown_fields=True):
    """Correct a trade; without a price and a quantity, bust it."""

    trade: Sequence
    reason: Reason
    price: str | None = None
    quantity: str | None = None


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """A command of an operator: a line of a flow file."""

    command: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]
    reason: Reason


def read(name: str, body: bytes) -> Any:
    """The action that is asked for. Raises RefusedError."""
    kind = ACTIONS.get(name)
    if kind is None:
        raise RefusedError(f"expected one of {', '.join(ACTIONS)}, got {name[:40]!r}", 404)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(f"{name}: {error}") from None


def note(config: Config, operator: str, name: str, action: Any) -> int:
    """Write into the log that it was asked for; the place. Raises RefusedError."""
    details = msgspec.json.decode(msgspec.json.encode(action))
    del details["reason"]
    text = msgspec.json.encode(details).decode()
    return int(_told(lambda: operating.note_action(config, operator, name, text, action.reason)))


def act(config: Config, action: Any) -> dict[str, Any]:
    """Do it; what came of it. Raises RefusedError."""
    return {"done": _told(lambda: _DOING[type(action)](config, action))}


def poison(config: Config) -> bytes:
    """Messages at which replicas are stopped, as JSON."""
    return msgspec.json.encode({"poison": _told(lambda: forensics.poisoned(config))})


def message(config: Config, sequence: int) -> bytes:
    """A message of the log and what is around it, as JSON. Raises RefusedError."""
    try:
        found = browsing.look(config, sequence)
    except ConfigError as error:
        raise RefusedError(str(error), 404) from None
    except IslandError as error:
        raise RefusedError(str(error), 503) from None
    head, effects = found.message, found.effects
    row = _row(head) | {"channel": head.channel}
    later = [{**_row(one), "after_us": (one.time_ns - head.time_ns) // 1000} for one in effects]
    around = {"previous": sequence - 1 or None, "next": sequence + 1 if sequence < found.last else None}
    causes = [_row(one) for one in found.causes]
    return msgspec.json.encode(
        {"message": row, **around, "causes": causes, "effects": later, "is_whole": found.is_whole}
    )


def status(config: Config) -> tuple[admin.Status, list[str]]:
    """How all processes are, and what is wrong."""
    found = admin.status(config)
    return found, admin.problems(found, config)


def _row(found: browsing.Found) -> dict[str, Any]:
    return {
        "sequence": found.sequence, "timestamp": iso_text(found.time_ns), "cause": found.cause, "sender": found.sender,
        "type": found.type, "fields": found.fields,
    }  # fmt: skip


def _told(act: Callable[[], Any]) -> Any:
    """What it gives; what it raises is said to who asked."""
    try:
        return act()
    except ConfigError as error:
        raise RefusedError(str(error)) from None
    except IslandError as error:
        raise RefusedError(str(error), 409) from None


def _transfer(config: Config, asked: TransferLeader) -> str:
    config.node(asked.node)
    group.transfer(config, asked.node)
    return f"{asked.node} leads"


def _snapshot(config: Config, asked: Snapshot) -> str:
    at, told = operating.take_snapshot(config, asked.machine, keep=True)
    operating.await_kept(config, told)
    return f"asked at {at:,}: " + ", ".join(f"{shard} as of {one.position:,}" for shard, one in sorted(told.items()))


def _skip(config: Config, asked: Skip) -> str:
    sequences = asked.sequence if isinstance(asked.sequence, list) else [asked.sequence]
    is_name = asked.shard.startswith(f"{asked.machine}.")
    spec = named(asked.shard).spec if is_name else asked.shard
    done = skipping.skip(config, asked.machine, spec, sequences, asked.reason, lambda _doing: None)
    rows = skipping.await_again(config, done, lambda _doing: None)
    states = ", ".join(f"{row['name']} is {row['verdict']}" for row in rows)
    then = f"; it stops at the next: {done.then}" if done.then else ""
    skipped = ", ".join(f"{one:,}" for one in sequences)
    return f"skipped {skipped}, in force from {done.at:,} on: {states}{then}"


def _trade(config: Config, asked: Trade) -> str:
    before, after = trades.correct(config, asked.trade, asked.price, asked.quantity, asked.reason)
    was, now = before.as_row(), after.as_row()
    return f"{was['quantity']} at {was['price']} is now {now['quantity']} at {now['price']}"


ACTIONS: Final[dict[str, type[Any]]] = {
    "command": Command,
    "transfer-leader": TransferLeader,
    "snapshot": Snapshot,
    "skip": Skip,
    "trade": Trade,
}
_DOING: Final[dict[type, Callable[[Config, Any], str]]] = {
    TransferLeader: _transfer,
    Snapshot: _snapshot,
    Skip: _skip,
    Trade: _trade,
}
