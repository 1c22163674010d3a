r"""What a process tells of itself: one line an event, on stderr, which `sequencer up` keeps in DIR/logs/NAME.log.

    time=2026-11-30T03:00:00.123456Z level=info process=node-1 event="became leader" term=5

    shell --Log--> level, time, escapes, logfmt --> LogFile

Rules:
- A line is logfmt. A value with a blank, a quote or a `=` stands in quotes; in these \" is a quote, \\ a backslash, \n
  the end of a line. What cannot be printed is written as \x1b: a stranger's name does nothing to a terminal.
- A traceback is a value of its error's line, `traceback="Traceback ...\n  File ..."`: `grep level=error` finds all of
  it, and `| sed 's/\\n/\n/g'` unfolds it.
- Changes are told, not states, and nothing for each batch or message. `is_news` tells whether something has changed.
- What somebody outside can cause is `seldom` told: a few lines at once, then one a second of each kind, with how many
  were left out before it; once there come no more, `event="left out" what="malformed frame" times=2999` tells the rest.
- Never a secret: passwords, keys, signatures and payloads are not given to a log.
- Shells alone write to it. Pure parts return what has happened.
- No library makes the lines: to import structlog costs each process a tenth of a second of CPU, a whole venue 1.5.
"""

import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

import msgspec

from sequencer import __version__
from sequencer.config import LOG_LEVELS, Config
from sequencer.errors import ConfigError, IslandError
from sequencer.logfile import LogFile, log_path

LEVEL_VARIABLE: Final = "SEQUENCER_LOG_LEVEL"
"""An environment variable that overrides `level` of venue.toml."""
SELDOM_S: Final = 1.0
CHARS_MAX: Final = 1000
TRACEBACK_CHARS_MAX: Final = 16_000
TRACEBACK: Final = "traceback"

Level = Literal["debug", "info", "warning", "error"]


class Lines(Protocol):
    """Where lines go."""

    def write(self, line: str) -> None:
        """Take a line, given without its end."""


class _Kind(msgspec.Struct):
    """How one kind of seldom lines fares."""

    level: Level
    room: float
    at_s: float
    left_out: int = 0


class Log:
    """The log of one process, from a level on."""

    def __init__(self, name: str, level: str, lines: Lines) -> None:
        self._name = name
        self._lines = lines
        self._from = LOG_LEVELS.index(level)
        self._known: dict[str, object] = {}
        self._kinds: dict[str, _Kind] = {}

    def debug(self, event: str, **fields: Any) -> None:
        """What only a developer wants to know."""
        self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Something has changed, as it should."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Something is worse than it should be, and goes on."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Something does not go on."""
        self._write("error", event, fields)

    def failure(self, event: str, error: BaseException, **fields: Any) -> None:
        """An error that nobody expected, with its traceback."""
        trace = "".join(traceback.format_exception(error)).rstrip("\n")
        self._write("error", event, {"error": f"{type(error).__name__}: {error}", **fields, TRACEBACK: trace})

    def is_news(self, what: str, value: object, known: object = None) -> bool:
        """Whether `value` is another one than when this was asked of `what` last; the first time, than `known`."""
        before = self._known.get(what, known)
        self._known[what] = value
        return before != value

    def follows(self, source: str) -> None:
        """The stream is read from this node; told where another one was left."""
        if self.is_news("source", source, source):
            self.seldom("info", "source changed", at_once=10, follows=source)

    def seldom(self, level: Level, event: str, *, at_once: int = 1, **fields: Any) -> None:
        """A line that somebody outside can cause: after `at_once` of this event, at most one a second is written."""
        now_s = time.monotonic()
        kind = self._kinds.setdefault(event, _Kind(level, at_once, now_s))
        kind.room = min(at_once, kind.room + (now_s - kind.at_s) / SELDOM_S)
        kind.at_s = now_s
        if kind.room < 1:
            kind.left_out += 1
            return
        kind.room -= 1
        if kind.left_out:
            fields["left_out"], kind.left_out = kind.left_out, 0
        self._write(level, event, fields)

    def tend(self, *, is_ending: bool = False) -> None:
        """Tell what was left out, once that has come to rest. Call it now and then."""
        for event, kind in self._kinds.items():
            if kind.left_out and (is_ending or time.monotonic() - kind.at_s > SELDOM_S):
                self._write(kind.level, "left out", {"what": event, "times": kind.left_out})
                kind.left_out = 0

    def _write(self, level: Level, event: str, fields: dict[str, Any]) -> None:
        if LOG_LEVELS.index(level) < self._from:
            return
        time_text = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        head = {"time": time_text, "level": level, "process": self._name, "event": event}
        self._lines.write(" ".join(_printable({**head, **fields})))


class _Silence:
    """Where the lines of a log go that nobody reads."""

    def write(self, line: str) -> None:
        """Nowhere."""


class NoLog(Log):
    """A log of nothing, for parts of a process that run without one."""

    def __init__(self) -> None:
        super().__init__("", "error", _Silence())


def open_log(config: Config, name: str) -> Log:
    """The log of a process, on stderr. Raises ConfigError for a level that is none."""
    return Log(name, level_of(config), LogFile(log_path(config.data_dir, name), config.logs.file_bytes))


def level_of(config: Config) -> str:
    """From which level on lines are written. Raises ConfigError."""
    level = os.environ.get(LEVEL_VARIABLE) or config.logs.level
    if level not in LOG_LEVELS:
        raise ConfigError(f"{LEVEL_VARIABLE}: expected {', '.join(LOG_LEVELS)}, got {level!r}")
    return level


@contextmanager
def lifetime(log: Log, role: str) -> Iterator[None]:
    """A process's life from start to end, told; what cuts it short is told and raised."""
    log.info("process started", role=role, pid=os.getpid(), version=__version__)
    try:
        yield
    except IslandError as error:
        log.error("process failed", error=str(error))  # noqa: TRY400 - it says all that there is to know
        raise
    except Exception as error:
        log.failure("process failed", error)
        raise
    log.info("process stopped")


def _printable(fields: dict[str, Any]) -> Iterator[str]:
    """Fields as text that a terminal can be shown, no longer than is read; those that say nothing are left out."""
    for key, value in fields.items():
        text = _text(value, TRACEBACK_CHARS_MAX if key == TRACEBACK else CHARS_MAX)
        if text:
            yield f"{key}={_quoted(text)}"


def _quoted(text: str) -> str:
    """As logfmt has it."""
    if any(char in text for char in ' ="'):
        text = text.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + text.replace("\n", "\\n") + '"'
    return text.replace("\n", "\\n")


def _text(value: object, chars_max: int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | set | frozenset):
        value = ",".join(map(str, value))
    text = str(value)
    if len(text) > chars_max:
        text = f"{text[: chars_max // 4]}...{text[-(chars_max * 3 // 4) :]}"
    if not text.isprintable():
        text = "".join(char if char.isprintable() or char == "\n" else f"\\x{ord(char):02x}" for char in text)
    return text
