"""QuickFIX trades on a venue of real processes: what it sends is taken, what it hears is right and comes once."""

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateways.order.client import OrderClient
from sequencer.errors import UnreachableError
from tests.models.quickfix.client import FixClient, Received, group
from tests.models.running import Running, make, until

SYMBOL = "BTC-USD"


class Venue:
    """A venue with an instrument and two rich clients, and their QuickFIX engines."""

    def __init__(self, directory: Path, nodes: int, resources: ExitStack, sessions: str = "") -> None:
        made = make(directory / "v", nodes, doors=("fix-1",))
        if sessions:
            (directory / "v" / "fix.toml").write_text(sessions)
        self.running = resources.enter_context(Running(made).start())
        self.directory = directory
        self._resources = resources
        with OrderClient(self.running.config.endpoint("order"), client="operator") as operator:
            operator.set_instrument(symbol=SYMBOL, currency="USD", tick="0.01", lot="0.00000001")
            for name in ("ANN", "BOB"):
                operator.set_credit(name, "USD", "1000000000")

    @property
    def port(self) -> int:
        return int(self.running.config.endpoint("fix").rpartition(":")[2])

    def client(self, name: str) -> FixClient:
        """Its engine, logged on."""
        made = self._resources.enter_context(FixClient(self.port, name, directory=self.directory / name))
        made.await_logon()
        return made


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    with ExitStack() as resources:
        yield Venue(tmp_path, 1, resources)


def report(client: FixClient, name: str, exec_type: str) -> Received:
    """The report of this type about an order, once it is there."""
    return client.await_(
        lambda: next((one for one in client.reports(name) if one[150] == exec_type), None), f"{exec_type} of {name}"
    )


def test_orders_and_their_whole_life(venue: Venue):
    """New, filled in part, replaced, canceled; refused; asked about; canceled all together. No message is refused."""
    ann, bob = venue.client("ANN"), venue.client("BOB")
    ann.order("a1", "1", SYMBOL, "1.5", "70000.50")
    report(ann, "a1", "0")
    bob.order("b1", "2", SYMBOL, "0.5", "70000")
    assert (report(bob, "b1", "F")[39], report(bob, "b1", "F")[31]) == ("2", "70000.50")
    fill = report(ann, "a1", "F")
    assert (fill[39], fill[14], fill[151], fill[6]) == ("1", "0.50000000", "1.00000000", "70000.5")
    assert fill[17] == report(bob, "b1", "F")[17]

    ann.replace("a2", "a1", "1", SYMBOL, "2", "70001")
    replaced = report(ann, "a2", "5")
    assert (replaced[41], replaced[37], replaced[38], replaced[151]) == ("a1", fill[37], "2.00000000", "1.50000000")
    ann.send([(35, "H"), (11, "a2"), (54, "1"), (55, SYMBOL)])
    assert report(ann, "a2", "I")[39] == "1"
    ann.cancel("a3", "a2", "1", SYMBOL)
    canceled = report(ann, "a3", "4")
    assert (canceled[41], canceled[39], canceled[14]) == ("a2", "4", "0.50000000")
    ann.cancel("a4", "a2", "1", SYMBOL)
    reject = ann.await_(lambda: next((one for one in ann.received if one.type == "9"), None), "a cancel reject")
    assert (reject[11], reject[41], reject[434], reject[102]) == ("a4", "a2", "1", "1")

    ann.order("a5", "1", "NOPE", "1", "1")
    assert report(ann, "a5", "8")[103] == "1"
    ann.order("a6", "1", SYMBOL, "1", "9000000000")
    assert report(ann, "a6", "8")[103] == "3"
    for name in ("a7", "a8"):
        ann.order(name, "1", SYMBOL, "1", "1.00")
        report(ann, name, "0")
    ann.send([(35, "AF"), (584, "s1"), (585, "7")])
    ann.await_(lambda: [one for one in ann.reports() if one.get(584) == "s1"][1:], "both live orders")
    ann.send([(35, "q"), (11, "a9"), (530, "7"), (60, None)])
    swept = ann.await_(lambda: next((one for one in ann.received if one.type == "r"), None), "a mass cancel report")
    assert (swept[11], swept[531], swept[533]) == ("a9", "7", "2")
    ann.send([(35, "x"), (320, "l1"), (559, "4")])
    listed = ann.await_(lambda: next((one for one in ann.received if one.type == "y"), None), "a security list")
    assert (listed[393], listed[55]) == ("1", SYMBOL)
    assert ann.errors + bob.errors == []


def test_what_was_missed_comes_when_it_is_back(venue: Venue):
    """Away without a word, for a fill; a new engine of the same directory gets it, and the numbers go on."""
    ann, bob = venue.client("ANN"), venue.client("BOB")
    ann.order("a1", "1", SYMBOL, "1", "100.00")
    report(ann, "a1", "0")
    ann.kill_connection(reconnect=False)
    bob.order("b1", "2", SYMBOL, "1", "100.00")
    report(bob, "b1", "F")
    venue.running.kill("fix-1")
    venue.running.await_well()
    ann.logon()
    assert report(ann, "a1", "F")[14] == "1.00000000"
    assert len({one[17] for one in ann.reports("a1")}) == len(ann.reports("a1")) == 2


SESSIONS = """
[[sessions]]
comp_id = "ANN"
client = "ANN"
[[sessions]]
comp_id = "BOB"
client = "BOB"
[[sessions]]
comp_id = "AUDIT"
drop_copy = true
"""


def test_a_copy_of_all_and_a_trade_that_is_mended(tmp_path: Path):
    """Both sides and the copy are told of it, with the order; the copy gets what it missed when the gateway died."""
    with ExitStack() as resources:
        venue = Venue(tmp_path, 1, resources, SESSIONS)
        ann, bob, audit = (venue.client(name) for name in ("ANN", "BOB", "AUDIT"))
        ann.order("a1", "1", SYMBOL, "2", "100.00")
        report(ann, "a1", "0")
        bob.order("b1", "2", SYMBOL, "1", None, Price="99.00")
        fill = report(bob, "b1", "F")
        assert (report(bob, "b1", "0")[40], report(bob, "b1", "0").get(44)) == ("1", None)
        venue.running.kill("fix-1")
        mended = venue.running.run("trade", "correct", fill[17], "--price", "98", "--reason", "a test")
        assert mended.returncode == 0, mended
        venue.running.await_well()
        for client, name in ((ann, "a1"), (bob, "b1"), (audit, "a1"), (audit, "b1")):
            told = report(client, name, "G")
            assert [told[tag] for tag in (19, 14, 6, 31)] == [fill[17], "1.00000000", "98", "98.00"]
        copies = [(one[1], one[11], one[150]) for one in audit.reports()]
        trade = [("ANN", "a1", "F"), ("BOB", "b1", "F")]
        assert copies[:2] == [("ANN", "a1", "0"), ("BOB", "b1", "0")]
        assert (sorted(copies[2:4]), sorted(copies[4:])) == (trade, [("ANN", "a1", "G"), ("BOB", "b1", "G")])
        assert {one.get(797) for one in audit.reports()} == {"Y"}
        assert ann.errors + bob.errors + audit.errors == []


def test_the_book_and_the_tape_are_followed(venue: Venue):
    """A snapshot, then each change and each trade; also when the market data gateway dies in between."""
    ann, bob = venue.client("ANN"), venue.client("BOB")
    ann.order("a1", "1", SYMBOL, "2", "100.00")
    report(ann, "a1", "0")
    kinds = group(267, *([(269, kind)] for kind in "012"))
    bob.send([(35, "V"), (262, "m"), (263, 1), (264, 5), (265, 1), kinds, group(146, [(55, SYMBOL)])])
    shown = bob.await_(lambda: next((one for one in bob.received if one.type == "W"), None), "a snapshot")
    assert [value for tag, value in shown.pairs if tag in (269, 270, 271)] == ["0", "100.00", "2.00000000"]

    venue.running.kill("marketdata-1")
    bob.order("b1", "2", SYMBOL, "0.5", "100.00")
    told = bob.await_(lambda: [one for one in bob.received if one.type == "X" and one.get(269)], "a change")
    seen = [value for one in told for tag, value in one.pairs if tag in (279, 269, 270, 271)]
    assert seen[:4] == ["1", "0", "100.00", "1.50000000"]
    assert bob.errors == []


def test_strangers_disturb_nobody(venue: Venue):
    """Connections that say nothing, rubbish, or the head of a message that never ends: more than are let stay."""
    ann = venue.client("ANN")
    with ExitStack() as strangers:
        for nth in range(600):
            stranger = strangers.enter_context(socket.create_connection(("127.0.0.1", venue.port)))
            stranger.send((b"", b"GET / HTTP/1.1\r\n\r\n", b"8=FIX.4.4\x019=60000\x01")[nth % 3] or b"8")
            if nth % 20 == 0:
                ann.order(f"a{nth}", "1", SYMBOL, "1", "1.00")
        for nth in range(0, 600, 20):
            report(ann, f"a{nth}", "0")
    assert ann.is_logged_on
    assert ann.errors == []


@pytest.mark.timeout(300)
def test_each_order_has_one_life_whatever_is_killed(tmp_path: Path):
    """Nodes, engines, the gateway, in turn, while two clients trade: each report comes once, and they agree."""
    draw = random.Random(7)
    with ExitStack() as resources:
        venue = Venue(tmp_path, 3, resources)
        clients = {name: venue.client(name) for name in ("ANN", "BOB")}
        sent: dict[str, list[str]] = {name: [] for name in clients}
        for victim in ("leader", "matching-1", "credit-1", "fix-1", "leader", "fix-1"):
            for nth in range(60):
                name = draw.choice(list(clients))
                sent[name].append(f"{name}-{len(sent[name])}")
                price, side = f"{100 + draw.randint(-2, 2)}.00", draw.choice("12")
                clients[name].order(sent[name][-1], side, SYMBOL, str(draw.randint(1, 5)), price)
                if nth == 30:
                    name = _leader(venue.running) if victim == "leader" else victim
                    until(lambda name=name: name in venue.running.pids, f"{name} is there")
                    venue.running.kill(name)
        for name, client in clients.items():
            client.await_(
                lambda client=client, name=name: {one[11] for one in client.reports()} >= set(sent[name]),
                "an answer to each order", 60,
            )  # fmt: skip
        venue.running.await_well()
        for name, client in clients.items():  # what would come twice comes before the answer to a last order
            sent[name].append("last")
            client.order("last", "1", SYMBOL, "1", "1.00")
            report(client, "last", "0")
        fills = {}
        for name, client in clients.items():
            known = [(one[17], one[11]) for one in client.reports()]
            assert len(set(known)) == len(known)
            first = [one[11] for one in client.reports() if one[150] == "0"]
            assert first == sent[name]
            fills[name] = [one for one in client.reports() if one[150] == "F"]
            assert client.errors == []
        traded = {name: sum(int(float(one[32])) * _sign(one) for one in found) for name, found in fills.items()}
        assert sum(traded.values()) == 0
        assert venue.running.run("log", "verify").returncode == 0


def _leader(running: Running) -> str:
    def found() -> str:
        try:
            return next((row["name"] for row in running.status.nodes if row["role"] == "leader"), "")
        except UnreachableError:
            return ""

    return until(found, "a leader")


def _sign(fill: Received) -> int:
    return 1 if fill[54] == "1" else -1
