"""A process beside a replica that says what it is doing when the replica itself cannot: stuck, and how, or dead.

    replica's loop --Hand--> page <--+
    /proc/PID: CPU, state      <-----+-- watcher --Report--> nodes
    SIGUSR1 --> faulthandler --stack-+

Rules:
- It is silent as long as the loop turns: a replica reports for itself.
- The same entry in hand for STUCK_MS makes a replica stuck. How is told by evidence: it uses the processor, or would if
  it had one (computing), does not ask for one (waiting), or is stopped by a signal; with the stack of the code that it
  is in, taken from outside, also when that is C. In how many places it was found, of how many looks, helps to tell a
  loop from a long computation.
- A replica that is stuck while an incarnation of its machine's shards was opened that it does not know of is in a
  message that may have been skipped, and cannot hear of that: it is killed, to begin again.
- When the replica is gone without having said so, it is told as dead at once, and the watcher ends.
- The replica's log tells when it begins to be stuck, and when that is over.
"""

import faulthandler
import os
import re
import select
import signal
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from engines.forking import close_others
from engines.hand import Hand, InHand
from engines.seeding import openings_of
from sequencer.client import GOODBYE_MS, Context, Log, Reporter, Source
from sequencer.config import Config
from sequencer.errors import UnreachableError

LOOK_MS: Final = 250
STUCK_MS: Final = 1000
STACK_FRAMES_MAX: Final = 12
STACK_BYTES_MAX: Final = 64 << 10
STACK_MS: Final = 500
"""How long a replica may take to write its stack: on a crowded host it has to wait for a processor first."""
STACK_LOOK_MS: Final = 10
SKIP_LOOKS: Final = 4
"""While it is stuck: after so many looks the nodes are asked whether its shard has gone on without it."""
BUSY_SHARE: Final = 0.5
"""Of the time: who neither has a processor for so much of it, nor is ready for one, is waiting. That others crowd the
host does not matter."""

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_FRAME: Final = re.compile(r'File "(.*)", line (\d+) in (.*)')


class Evidence(msgspec.Struct, frozen=True):
    """How a stuck replica was found. Times since it took what is in hand; `stack` begins with the innermost frame."""

    activity: str
    in_hand_ms: int
    cpu_ms: int
    ready_ms: int
    """How long it could have run, and had no processor."""
    looks: int
    places: int
    stack: list[str]


class Process(msgspec.Struct, frozen=True):
    """What Linux tells of a process; times since it began."""

    state: str
    """One letter; see proc(5). X where it is gone."""
    cpu_ms: int = 0
    """Of all threads."""
    ready_ms: int = 0
    """How long the main thread waited for a processor; 0 where the kernel does not tell."""

    def since(self, before: "Process") -> "Process":
        """The same, with times since another look."""
        return Process(self.state, self.cpu_ms - before.cpu_ms, self.ready_ms - before.ready_ms)

    def activity(self, passed_ms: int) -> str:
        """What it did in the `passed_ms` that its times are of."""
        if self.state == "T":
            return "stopped"
        return "computing" if self.cpu_ms + self.ready_ms > passed_ms * BUSY_SHARE else "waiting"


class Watcher:
    """The replica's side: the page, and the process that reads it."""

    def __init__(self, config: Config, name: str, role: str, shard: str, machine: str, log: Log) -> None:
        """Fork the watcher. Call it before any socket or thread is made, in the main thread."""
        self.hand = Hand()
        stack_fd = os.memfd_create("stack", os.MFD_CLOEXEC)
        faulthandler.register(signal.SIGUSR1, file=stack_fd, all_threads=False)
        read_fd, self._write_fd = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.close(self._write_fd)
            _be_watcher(read_fd, stack_fd, self.hand, config, name, role, shard, machine, log)
        os.close(read_fd)

    def close(self) -> None:
        """The replica ends on purpose."""
        self.hand.close()
        os.close(self._write_fd)
        os.waitpid(self._pid, 0)


def _be_watcher(
    read_fd: int,
    stack_fd: int,
    hand: Hand,
    config: Config,
    name: str,
    role: str,
    shard: str,
    machine: str,
    log: Log,
) -> None:
    try:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_IGN)  # it ends with the replica, and not before
        close_others(read_fd, stack_fd)
        context = Context.of(config)
        reporter = Reporter(config.ingress, name, role, kind="replica", context=context, pid=os.getppid())
        fixed = {"sender": shard, "machine": machine}
        _Watch(os.getppid(), stack_fd, hand, reporter, config.sources, context, fixed, log).run(read_fd)
        context.destroy(linger=GOODBYE_MS)
    finally:
        os._exit(0)


class _Watch:
    """The watcher's side."""

    def __init__(
        self,
        pid: int,
        stack_fd: int,
        hand: Hand,
        reporter: Reporter,
        sources: Sequence[Source],
        context: Context,
        fixed: dict[str, str],
        log: Log,
    ) -> None:
        self._pid = pid
        self._stack_fd = stack_fd
        self._hand = hand
        self._reporter = reporter
        self._sources = sources
        self._context = context
        self._fixed = fixed
        self._log = log
        self._taken = -1
        self._before = Process("")
        self._looks = 0
        self._places: set[str] = set()

    def run(self, read_fd: int) -> None:
        """Look until the replica is gone."""
        while not select.select([read_fd], [], [], LOOK_MS / 1000)[0]:
            self._look(self._hand.read())
        last = self._hand.read()
        if not last.closed:
            why = f"its process ended; {_in_hand(last) or 'nothing was in hand'}"
            self._log.error("dead", why=why)
            self._tell("dead", last, {"why": why})

    def _look(self, seen: InHand) -> None:
        process = process_of(self._pid)
        if not seen.first or seen.taken != self._taken:
            self._taken, self._looks, self._places = seen.taken, 0, set()
            self._before = process
            is_stopped = process.state == "T"
            if is_stopped:
                self._tell("stuck", seen, {"activity": "stopped", "why": "stopped by a signal, with nothing in hand"})
            self._note(is_stuck=is_stopped, why="stopped by a signal, with nothing in hand")
            return
        held_ms = (time.monotonic_ns() - seen.since_ns) // 1_000_000
        if held_ms < STUCK_MS:
            return
        self._looks += 1
        found = self._evidence(process.since(self._before), held_ms)
        self._tell("stuck", seen, {**msgspec.structs.asdict(found), "why": _why(seen, found)})
        self._note(is_stuck=True, why=_why(seen, found))
        if self._looks % SKIP_LOOKS == 0 and self._is_overruled(seen):
            self._log.warning("killed, to begin again", why="an incarnation was opened that it does not know of")
            os.kill(self._pid, signal.SIGKILL)

    def _note(self, *, is_stuck: bool, why: str) -> None:
        if self._log.is_news("stuck", is_stuck, known=False):
            if is_stuck:
                self._log.warning("stuck", why=why)
            else:
                self._log.info("no longer stuck")

    def _is_overruled(self, seen: InHand) -> bool:
        try:
            return openings_of(self._sources, self._fixed["sender"], context=self._context) > seen.openings
        except UnreachableError:
            return False

    def _evidence(self, used: Process, held_ms: int) -> Evidence:
        activity = used.activity(held_ms)
        stack = [] if activity == "stopped" else self._stack()
        if stack:
            self._places.add("|".join(stack))
        return Evidence(activity, held_ms, used.cpu_ms, used.ready_ms, self._looks, len(self._places), stack)

    def _stack(self) -> list[str]:
        """Where the replica is: it writes that itself, at the C level, when it gets the signal."""
        os.ftruncate(self._stack_fd, 0)
        os.lseek(self._stack_fd, 0, os.SEEK_SET)  # the replica writes through the same open file
        try:
            os.kill(self._pid, signal.SIGUSR1)
        except ProcessLookupError:
            return []
        self._await_stack()
        text = os.pread(self._stack_fd, STACK_BYTES_MAX, 0).decode(errors="replace")
        frames = [f"{name} ({path}:{line})" for path, line, name in _FRAME.findall(text)]
        return frames[:STACK_FRAMES_MAX]

    def _await_stack(self) -> None:
        """Until something was written, and no more comes."""
        size, deadline_s = 0, time.monotonic() + STACK_MS / 1000
        while time.monotonic() < deadline_s:
            time.sleep(STACK_LOOK_MS / 1000)
            before, size = size, os.fstat(self._stack_fd).st_size
            if size and size == before:
                return

    def _tell(self, state: str, seen: InHand, told: dict[str, object]) -> None:
        self._reporter.say(
            state,
            {
                **self._fixed,
                "position": seen.position,
                "lag": seen.lag,
                "in_hand": [seen.first, seen.last] if seen.first else [],
                **told,
            },
        )


def process_of(pid: int) -> Process:
    """What Linux tells of it now."""
    try:
        fields = _told(pid, "stat").rpartition(")")[2].split()
    except OSError:
        return Process("X")
    try:
        ready_ns = int(_told(pid, "schedstat").split()[1])
    except (OSError, IndexError):
        ready_ns = 0
    return Process(fields[0], (int(fields[11]) + int(fields[12])) * 1000 // _TICKS_PER_S, ready_ns // 1_000_000)


def _told(pid: int, name: str) -> str:
    with open(f"/proc/{pid}/{name}", encoding="ascii", errors="replace") as file:
        return file.read()


def _in_hand(seen: InHand) -> str:
    if not seen.first:
        return ""
    which = f"sequence {seen.first:,}" if seen.first == seen.last else f"sequences {seen.first:,} to {seen.last:,}"
    return f"{which} in hand"


def _why(seen: InHand, found: Evidence) -> str:
    how = "stopped by a signal"
    if found.activity != "stopped":
        crowded = f", ready for more for {found.ready_ms / 1000:.1f} s" if found.ready_ms > found.cpu_ms else ""
        how = f"{found.activity} ({found.cpu_ms / 1000:.1f} s of CPU{crowded})"
    where = f", in {found.stack[0]}" if found.stack else ""
    return f"{_in_hand(seen)} for {found.in_hand_ms / 1000:.1f} s, {how}{where}"
