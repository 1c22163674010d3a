"""What operators do by commands stands in the log before it is done: who, what, why.

    command --note--> log --seen in the stream--> the command acts
               |
               +--cannot be written--> nothing is done; a remedy is, and says on stderr that no log tells of it

Rules
- A command that changes a running venue is marked as `noted`, and has nothing else to do with it.
- Who: over tcp the name of the key, under which the note is submitted, and nodes check that; else the user and host.
- What cannot be written is not done. Remedies are: a key has to be revoked, and room to be made, where nobody leads.

How a note is written is not known here. The package whose language has it adds a function (a `Write`) to the
entry-point group `sequencer.notes`.
"""

import inspect
import os
import pwd
import socket
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, Protocol, TypeVar

import msgspec
import typer
import zmq

from sequencer.admin import can_ask_nodes
from sequencer.config import Config
from sequencer.errors import ConfigError, IslandError, UnnotedError, UnreachableError
from sequencer.group import members
from sequencer.output import errors
from sequencer.sockets import key_in_use

REASON_CHARS_MAX: Final = 200
PATIENCE_S: Final = 10.0
REMEDY_PATIENCE_S: Final = 5.0
"""A remedy does not wait long for a venue that may be what it is for."""
_NO_DETAILS: Final = frozenset({"data", "output", "reason"})

Command = TypeVar("Command", bound=Callable[..., None])
_Reason = Annotated[str, typer.Option(help="Why; it stands in the log for ever.")]


class Write(Protocol):
    """Has a note sequenced, and returns where it stands."""

    def __call__(
        self, config: Config, operator: str, action: str, details: str, reason: str, *, patience_s: float
    ) -> int:
        """`details` is JSON. Raises IslandError where it is not in the log within `patience_s`."""


def noted(command: Command) -> Command:
    """A command that is written into the log before it acts: its name, what it was called with, and a reason.

    It gets an option --reason, which may be left out, if it has none of its own.
    """
    return _noted(command, _required)


def noted_remedy(command: Command) -> Command:
    """The same, for one that mends what may keep notes from being written: it acts in any case."""
    return _noted(command, _attempted)


def note(config: Config, action: str, details: dict[str, Any], reason: str, patience_s: float = PATIENCE_S) -> None:
    """Write into the log that somebody is about to do this. Raises IslandError where that cannot be."""
    if not can_ask_nodes(config):
        raise UnreachableError("the venue does not run")
    write = _write()
    write(config, operator(config), action, _as_json(details), reason, patience_s=patience_s)


def operator(config: Config) -> str:
    """Who gives commands here: the name of the key, or user@host where none is needed. Raises ConfigError."""
    return key_in_use(config) or f"{_user()}@{socket.gethostname()}"


def _required(config: Config, action: str, details: dict[str, Any], reason: str) -> str:
    try:
        note(config, action, details, reason)
    except (IslandError, zmq.ZMQError) as error:
        raise UnnotedError(
            f"nothing was done: who asks for it has to stand in the log first, and that cannot be written: {error}"
        ) from error
    return ""


def _attempted(config: Config, action: str, details: dict[str, Any], reason: str) -> str:
    try:
        members(config)  # says at once where nobody answers
        note(config, action, details, reason, REMEDY_PATIENCE_S)
    except (IslandError, zmq.ZMQError) as error:
        return str(error)
    return ""


def _noted(command: Command, write: Callable[[Config, str, dict[str, Any], str], str]) -> Command:
    """`write` tells why nothing could be written, where the command is to act nevertheless."""
    signature = inspect.signature(command)
    has_reason = "reason" in signature.parameters

    @wraps(command)
    def noting(context: typer.Context, **options: Any) -> None:
        reason = _checked(options["reason"] if has_reason else options.pop("reason"))
        details = {name: value for name, value in options.items() if name not in _NO_DETAILS}
        why_not = write(Config.load(options["data"]), _words(context), details, reason)
        command(**options)
        if why_not:
            errors.print(f"warning: this does not stand in the log: {why_not}", highlight=False, soft_wrap=True)

    added = [inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)]
    own = list(signature.parameters.values())
    if not has_reason:
        own.append(inspect.Parameter("reason", inspect.Parameter.KEYWORD_ONLY, default="", annotation=_Reason))
    shown = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    noting.__signature__ = signature.replace(parameters=[*added, *shown])  # type: ignore[attr-defined]
    noting.__annotations__ = {one.name: one.annotation for one in (*added, *own)}
    noting.is_noted = True  # type: ignore[attr-defined]
    return noting  # type: ignore[return-value]


def _words(context: typer.Context) -> str:
    """The words of the command, without the program's name: `members add`."""
    words: list[str] = []
    at: Any = context
    while at.parent is not None:
        words.insert(0, at.info_name)
        at = at.parent
    return " ".join(words)


def _checked(reason: str) -> str:
    if len(reason) > REASON_CHARS_MAX or not reason.isprintable():
        raise ConfigError(
            f"--reason: expected up to {REASON_CHARS_MAX} characters that can be printed, got {reason[:40]!r}"
        )
    return reason


def _as_json(details: dict[str, Any]) -> str:
    """Of all that was given; what was left out, and has no value, is not told."""
    given = {name: _plain(value) for name, value in details.items() if value not in (None, "", [], ())}
    return msgspec.json.encode(given).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _user() -> str:
    """Who this process runs as: by its number, and not by variables that anybody may set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _write() -> Write:
    from importlib.metadata import entry_points  # noqa: PLC0415 - 30 ms, which only who notes has to spend

    for point in entry_points(group="sequencer.notes"):
        found: Write = point.load()
        return found
    raise ConfigError("no package that is installed can write notes (sequencer.notes): install the project again")
