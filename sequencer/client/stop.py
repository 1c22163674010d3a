"""Ctrl-C and SIGTERM as something that a poll loop can wait for."""

import os
import signal
from types import FrameType


class StopSignal:
    """Set once this process was asked to stop. Register `fd` with a poller to be woken."""

    def __init__(self) -> None:
        self.fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.is_set = False

    def set(self, _signum: int = 0, _frame: FrameType | None = None) -> None:
        """Ask the loop to end."""
        self.is_set = True
        os.write(self._write_fd, b"\0")


def stop_signal() -> StopSignal:
    """Catch SIGTERM and SIGINT from here on. Main thread only."""
    stop = StopSignal()
    signal.signal(signal.SIGTERM, stop.set)
    signal.signal(signal.SIGINT, stop.set)
    return stop
