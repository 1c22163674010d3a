"""The logs of a venue's processes on this host, as one.

    logs/NAME.log.1, logs/NAME.log, of each process --_Tail--> lines in the order of their file --merge by time--> text

Rules:
- A file is known by what it is and not by its name, so one that is set aside meanwhile is read to its end.
- What is no line of a log (what a machine printed, a crash of the interpreter) has no level and is always told. It
  keeps its place in its file.
"""

import heapq
import os
import re
import select
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from sequencer.client.stop import StopSignal
from sequencer.config import LOG_LEVELS, Config
from sequencer.errors import ConfigError
from sequencer.logfile import log_path, older
from sequencer.supervisor import NAME, commands

LOOK_S: Final = 0.2
READ_BYTES: Final = 1 << 20
_LINE: Final = re.compile(r"time=(\S+) level=(\w+) ")


class _Line(NamedTuple):
    time: str
    level: str
    """Empty for what is no line of a log."""
    text: str


class _Tail:
    """One file, read as it grows."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""
        self._time = ""

    def lines(self) -> Iterator[_Line]:
        """The whole lines that were not read yet. Those before the first with a time have that time."""
        timeless: list[str] = []
        for text in self._texts():
            found = _LINE.match(text)
            self._time = found[1] if found else self._time
            if not self._time:
                timeless.append(text)
                continue
            yield from (_Line(self._time, "", early) for early in timeless)
            timeless.clear()
            yield _Line(self._time, found[2] if found else "", text)
        yield from (_Line(self._time, "", early) for early in timeless)

    def _texts(self) -> Iterator[str]:
        while data := os.read(self._fd, READ_BYTES):
            *whole, self._rest = (self._rest + data).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace")

    @property
    def is_gone(self) -> bool:
        """Whether nobody writes it any more."""
        return os.fstat(self._fd).st_nlink == 0

    def close(self) -> None:
        """Let it go."""
        os.close(self._fd)


def merged(
    config: Config, names: Collection[str] = (), *, level: str = "debug", last: int = 0, stop: StopSignal | None = None
) -> Iterator[str]:
    """The lines of these processes (none named: all) from a level on, by time; at first only the `last`, 0: all.

    It goes on as the logs grow until `stop`, and ends with them without one. Raises ConfigError.
    """
    chosen = _chosen(config, names)
    shown = {"", *LOG_LEVELS[LOG_LEVELS.index(level) :]}
    tails: dict[tuple[int, int], _Tail] = {}
    try:
        is_first = True
        while is_first or (stop is not None and not stop.is_set):
            for name in chosen or _written(config):
                _open(log_path(config.data_dir, name), tails)
            found = heapq.merge(*[tail.lines() for tail in tails.values()], key=lambda line: line.time)
            texts = (line.text for line in found if line.level in shown)
            yield from deque(texts, last) if is_first and last else texts
            _let_go(tails)
            is_first = False
            if stop is not None:
                select.select([stop.fd], [], [], LOOK_S)
    finally:
        for tail in tails.values():
            tail.close()


def _chosen(config: Config, names: Collection[str]) -> list[str]:
    known = sorted({*_written(config), NAME, *(name for name, _command in commands(config))})
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"there is no log of {', '.join(unknown)}: expected of {', '.join(known)}")
    return list(names)


def _written(config: Config) -> list[str]:
    """Whose logs are here."""
    return sorted(path.stem for path in log_path(config.data_dir, NAME).parent.glob("*.log"))


def _open(path: Path, tails: dict[tuple[int, int], _Tail]) -> None:
    for each in (older(path), path):
        try:
            fd = os.open(each, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        found = os.fstat(fd)
        key = (found.st_dev, found.st_ino)
        if key in tails:
            os.close(fd)
        else:
            tails[key] = _Tail(fd)


def _let_go(tails: dict[tuple[int, int], _Tail]) -> None:
    for key in [key for key, tail in tails.items() if tail.is_gone]:
        tails.pop(key).close()
