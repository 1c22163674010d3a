"""What a watcher makes of what Linux tells of a process."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from engines.watcher import Process, process_of
from tests.models.running import until

LOOP = "while True:\n pass"
WAIT = "import signal; signal.pause()"
CROWD = 12
PASSED_MS = 1500


@contextmanager
def running(code: str) -> Iterator[int]:
    """A Python process that does this, on one processor."""
    cpu = min(os.sched_getaffinity(0))
    pin = f"import os; os.sched_setaffinity(0, {{{cpu}}})\n"
    with subprocess.Popen([sys.executable, "-S", "-c", pin + code]) as process:
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize(("code", "activity"), [(LOOP, "computing"), (WAIT, "waiting")], ids=["loop", "waits"])
def test_on_a_crowded_host_a_loop_is_told_from_who_waits(code: str, activity: str):
    """A dozen others want the same processor: the loop gets a small part of it, and the evidence says that."""
    with ExitStack() as crowd:
        for _ in range(CROWD):
            crowd.enter_context(running(LOOP))
        pid = crowd.enter_context(running(code))
        until(lambda: os.sched_getaffinity(pid) != os.sched_getaffinity(0) or os.cpu_count() == 1, "it is pinned")
        before, began_s = process_of(pid), time.monotonic()
        until(lambda: time.monotonic() - began_s > PASSED_MS / 1000, "a while")
        found = process_of(pid).since(before)
        passed_ms = int((time.monotonic() - began_s) * 1000)

    assert found.activity(passed_ms) == activity
    assert found.cpu_ms < passed_ms / 2


def test_who_is_gone_is_told():
    """It has a state of its own, and no times."""
    with running(WAIT) as pid:
        pass

    assert process_of(pid) == Process("X")
