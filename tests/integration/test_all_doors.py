"""QuickFIX, a WebSocket client and a native client trade with each other: one market behind all doors."""

from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import pytest

from gateways.events import Fill
from gateways.order.client import OrderClient
from tests.models.quickfix.client import FixClient
from tests.models.running import Running, make, until
from tests.models.web_trader import RemoteTrader

SYMBOL = "BTC-USD"
NAMES = ("FIXED", "WEBBED", "NATIVE")
ROUNDS = 3
PRICE = "100.00"
LOT = Decimal("0.1")


@pytest.fixture
def venue(tmp_path: Path):
    config = make(tmp_path / "v", doors=("fix-1", "web-1"))
    with Running(config).start() as started:
        with OrderClient(config.endpoint("order"), client="operator") as operator:
            operator.set_instrument(symbol=SYMBOL, currency="USD", tick="0.01", lot="0.1")
            for name in NAMES:
                operator.set_credit(name, "USD", "1000000")
        yield started


def test_all_doors_lead_to_one_market(venue: Running, tmp_path: Path):
    """Each offers in turn, and the two others buy; each sees the offer in the book, and its own fills, once."""
    with ExitStack() as resources:
        port = int(venue.config.endpoint("fix").rpartition(":")[2])
        fix = resources.enter_context(FixClient(port, "FIXED", directory=tmp_path / "fix"))
        fix.await_logon()
        web = RemoteTrader(venue, "WEBBED")
        web.await_key()
        native = resources.enter_context(OrderClient(venue.config.endpoint("order"), client="NATIVE"))
        told: list = []

        def enter(who: str, name: str, side: str, quantity: str) -> None:
            if who == "FIXED":
                fix.order(name, "1" if side == "buy" else "2", SYMBOL, quantity, PRICE)
            elif who == "WEBBED":
                web.turn()
                web.order("add_order", symbol=SYMBOL, side=side, order_qty=quantity, limit_price=PRICE, cl_ord_id=name)
                web.settle()
            else:
                native.new_order(symbol=SYMBOL, side=side, price=PRICE, quantity=quantity, client_order_id=name)

        def fills() -> dict[str, list[tuple[str, Decimal]]]:
            """By client: its order and how much of it traded, each time."""
            web.turn()
            told.extend(native.reports(timeout_s=0.05))
            by_web = [(row["cl_ord_id"], Decimal(str(row["last_qty"]))) for row in web.executions if "last_qty" in row]
            by_fix = [(one[11], Decimal(one[32])) for one in fix.received if one.get(150) == "F" and not one.poss_dup]
            by_native = [(one.client_order_id, one.quantity * LOT) for one in told if isinstance(one, Fill)]
            return {"FIXED": by_fix, "WEBBED": by_web, "NATIVE": by_native}

        def offered() -> list[str]:
            _status, book = web.ask("GET", f"/v1/book/{SYMBOL}")
            return [str(level["qty"]) for level in book["asks"]]

        expected: dict[str, list[tuple[str, Decimal]]] = {name: [] for name in NAMES}
        for nth in range(ROUNDS):
            maker, *takers = NAMES[nth:] + NAMES[:nth]
            enter(maker, f"m{nth}", "sell", "3")
            until(lambda: offered() == ["3.0"], "the offer is in the book")
            assert [level["quantity"] for level in venue.json("book", SYMBOL)["sells"]] == ["3.0"]
            for taker, quantity in zip(takers, ("1", "2"), strict=True):
                enter(taker, f"t{nth}", "buy", quantity)
                expected[taker].append((f"t{nth}", Decimal(quantity)))
                expected[maker].append((f"m{nth}", Decimal(quantity)))
                until(lambda: fills() == expected, f"all fills of round {nth}: {expected}")
            assert offered() == []
            venue.kill(("web-1", "fix-1", "matching-1")[nth])
            venue.await_well()
            fix.await_logon()
        until(lambda: fills() == expected, "the same fills, once each")
        assert web.problems == fix.errors == []
        web.close()
