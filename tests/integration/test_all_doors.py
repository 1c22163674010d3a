"""QuickFIX, a WebSocket client, a browser and a native client trade with each other: one market behind all doors."""

from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import pytest

from gateways.events import Fill
from gateways.order.client import OrderClient
from gateways.web.keys import Key
from tests.models.quickfix.client import FixClient
from tests.models.running import Running, make, until
from tests.models.web_trader import RemoteTrader

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.models.console import CHROMIUM, Session, launched

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")

SYMBOL = "BTC-USD"
PRICE = "100.00"
LOT = Decimal("0.1")
KILLED = ("web-1", "fix-1", "matching-1", "order-1")
WHAT, QUANTITY, ORDER = 1, 5, 7
"""Columns of a client's executions on the page."""
Fills = list[tuple[str, Decimal]]


class Fixed:
    """QuickFIX."""

    def __init__(self, venue: Running, directory: Path, resources: ExitStack) -> None:
        port = int(venue.config.endpoint("fix").rpartition(":")[2])
        self._fix = resources.enter_context(FixClient(port, "FIXED", directory=directory))
        self._fix.await_logon()

    def enter(self, name: str, side: str, quantity: str) -> None:
        self._fix.await_logon()
        self._fix.order(name, "1" if side == "buy" else "2", SYMBOL, quantity, PRICE)

    def fills(self) -> Fills:
        return [(one[11], Decimal(one[32])) for one in self._fix.received if one.get(150) == "F" and not one.poss_dup]

    def problems(self) -> list[str]:
        return list(map(str, self._fix.errors))


class Webbed:
    """A WebSocket client."""

    def __init__(self, venue: Running, resources: ExitStack) -> None:
        self._web = RemoteTrader(venue, "WEBBED")
        self._web.await_key()
        resources.callback(self._web.close)

    def enter(self, name: str, side: str, quantity: str) -> None:
        self._web.turn()
        self._web.order("add_order", symbol=SYMBOL, side=side, order_qty=quantity, limit_price=PRICE, cl_ord_id=name)
        self._web.settle()

    def fills(self) -> Fills:
        self._web.turn()
        return [(row["cl_ord_id"], Decimal(str(row["last_qty"]))) for row in self._web.executions if "last_qty" in row]

    def problems(self) -> list[str]:
        return self._web.problems


class Native:
    """The venue's own client."""

    def __init__(self, venue: Running, resources: ExitStack) -> None:
        self._client = resources.enter_context(OrderClient(venue.config.endpoint("order"), client="NATIVE"))
        self._told: list[Fill] = []

    def enter(self, name: str, side: str, quantity: str) -> None:
        self._client.new_order(symbol=SYMBOL, side=side, price=PRICE, quantity=quantity, client_order_id=name)

    def fills(self) -> Fills:
        self._told += [one for one in self._client.reports(timeout_s=0.05) if isinstance(one, Fill)]
        return [(one.client_order_id, one.quantity * LOT) for one in self._told]

    def problems(self) -> list[str]:
        return []


class Paged:
    """A browser; its orders have ids of its own, which are told apart here by their turn."""

    def __init__(self, venue: Running, resources: ExitStack) -> None:
        key = Key(**venue.json("api-key", "issue", "PAGED"))
        self._window = Session(resources.enter_context(launched()), venue)
        resources.callback(self._window.close)
        self._window.sign_in(key)
        self._window.open(f"market/{SYMBOL}")
        self._names: list[str] = []

    def enter(self, name: str, side: str, quantity: str) -> None:
        self._names.append(name)
        self._window.order(side.capitalize(), quantity, PRICE)

    def fills(self) -> Fills:
        """A line says how much traded, and of which of the venue's orders: ours are in their turn."""
        cells = [row.split("\t") for row in self._window.rows("My executions").all_inner_texts()]
        traded = [(row[ORDER], Decimal(row[QUANTITY])) for row in cells[::-1] if row[WHAT].startswith("trade")]
        ids = list(dict.fromkeys(order_id for order_id, _quantity in traded))
        return [(self._names[ids.index(order_id)], quantity) for order_id, quantity in traded]

    def problems(self) -> list[str]:
        """While its gateway is away a browser says that it cannot reach it."""
        return [one for one in self._window.problems if "ERR_CONNECTION_REFUSED" not in one]


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Running]:
    config = make(tmp_path / "v", doors=("fix-1", "web-1"))
    with Running(config).start() as started:
        with OrderClient(config.endpoint("order"), client="operator") as operator:
            operator.set_instrument(symbol=SYMBOL, currency="USD", tick="0.01", lot="0.1")
            for name in ("FIXED", "WEBBED", "NATIVE", "PAGED"):
                operator.set_credit(name, "USD", "1000000")
        yield started


def test_all_doors_lead_to_one_market(venue: Running, tmp_path: Path):
    """Each offers in turn, and the others buy; all see the offer in the book, and each its own fills, once."""
    with ExitStack() as resources:
        web = Webbed(venue, resources)
        doors = [Fixed(venue, tmp_path / "fix", resources), web, Native(venue, resources), Paged(venue, resources)]
        expected: list[Fills] = [[] for _ in doors]

        def are_filled() -> bool:
            return [door.fills() for door in doors] == expected

        for nth in range(len(doors)):
            order = [*range(nth, len(doors)), *range(nth)]
            doors[order[0]].enter(f"m{nth}", "sell", "3")
            until(lambda: _offered(venue, web) == [["3.0"], ["3.0"]], "the offer is in the book")
            for place in order[1:]:
                doors[place].enter(f"t{nth}", "buy", "1")
                expected[place].append((f"t{nth}", Decimal(1)))
                expected[order[0]].append((f"m{nth}", Decimal(1)))
                until(are_filled, f"all fills of round {nth}: {expected}")
            venue.kill(KILLED[nth])
            venue.await_well()
        until(are_filled, "the same fills, once each")
        assert [door.problems() for door in doors] == [[], [], [], []]


def _offered(venue: Running, web: Webbed) -> list[list[str]]:
    """What is asked, over REST and from the market data gateway."""
    _status, book = web._web.ask("GET", f"/v1/book/{SYMBOL}")
    shown = venue.json("book", SYMBOL)
    return [[str(level["qty"]) for level in book["asks"]], [level["quantity"] for level in shown["sells"]]]
