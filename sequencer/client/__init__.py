"""The only door to the stream for other packages.

Submitter --batches--> node            Subscriber <--entries-- publisher
                                           |  ^
Reporter --reports--> nodes                +--+ gaps from a replayer

Replay reads history; SnapshotClient brings and fetches what replicas begin with; Voice says one thing; positions_of
asks how far senders are; stop_signal, open_log, tune and hold_memory help to write a process's loop.
"""

from sequencer.client.position import positions_of
from sequencer.client.replay import Replay
from sequencer.client.reporter import GOODBYE_MS, Reporter
from sequencer.client.saying import Voice
from sequencer.client.snapshots import SnapshotClient, kept_by_node
from sequencer.client.stop import StopSignal, stop_signal
from sequencer.client.submitter import Submitter
from sequencer.client.subscriber import Subscriber
from sequencer.config import Source
from sequencer.gate import Gate
from sequencer.key_watch import KeyWatch
from sequencer.keys import LOCAL, Door, Key, key_of_operator
from sequencer.logs import Level, Log, NoLog, open_log
from sequencer.memory import bound_memory, hold_memory, host_mib
from sequencer.protocol import SnapshotsAre, StoredSnapshot
from sequencer.sockets import Context, bind, connect, needs_keys, not_let_in, readable, refusals_of, tune

__all__ = [
    "GOODBYE_MS",
    "LOCAL",
    "Context",
    "Door",
    "Gate",
    "Key",
    "KeyWatch",
    "Level",
    "Log",
    "NoLog",
    "Replay",
    "Reporter",
    "SnapshotClient",
    "SnapshotsAre",
    "Source",
    "StopSignal",
    "StoredSnapshot",
    "Submitter",
    "Subscriber",
    "Voice",
    "bind",
    "bound_memory",
    "connect",
    "hold_memory",
    "host_mib",
    "kept_by_node",
    "key_of_operator",
    "needs_keys",
    "not_let_in",
    "open_log",
    "positions_of",
    "readable",
    "refusals_of",
    "stop_signal",
    "tune",
]
