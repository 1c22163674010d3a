"""One FIX 4.4 initiator session of the QuickFIX engine, made safe to start, break and end within a test.

Its data dictionary is written by dictionary.py. What QuickFIX leaves to its user, and how it is met here:

- References. The C++ initiator points to the application, the store factory and the log factory without holding them;
  in a cycle, or at interpreter exit, Python frees the four in any order. The engine holds all and destroys the
  initiator first, explicitly; an engine that nobody stopped is stopped by atexit, while threads can still run.
- Exceptions. One that escapes from a callback ends the process (Py_Exit). All are caught and put into `errors`.
- Threads. QuickFIX's `start()` leaves a thread that its `stop()` does not join, and `disconnect()` closes a socket that
  this thread is using. So a thread of this module calls `poll()`, and every call into QuickFIX is made under one lock.
  Callbacks run under it, and take only `changed`: whoever holds `changed` must not call the engine.
- Reconnection. After a logout, or a disconnection decided on this side, QuickFIX never connects again, and spends a
  sequence number on a Logon that it sends nowhere. So each time the initiator is made anew, on the same store. It also
  spends one on each connection that is refused: that number is given back.
- Sessions are global to the process: one engine at a time for a sender and target.
- Over TLS the initiator is of another class. It verifies the certificate's chain by the given file, and no host name.
- A message that fails the data dictionary is not delivered. The Reject that QuickFIX sends is put into `errors`.
"""

import atexit
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import quickfix

from tests.models.quickfix.dictionary import write

if threading.current_thread() is threading.main_thread():  # importing quickfix takes Ctrl-C away from Python
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))

POLL_S, RECONNECT_S = 0.001, 1.0
SETTINGS = """[DEFAULT]
ConnectionType=initiator
BeginString=FIX.4.4
SocketConnectHost=127.0.0.1
SocketNodelay=Y
ReconnectInterval=1
LogonTimeout=10
LogoutTimeout=2
NonStopSession=Y
StartTime=00:00:00
EndTime=00:00:00
TimestampPrecision=3
CheckLatency=Y
PersistMessages=Y
UseDataDictionary=Y
DataDictionary={dictionary}
FileStorePath={directory}
FileLogPath={directory}
[SESSION]
SenderCompID={sender}
TargetCompID={target}
SocketConnectPort={port}
HeartBtInt={heartbeat_s}
ResetOnLogon={reset}
"""
TLS_SETTINGS = """[DEFAULT]
CertificationAuthoritiesFile={authorities}
SSLProtocol=+TLSv1_2 +TLSv1_3
"""


def _callback(handle: Callable[..., None]) -> Callable[..., None]:
    """Keeps every exception of a callback from QuickFIX, and tells those who wait of the event."""

    def call(self: "Engine", *arguments: Any) -> None:
        try:
            handle(self, *arguments)
        except BaseException as error:  # noqa: BLE001
            self.errors.append(error)
        self.notify()

    return call


class Engine(quickfix.Application):
    """The session, its store and its log in `directory`; connects once started, and again after each disconnection."""

    def __init__(
        self,
        deliver: Callable[[str], None],
        sender: str,
        target: str,
        *,
        directory: Path,
        authorities: Path | None = None,
        **settings: object,
    ) -> None:
        super().__init__()
        self.errors: list[BaseException] = []
        self.changed = threading.Condition()
        self.idle = False  # whether the engine stays disconnected
        self.event_log = directory / f"FIX.4.4-{sender}-{target}.event.current.log"
        self._deliver = deliver
        self._session = quickfix.SessionID("FIX.4.4", sender, target)
        self._lock, self._halt = threading.RLock(), threading.Event()
        self._lost = self._sending = False
        self._logon = 0  # the number of the Logon sent within the present call of poll, if one was
        self._reconnect = True  # whether to connect again after the present connection
        self._thread = threading.Thread(target=self._run, name=f"fix-{sender}", daemon=True)
        directory.mkdir(parents=True, exist_ok=True)
        dictionary = directory / "FIX44.xml"
        write(dictionary)
        text = SETTINGS.format(dictionary=dictionary, directory=directory, sender=sender, target=target, **settings)
        if authorities is not None:
            text = text.replace("[DEFAULT]\n", TLS_SETTINGS.format(authorities=authorities))
        self._initiators = quickfix.SocketInitiator if authorities is None else quickfix.SSLSocketInitiator
        self._settings = quickfix.SessionSettings()
        self._settings.setFromString(text)
        self._store = quickfix.FileStoreFactory(self._settings)
        self._log = quickfix.FileLogFactory(self._settings)
        self._initiator: Any = None
        self._open()
        atexit.register(self.stop)

    def start(self) -> None:
        """Starts to connect."""
        self._thread.start()

    def stop(self) -> None:
        """Breaks the connection, without a logout, and ends the engine; may be called again."""
        atexit.unregister(self.stop)
        self._halt.set()
        if self._thread.is_alive():
            self._thread.join(10)
        with self._lock:
            self._close()

    def logout(self) -> None:
        """Starts to log out, where logged on; the engine then stays disconnected, and is `idle`."""
        with self._lock:
            if not self.is_logged_on():
                self.drop(reconnect=False)
                return
            self._reconnect = False
            self.call("logout")

    def drop(self, *, reconnect: bool) -> None:
        """Breaks the connection without a logout."""
        with self._lock:
            self._reconnect, self._lost = reconnect, True
            self.call("disconnect")

    def resume(self) -> None:
        """Connects again, after the engine stayed disconnected."""
        with self._lock:
            self._reconnect, self.idle = True, False

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the QuickFIX session."""
        with self._lock:
            if self._initiator is None:
                raise RuntimeError("the engine is stopped")
            return getattr(quickfix.Session.lookupSession(self._session), method)(*arguments)

    def send(self, message: Any) -> int:
        """Sends a message and returns its sequence number; while logged off, it is only stored, for a resend."""
        with self._lock:
            self._sending = True
            try:
                if not self.call("send", message):
                    raise RuntimeError(f"QuickFIX does not send {message}")
            finally:
                self._sending = False
        return int(message.getHeader().getField(34))

    def is_logged_on(self) -> bool:
        """Whether both sides have sent a Logon on the present connection."""
        with self._lock:
            return self._initiator is not None and bool(self.call("isLoggedOn"))

    def notify(self) -> None:
        """Wakes those who wait on `changed`."""
        with self.changed:
            self.changed.notify_all()

    def _open(self) -> None:
        if quickfix.Session.doesSessionExist(self._session):
            raise RuntimeError(f"this process has an engine for {self._session} already")
        self._initiator = self._initiators(self, self._store, self._settings, self._log)
        self._lost = False

    def _close(self) -> None:
        if self._initiator is not None:
            self.call("disconnect")
            self._initiator.__swig_destroy__(self._initiator)  # now: a traceback in `errors` may hold a reference to it
            self._initiator = None

    def _run(self) -> None:
        pause = POLL_S
        while not self._halt.wait(pause):
            try:
                with self._lock:
                    pause = self._step()
            except BaseException as error:  # noqa: BLE001
                self.errors.append(error)
                return

    def _step(self) -> float:
        if not (self.idle or self._lost):
            self._logon = 0
            self._initiator.poll()
            if self._lost and self._logon:  # the connection was refused
                self.call("setNextSenderMsgSeqNum", self._logon)
        if not self._lost:
            return POLL_S
        self._close()
        self._open()
        self.idle = not self._reconnect
        self.notify()
        return POLL_S if self.idle else RECONNECT_S

    # QuickFIX's callbacks, by its names.

    onCreate = onLogon = _callback(lambda self, session: None)  # noqa: N815

    @_callback
    def onLogout(self, session: Any) -> None:  # noqa: N802
        self._lost = True

    @_callback
    def toAdmin(self, message: Any, session: Any) -> None:  # noqa: N802
        kind = message.getHeader().getField(35)
        if kind == "A":
            self._logon = int(message.getHeader().getField(34))
        elif kind in ("3", "j") and not self._sending:
            self.errors.append(RuntimeError("QuickFIX refused a message: " + message.toString().replace("\x01", "|")))

    @_callback
    def fromAdmin(self, message: Any, session: Any) -> None:  # noqa: N802
        self._deliver(message.toString())  # a copy: the message is valid only within this call

    toApp, fromApp = toAdmin, fromAdmin  # noqa: N815
