"""What clients do to a group, and see of it: senders and observers in threads of their own, histories on disk.

    senders --batches--> group --stream--> observers --> histories --checker--> verdict

One observer follows each node alone, so that its history is what that node says; one more, which roams, goes
wherever the stream is good. It is the same Submitter and Subscriber that every process uses.
"""

import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from sequencer.client import Context, Source, Submitter, Subscriber
from sequencer.config import NodeConfig
from tests.faults.checker import check
from tests.faults.nodes import Nodes
from tests.models.running import until

COMMANDS = 1
PACE_S = 0.004
IN_FLIGHT_MAX = 50
PROGRESS_S = 30.0
LIGHT_BYTES, HEAVY_BYTES = 40, 16 << 10
PAUSE_S = 0.05
"""Longer ones between two acknowledgements of all senders together are noted."""
ROAMING = "roaming"


class Load:
    """From enter to exit. Whatever a thread raises is in `errors`, and raised by who waits for progress."""

    def __init__(self, group: Nodes, senders: int = 2) -> None:
        self.acknowledged = 0
        self.last_seen_s = time.monotonic()
        self.last_seen_index = 0
        self.pauses: list[tuple[float, float]] = []
        """When each pause ended, and how long it was, in s."""
        self.payload_bytes = LIGHT_BYTES
        """How large the payloads of the batches are from now on."""
        self.reached: dict[str, int] = {}
        """The last index that each observer has."""
        self.followed = group.names[0]
        """The node that the roaming observer listens to."""
        self.errors: list[BaseException] = []
        self._group = group
        self._fresh, self._fresh_from_ns = 0, 0
        self.fresh_ns = 0
        """When the first batch was seen that was submitted after the latest wait for progress began."""
        self._stop, self._rests = threading.Event(), threading.Event()
        self._quiet: dict[str, bool] = {}
        self._rows: list[dict[str, Any]] = []
        self._threads = [threading.Thread(target=self._run, args=(self._speak, place)) for place in range(senders)]
        self._threads += [
            threading.Thread(target=self._run, args=(self._observe, name)) for name in (*group.names, ROAMING)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        try:
            self.await_progress(10)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def judge(self) -> list[str]:
        """Let everything that was submitted be seen by all, and ask the checker; then the load goes on."""
        self._rests.set()
        self.until(lambda: all(self._quiet.values()), "all that was submitted is seen")
        self.await_observers()
        with (self._group.histories / "submitted.jsonl").open("w") as out:
            out.writelines(f"{json.dumps(row)}\n" for row in self._rows)
        self._group.note_leaders()
        broken = check(self._group.histories)
        self.last_seen_s = time.monotonic()
        self._rests.clear()
        return broken

    def await_progress(self, batches: int = 20) -> None:
        """Wait until so many batches were acknowledged that were submitted later than now."""
        self._fresh, self.fresh_ns, self._fresh_from_ns = 0, 0, time.monotonic_ns()
        self.until(lambda: self._fresh >= batches, f"{batches} fresh acknowledgements")

    def await_observers(self) -> None:
        """Wait until every observer has what any sender has seen so far."""
        goal = self.last_seen_index
        self.until(lambda: all(at >= goal for at in self.reached.values()), f"all observers reach {goal}")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition. Raises TimeoutError, which says who is where, or what a thread raised."""
        try:
            until(lambda: self.errors or condition(), what, PROGRESS_S)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; observers: {self.reached}, nodes: {self._group.told}") from None
        if self.errors:
            raise self.errors[0]

    def longest_pause_s(self, since_s: float) -> float:
        """The longest pause that ended later than that; what is no pause is at most PAUSE_S."""
        return max((length for ended_s, length in self.pauses if ended_s > since_s), default=PAUSE_S)

    def _run(self, work: Callable[[Any, Context], None], argument: object) -> None:
        context = Context.of(self._group.outside)
        try:
            work(argument, context)
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self.errors.append(error)
        finally:
            context.destroy(linger=0)

    # --- senders ------------------------------------------------------------------------------

    def _speak(self, place: int, context: Context) -> None:
        config, name = self._group.outside, f"gateway.load-{place}"
        subscriber = Subscriber(config.sources, context=context, follow_leader=bool(place % 2))
        submitter = Submitter(config.ingress, name, context=context, leader=lambda: subscriber.leader_ingress)
        submitter.open()
        open_rows: dict[int, dict[str, Any]] = {}
        due_s = time.monotonic()
        while not self._stop.is_set():
            for entry in subscriber.wait(2):
                for batch in entry.batches():
                    if submitter.observe(batch):
                        self._saw(open_rows.pop(batch.number), entry.index)
            submitter.receive()
            self._quiet[name] = self._rests.is_set() and not submitter.in_flight
            is_due = submitter.is_open and time.monotonic() >= due_s and submitter.in_flight < IN_FLIGHT_MAX
            if is_due and not self._rests.is_set():
                due_s = time.monotonic() + PACE_S
                row = self._submit(submitter)
                open_rows[row["number"]] = row
                self._rows.append(row)
                submitter.flush()

    def _submit(self, submitter: Submitter) -> dict[str, Any]:
        began_ns = time.monotonic_ns()
        number = submitter.submit(COMMANDS, os.urandom(self.payload_bytes), count=2)
        return {
            "sender": submitter.sender, "number": number, "digest": submitter.digest.hex(), "began_ns": began_ns,
            "seen_ns": 0, "seen_index": 0,
        }  # fmt: skip

    def _saw(self, row: dict[str, Any], index: int) -> None:
        now_s = time.monotonic()
        row["seen_ns"], row["seen_index"] = time.monotonic_ns(), index
        if now_s - self.last_seen_s > PAUSE_S:
            self.pauses.append((now_s, now_s - self.last_seen_s))
        if row["began_ns"] > self._fresh_from_ns:
            self._fresh += 1
            self.fresh_ns = self.fresh_ns or row["seen_ns"]
        self.last_seen_s = now_s
        self.last_seen_index = max(self.last_seen_index, index)
        self.acknowledged += 1

    # --- observers ----------------------------------------------------------------------------

    def _observe(self, name: str, context: Context) -> None:
        """Follow one node alone, or, roaming, whichever is good."""
        config = self._group.outside
        sources = config.sources if name == ROAMING else [_source(config.node(name))]
        subscriber = Subscriber(sources, context=context)
        self.reached[name] = 0
        with (self._group.histories / f"{name}.log").open("wb", buffering=0) as out:
            while not self._stop.is_set():
                out.write(b"".join(entry.data for entry in subscriber.wait(20)))
                self.reached[name] = subscriber.next_index - 1
                if name == ROAMING:
                    self.followed = subscriber.source


def _source(node: NodeConfig) -> Source:
    return Source(node.name, node.publisher, node.replayer, node.ingress)
