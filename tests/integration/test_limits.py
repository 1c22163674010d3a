"""Bounds of keys in a real venue on tcp: who floods is held back and told, and others do not miss an answer."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import pytest
import zmq
from msgspec.structs import replace

from engines import messages as m
from gateways.order.client import OrderClient, OrderConnection
from gateways.order.protocol import ENCODER, FROM_GATEWAY, Busy, LoggedOn, Logon, Reject
from sequencer.client import Context
from sequencer.keyring import KEY_VARIABLE, read_keys, secret_path, write_keys
from sequencer.keys import Door, Keys
from sequencer.limits import Limits
from sequencer.protocol import ANSWERS, AskStatus, NodeStatus, Outcome
from sequencer.protocol import ENCODER as TO_NODES
from sequencer.sockets import tune
from tests.integration.test_keys import told
from tests.models.knocking import Caller, dress, make_open
from tests.models.running import Running, complaint, until

ORDERS: Final = 150
FRAMES_EACH: Final = 20
"""Of the flooder, for each order of the honest client."""


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One node with its replayer, replicas and gateways; every door is on tcp."""
    with Running(make_open(tmp_path_factory.mktemp("limits") / "v")).start() as started:
        for words in (("honest",), ("flood", "--requests", "200"), ("slow", "--requests", "100", "--connections", "2")):
            assert started.run("keys", "issue", *words, "--role", "client").returncode == 0
        with context(started, "kim") as made, OrderClient(door(started), "operator", context=made) as operator:
            operator.set_instrument(symbol="A-B", currency="EUR", tick="1", lot="1")
            for client in ("honest", "flood", "slow"):
                operator.set_credit(client, "EUR", "1000000")
        yield started


def door(venue: Running) -> str:
    return venue.config.endpoint("order")


@contextmanager
def context(venue: Running, name: str) -> Iterator[Context]:
    """Sockets with somebody's key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_VARIABLE, str(secret_path(venue.config.secrets_directory, name)))
        made = Context.of(venue.config)
        assert made.keyring.path.stem == name
    try:
        yield made
    finally:
        made.destroy(linger=0)


def limit(venue: Running, name: str, limits: Limits) -> None:
    path = venue.config.keys_path
    listed = read_keys(path).listed
    write_keys(path, Keys(replace(key, limits=limits) if key.name == name else key for key in listed))


def order(number: int, client_id: int = 0) -> m.NewOrder:
    return m.NewOrder(client_id, number, 1, f"o{number}", m.Side.BUY, 100, 1, time_in_force=m.TimeInForce.IOC)


class Flooder:
    """Logs on as itself, and sends orders whatever it is told."""

    def __init__(self, venue: Running) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = tune(self._context.socket(zmq.DEALER))
        dress(self._socket, venue.config, "flood", door(venue))
        self._socket.connect(door(venue))
        self._socket.send(ENCODER.encode([Logon("flood")]))
        self.heard: list[Any] = []
        until(lambda: (self.listen(), self.heard)[1], "it is logged on")
        self._client_id = next(one.client_id for one in self.heard if isinstance(one, LoggedOn))

    def flood(self, number: int) -> None:
        with suppress(zmq.Again):
            for one in range(number, number + FRAMES_EACH):
                self._socket.send(ENCODER.encode([order(one, self._client_id)]), zmq.NOBLOCK)
        self.listen()

    def listen(self) -> None:
        with suppress(zmq.Again):
            while True:
                self.heard += FROM_GATEWAY.decode(self._socket.recv(zmq.NOBLOCK))

    def close(self) -> None:
        self._context.destroy(linger=0)


def test_a_flood_is_held_back_and_told_and_each_honest_order_is_answered_once(venue: Running):
    """The flooder learns that it is over its rate, the log too; the honest client gets what it would have got."""
    answers: Counter[int] = Counter()
    with context(venue, "honest") as made, OrderConnection(door(venue), context=made) as honest:
        honest.log_on(["honest"])
        flooder = Flooder(venue)
        sent = []
        for turn in range(ORDERS):
            flooder.flood(1 + turn * FRAMES_EACH)
            sent.append(honest.send("honest", order(0)))
            answers.update(report.number for report in honest.receive() if report.number)
        while honest.session.unanswered:
            answers.update(report.number for report in honest.receive(1.0) if report.number)
        until(lambda: (flooder.listen(), [one for one in flooder.heard if isinstance(one, Busy)])[1], "it is told")
        flooder.close()

    assert answers == Counter(sent)
    assert {one.text for one in flooder.heard if isinstance(one, Busy)} == {"over its rate: 200 requests/s"}
    until(
        lambda: [one for one in told(venue, "order-1", "refused") if one.get("key") == "flood"], "the log tells of it"
    )


def test_a_client_that_is_faster_than_its_key_may_be_gets_every_answer(venue: Running):
    """It is held back by its own end, and by the gateway; no order is lost, and none is taken twice."""
    answers: Counter[int] = Counter()
    with context(venue, "slow") as made, OrderConnection(door(venue), context=made) as slow:
        slow.log_on(["slow"])
        sent = [slow.send("slow", order(0)) for _ in range(300)]
        while slow.session.unanswered:
            answers.update(report.number for report in slow.receive(1.0) if report.number)

    assert answers == Counter(sent)


def test_limits_that_are_changed_count_while_all_runs(venue: Running):
    """Narrowed, so that a logon is too long for it; then as usual again."""
    frame = ENCODER.encode([Logon("ann")])
    limit(venue, "ann", Limits(message_bytes=3))
    ann = Caller(venue.config, "ann")

    def answers() -> list[Any]:
        ann.say(Door.ACCESS, frame)
        return [one for come in ann.come(Door.ACCESS) for one in FROM_GATEWAY.decode(come[-1])]

    refused = until(lambda: [one for one in answers() if isinstance(one, Reject)], "it is refused")
    assert "bytes is over its 3" in refused[0].text
    limit(venue, "ann", Limits())
    until(lambda: [one for one in answers() if isinstance(one, LoggedOn)], "it is logged on")
    ann.close()


def test_limits_that_are_wrong_are_told_and_the_list_before_stays(venue: Running):
    """By each process that reads the file, and by commands."""
    path, ann = venue.config.keys_path, Caller(venue.config, "ann")
    assert ann.enters(Door.ACCESS)
    right = path.read_text()
    path.write_text(right.replace("requests_per_s = 200", "requests_per_s = -200"))
    why = "flood.limits.requests_per_s: expected 1 to "
    try:
        for process in ("node-1", "order-1"):
            until(
                lambda process=process: [
                    one for one in told(venue, process, "list of keys not taken") if why in one["why"]
                ],
                f"{process} tells of it",
            )
        assert why in complaint(venue.run("keys", "list"), 2)
        assert LoggedOn in {
            type(one) for one in FROM_GATEWAY.decode(ann.ask(Door.ACCESS, ENCODER.encode([Logon("ann")]))[-1])
        }
    finally:
        path.write_text(right)
        ann.close()


def test_who_asks_a_node_without_end_is_answered_why(venue: Running):
    """Some of it with its status; the rest with the reason."""
    limit(venue, "audit", Limits(requests_per_s=1))
    audit = Caller(venue.config, "audit")

    def answers(kind: type) -> list[Any]:
        audit.say(Door.INGRESS, TO_NODES.encode(AskStatus()))
        said = [ANSWERS.decode(come[-1]) for come in audit.come(Door.INGRESS)]
        return [one for one in said if isinstance(one, kind)]

    refused = until(lambda: answers(Outcome), "it is refused")
    assert refused[0].why == "over its rate: 1 requests/s"
    limit(venue, "audit", Limits())
    until(lambda: answers(NodeStatus), "it is answered again")
    audit.close()


def test_limits_are_listed(venue: Running):
    """Those that were said when the key was made."""
    rows = {row["name"]: row["limits"] for row in venue.json("keys", "list")}

    assert (rows["flood"], rows["slow"]) == ("200 requests/s", "100 requests/s, 2 connections")
    assert rows["honest"] == ""


def test_a_limit_that_cannot_be_is_refused_before_anything_is_written(venue: Running):
    """In a line; the list stays, and no key is left."""
    before = venue.config.keys_path.read_bytes()
    done = venue.run("keys", "issue", "none", "--role", "client", "--requests", "0")

    assert "none.limits.requests_per_s: expected 1 to" in complaint(done, 2)
    assert venue.config.keys_path.read_bytes() == before
    assert not secret_path(venue.config.secrets_directory, "none").exists()
