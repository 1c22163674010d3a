"""A forked process that works beside its parent, and what it leaves alone: all that it shares, but two pipes."""

import contextlib
import gc
import os
import signal
from collections.abc import Callable
from typing import Final

import msgspec

FAILED: Final = b"-"
ERROR_BYTES_MAX: Final = 2000
_STANDARD: Final = 3


class Child(msgspec.Struct, frozen=True):
    """A forked process: what it writes is read from `read_fd`, what is written to `write_fd` it reads."""

    pid: int
    read_fd: int
    write_fd: int

    def kill(self) -> None:
        """End it now."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def bury(self) -> None:
        """Let it go; it has ended, or is going to."""
        os.close(self.read_fd)
        os.close(self.write_fd)
        os.waitpid(self.pid, 0)


def fork(work: Callable[[int, int], None], *, keeps_files: bool = False, is_idle: bool = False) -> Child:
    """Have `work(read_fd, write_fd)` done in a process of its own.

    Idle, it takes of the processor what nobody else wants.
    What it raises is written as FAILED and a text. It ends with `work`, and should when `read_fd` ends: its parent has.
    """
    read_fd, child_write_fd = os.pipe()
    child_read_fd, write_fd = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read_fd)
        os.close(write_fd)
        _be_child(work, child_read_fd, child_write_fd, keeps_files, is_idle)
    os.close(child_read_fd)
    os.close(child_write_fd)
    return Child(pid, read_fd, write_fd)


def close_others(*kept: int) -> None:
    """Close every file but these and the standard ones: sockets and locks are the parent's."""
    low = _STANDARD
    for fd in sorted(kept):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


def _be_child(work: Callable[[int, int], None], read_fd: int, write_fd: int, keeps_files: bool, is_idle: bool) -> None:
    code = 1
    try:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_DFL)
        if not keeps_files:
            gc.disable()
            close_others(read_fd, write_fd)
        if is_idle:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        work(read_fd, write_fd)
        code = 0
    except BaseException as error:  # noqa: BLE001 - whatever goes wrong is told to the parent
        text = f"{type(error).__name__}: {error}".encode()[:ERROR_BYTES_MAX]
        with contextlib.suppress(OSError):
            os.write(write_fd, FAILED + text)
    finally:
        os._exit(code)
