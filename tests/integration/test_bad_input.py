"""What strangers and broken senders say: rejected, told, and survived by every process."""

import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import zmq

from engines import messages as m
from sequencer.client import tune
from sequencer.envelope import encode_batch
from sequencer.protocol import ANSWERS, ENCODER, AskSnapshots, AskStatus, Fetch, Refused, Report
from tests.integration.conftest import Traded
from tests.models.running import Running, Stream

CANCELS = m.ENCODER.encode([m.CancelOrder(0, number, 1, "x") for number in (1, 2, 3)])
FALSE = {
    "a false count": (CANCELS, 2, m.Reason.FALSE_COUNT),
    "no msgpack": (b"\xc1\xff garbage", 3, m.Reason.UNDECODABLE),
    "an unknown type": (msgspec.msgpack.encode([[99, 1, 1, 1, "x"]]), 1, m.Reason.UNDECODABLE),
    "text that is not UTF-8": (b"\x91\x95\x03\x01\x01\x01\xa2\xff\xfe", 1, m.Reason.UNDECODABLE),
    "nothing": (b"", 7, m.Reason.UNDECODABLE),
}
NOT_OURS = {
    "random bytes": random.Random(2).randbytes(1000),
    "an empty frame": b"",
    "text that is not UTF-8": b"\x92\x01\xa2\xff\xfe",
    "a deep nest": b"\x93\x01\xa1x" + b"\x91" * 100_000 + b"\x00",
    "half a batch": encode_batch("gateway.x", m.COMMANDS, 1, b"x", count=1).data[:100],
    "an oversized frame": bytes(17 << 20),
}


@pytest.fixture
def venue(traded: Traded) -> Iterator[Running]:
    """The shared venue; it must have the same processes, live and agreed, after each test."""
    before = traded.venue.pids
    yield traded.venue
    traded.venue.await_well()
    assert set(traded.venue.agreement()) == {"matching.0", "credit.0"}
    assert traded.venue.pids == before


@pytest.mark.parametrize("case", FALSE)
def test_a_batch_that_cannot_be_read_is_void_as_a_whole(case: str, venue: Running):
    """It is in the log once; a BatchRejected with the reason tells everybody, and nothing else follows."""
    payload, count, reason = FALSE[case]
    with Stream(venue.config) as stream:
        stream.speak_as("gateway.x").submit(m.COMMANDS, payload, count)
        stream.settle()
        batch = next(b for b in reversed(stream.batches(m.COMMANDS)) if b.sender == "gateway.x")
        stream.follow(lambda: following(stream, batch.first_sequence), "something follows from the batch")
        told = following(stream, batch.first_sequence)

    assert told == [m.BatchRejected(batch.first_sequence, count, reason)]


def test_every_reader_agrees_on_what_can_be_read():
    """A payload is readable or not by itself: not by how deep the stack of its reader happens to be."""
    payloads = [b"\x91\x96\x03\x01\x01\x01\xa1x" + b"\x91" * depth + b"\x00" for depth in range(850, 1000)]

    assert [is_readable(payload) for payload in payloads] == [is_readable(payload, 100) for payload in payloads]


def is_readable(payload: bytes, stack: int = 0) -> bool:
    if stack:
        return is_readable(payload, stack - 1)
    try:
        m.decode(m.COMMANDS, payload)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def following(stream: Stream, cause: int) -> list[m.Message]:
    """All results that the batch at `cause` led to."""
    found = [batch for batch in stream.batches(m.RESULTS) if batch.cause == cause]
    return [message for batch in found for message in m.decode(m.RESULTS, batch.payload)]


def ask(venue: Running, endpoint: str, *frames: bytes, patience_ms: int = 2000) -> bytes | None:
    """Say frames on one connection; the first answer, None when there is none in time."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        asking = tune(context.socket(zmq.DEALER))
        asking.connect(endpoint)
        asking.send_multipart(frames)
        return asking.recv() if asking.poll(patience_ms) else None
    finally:
        context.destroy(linger=0)


REFUSED = {
    "another's channel": (encode_batch("gateway.x", m.DECISIONS, 1, b"\x90", count=1).data, "not-permitted"),
    "an unknown sender": (encode_batch("nobody", m.COMMANDS, 1, b"\x90", count=1).data, "not-permitted"),
    "a session that nobody opened": (
        encode_batch("gateway.y", m.COMMANDS, 1, b"\x90", count=1, incarnation=3).data,
        "gap",
    ),
    "a count of nothing": (encode_batch("gateway.y", m.COMMANDS, 1, b"", count=0).data, "invalid"),
    "a wrong digest": (encode_batch("gateway.y", m.COMMANDS, 1, b"\x90", count=1).data[:-1] + b"\x91", "invalid"),
    "bytes after the batch": (
        encode_batch("gateway.y", m.COMMANDS, 1, b"\x90", count=1).data + b"more",
        "invalid",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_node_refuses_what_breaks_the_chain_rule(case: str, venue: Running):
    """The answer says why, and the log does not get it."""
    frame, verdict = REFUSED[case]
    answer = ask(venue, venue.config.ingress[0], bytes(frame))

    assert isinstance(refused := ANSWERS.decode(answer), Refused)
    assert refused.verdict == verdict


REPORTS = {
    "no msgpack": b"\xc1garbage",
    "no map": msgspec.msgpack.encode([1, 2]),
    "nothing in it": msgspec.msgpack.encode({}),
    "wrong types": msgspec.msgpack.encode({"kind": "replica", "lag": "far", "state": 7}),
}


@pytest.mark.parametrize("case", REPORTS)
def test_a_report_that_is_none_says_nothing(case: str, venue: Running):
    """Anybody can report to a node; `status` and `sequencer up`, which read all reports, go on."""
    speak(venue.config.ingress[0], zmq.DEALER, ENCODER.encode(Report("stranger", REPORTS[case])))

    assert venue.row("node-1")["state"] == "live"


def test_a_report_under_an_endless_name_is_not_kept(venue: Running):
    """Nodes keep the last word of each name: what is no name costs them nothing."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        asking = tune(context.socket(zmq.DEALER))
        asking.connect(venue.config.ingress[0])
        for said in (Report("x" * (1 << 20), b"\x80"), Report("named", b"\x80"), AskStatus()):
            asking.send(ENCODER.encode(said))
        assert asking.poll(20_000)
        names = {name for name, _age_ms, _body in ANSWERS.decode(asking.recv()).reports}
    finally:
        context.destroy(linger=0)

    assert "named" in names
    assert max(map(len, names)) < 100


@pytest.mark.parametrize("door", ["ingress", "replayer", "peer", "order", "marketdata"])
def test_noise_ends_no_process(door: str, venue: Running):
    """Whatever bytes come, as one frame or as many, the process behind the door goes on."""
    for noise in NOT_OURS.values():
        for frames in ((noise,), (b"", noise, noise), (venue.config.cluster + noise,)):
            speak(endpoints(venue)[door], zmq.PUSH if door == "peer" else zmq.DEALER, *frames)


@pytest.mark.parametrize(("door", "process"), [("publisher", "node-1"), ("updates", "marketdata-1")])
def test_an_endless_subscription_is_not_kept(door: str, process: str, venue: Running):
    """Who subscribes to a topic of megabytes is hung up on; it does not cost the publisher its memory."""
    before = resident_kib(venue.pids[process])
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(endpoints(venue)[door].removeprefix("ipc://"))
        peer.sendall(ZMTP_GREETING)
        receive(peer, len(ZMTP_GREETING))
        peer.sendall(b"\x04" + bytes([len(ZMTP_READY)]) + ZMTP_READY)
        _flags, size = receive(peer, 2)
        receive(peer, size)
        topic = b"\x01" + bytes(8 << 20)
        with suppress(ConnectionError):
            peer.sendall(b"\x02" + len(topic).to_bytes(8, "big") + topic)
        with pytest.raises(ConnectionError):
            receive(peer, 1 << 20)

    assert resident_kib(venue.pids[process]) < before + (32 << 10)


def test_what_a_reader_does_not_take_is_not_kept(venue: Running):
    """Who asks again and again for megabytes and reads nothing costs the replayer no more than a few answers."""
    before, replayer = resident_kib(venue.pids["node-1-replayer"]), venue.config.nodes[0].replayer
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        greedy, modest = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
        greedy.setsockopt(zmq.RCVHWM, 1)
        for reader in (greedy, modest):
            reader.connect(replayer)
        for _ in range(GREEDY):
            greedy.send(ENCODER.encode(Fetch(1, 4 << 20)))
        for _ in range(GREEDY):  # they are heard in turns: behind this, all has been asked
            modest.send(ENCODER.encode(AskSnapshots("")))
            assert modest.poll(20_000)
            modest.recv()

        assert resident_kib(venue.pids["node-1-replayer"]) < before + (96 << 10)
    finally:
        context.destroy(linger=0)


GREEDY = 500
ZMTP_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
ZMTP_READY = b"\x05READY" + b"\x0bSocket-Type" + (3).to_bytes(4, "big") + b"SUB"


def receive(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        fresh = peer.recv(size - len(data))
        if not fresh:
            raise ConnectionError("hung up")
        data += fresh
    return data


def resident_kib(pid: int) -> int:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


def endpoints(venue: Running) -> dict[str, str]:
    node, doors = venue.config.nodes[0], venue.config.endpoints
    return {
        "ingress": node.ingress, "replayer": node.replayer, "peer": node.peer, "publisher": node.publisher,
        "order": doors["order"], "marketdata": doors["marketdata"], "updates": doors["marketdata_updates"],
    }  # fmt: skip


def speak(endpoint: str, kind: int, *frames: bytes) -> None:
    """Say frames, and go when the other side has them (or hung up)."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        speaking = context.socket(kind)
        speaking.setsockopt(zmq.LINGER, 500)
        speaking.connect(endpoint)
        speaking.poll(1000, zmq.POLLOUT)
        speaking.send_multipart(frames)
        speaking.close()
    finally:
        context.term()
