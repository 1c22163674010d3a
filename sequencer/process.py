"""One process of a venue on this host: its name is taken by a lock, the lock tells its pid, and a log its life.

DIR/run/NAME.lock   held while NAME runs; its text is the pid
DIR/logs/NAME.log   what a process started by `sequencer up` told and printed
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sequencer.config import Config
from sequencer.errors import ConfigError, IslandError, RunningError
from sequencer.logs import lifetime, open_log


def lock_path(data_dir: Path, name: str) -> Path:
    """Where the lock of a process is."""
    return data_dir / "run" / f"{name}.lock"


@contextmanager
def claim(data_dir: Path, name: str) -> Iterator[None]:
    """Hold the name of a process. Raises RunningError while another process holds it."""
    if not name or "/" in name:
        raise ConfigError(f"a process's name is a file name, without a /: got {name!r}")
    path = lock_path(data_dir, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; choose another --data directory") from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunningError(
                f"{name} of {data_dir} runs already (pid {_read_pid(path)}): "
                f"`sequencer down --data {data_dir}` stops it"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


@contextmanager
def process(config: Config, name: str, role: str) -> Iterator[None]:
    """Be the process of this name; its log tells of start and end. What it cannot go on from stands there as well.

    Raises RunningError while another process has the name.
    """
    with claim(config.data_dir, name):
        log = open_log(config, name)
        try:
            with lifetime(log, role):
                yield
        except IslandError as error:
            raise SystemExit(exit_code(error)) from error
        except Exception as error:
            raise SystemExit(1) from error


def exit_code(error: IslandError) -> int:
    """What a command exits with."""
    return 2 if isinstance(error, ConfigError) else 1


def holder(data_dir: Path, name: str) -> int:
    """The pid of the process that holds this name, 0 if there is none."""
    path = lock_path(data_dir, name)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_pid(path)
    finally:
        os.close(fd)
    return 0


def running(data_dir: Path) -> dict[str, int]:
    """All processes of the venue on this host: name to pid."""
    names = sorted(path.stem for path in (data_dir / "run").glob("*.lock"))
    return {name: pid for name in names if (pid := holder(data_dir, name))}


def _read_pid(path: Path) -> int:
    try:
        return int(path.read_text() or 0)
    except (OSError, ValueError):
        return 0
