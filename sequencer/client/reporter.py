"""Tells every node how this process is, so that any node can tell an operator."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import zmq

from sequencer.monitor import open_monitor
from sequencer.protocol import ENCODER, Report
from sequencer.sockets import connect, tune

INTERVAL_MS = 500
GOODBYE_MS = 100


class Reporter:
    """Sends this process's state every INTERVAL_MS, and at once when it changes: call `tend` in each turn.

    `kind` says in which list of `sequencer status` the process stands: a replica, a gateway or a client. `pid` is the
    process's own, unless it reports for another. `monitor` is where it tells the same over HTTP: HOST:PORT, or nowhere.
    """

    def __init__(
        self,
        ingress: Sequence[str],
        name: str,
        role: str,
        *,
        kind: str = "gateway",
        context: "zmq.Context[zmq.Socket[bytes]]",
        pid: int = 0,
        monitor: str = "",
    ) -> None:
        self._name = name
        self._fixed = {"kind": kind, "role": role, "pid": pid or os.getpid(), "started_ns": time.time_ns()}
        self._sockets = [self._connect(context, endpoint) for endpoint in ingress]
        self._monitor = open_monitor(monitor, name, role)
        self._sent_ms = -INTERVAL_MS
        self._state = ""

    def tend(self, state: str, report: Callable[[], Mapping[str, Any]]) -> None:
        """Report when it is time. `report` gives msgpack values, `position` and `lag` among them."""
        now_ms = time.monotonic_ns() // 1_000_000
        if now_ms - self._sent_ms < INTERVAL_MS and state == self._state:
            return
        self._sent_ms, self._state = now_ms, state
        self.say(state, report())

    def say(self, state: str, report: Mapping[str, Any]) -> None:
        """Report now."""
        if self._monitor is not None:
            self._monitor.tell(state, report)
        body = msgspec.msgpack.encode({**self._fixed, "state": state, **report})
        self._send(ENCODER.encode(Report(self._name, body)))

    def _send(self, frame: bytes) -> None:
        for socket in self._sockets:
            try:
                socket.send(frame, zmq.NOBLOCK)
            except zmq.Again:
                continue  # that node is away; it hears of us when it is back

    def close(self) -> None:
        """Say goodbye, so that nobody looks for this process, and close the sockets."""
        self._send(ENCODER.encode(Report(self._name, b"")))
        for socket in self._sockets:
            socket.close(linger=GOODBYE_MS)
        if self._monitor is not None:
            self._monitor.close()

    @staticmethod
    def _connect(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> "zmq.Socket[bytes]":
        socket = tune(context.socket(zmq.DEALER), hwm=8)
        socket.setsockopt(zmq.IMMEDIATE, 1)
        connect(socket, endpoint)
        return socket
