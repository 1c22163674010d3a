"""What operators do by the console, in a real Chromium: stopped replicas, trades, instruments, clients; and outages.

The venue's engines cannot take some orders: see poisoned_venue.
"""

import json
import os
import re
import signal
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from gateways.order.client import OrderClient
from gateways.web.keys import Keys, rights_of
from tests.models.poisoned_venue import poisoned_venue
from tests.models.running import PATIENCE_S, Running, until

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Locator, expect

from tests.models.console import CHROMIUM, DESKTOP, PHONE, Session, Wire, launched, sent_book

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")

SYMBOL = "BTC-USD"


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with poisoned_venue(tmp_path_factory.mktemp("operators"), doors=("web-1",)) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as started:
        yield started


@pytest.fixture(scope="module")
def signed_in(browser: Browser, venue: Running) -> Iterator[tuple[Session, Wire]]:
    """An operator's window, and its way to the venue."""
    made = Keys.load(venue.data_dir)
    key = made.issue("operator.kim", rights_of("operator.kim"))
    made.save(venue.data_dir)
    until(lambda: 'event="keys read"' in (venue.data_dir / "logs" / "web-1.log").read_text(), "the key is read")
    window = Session(browser, venue)
    wire = Wire(window.page)
    window.sign_in(key)
    yield window, wire
    window.close()


@pytest.fixture
def window(signed_in: tuple[Session, Wire]) -> Iterator[Session]:
    """The window; nothing may be wrong in the end."""
    window, _wire = signed_in
    yield window
    problems, window.problems[:] = window.problems[:], []
    assert problems == []


@pytest.fixture
def wire(signed_in: tuple[Session, Wire]) -> Wire:
    return signed_in[1]


def pressed(place: Locator, button: str) -> None:
    place.get_by_role("button", name=button, exact=True).click()


def trades(window: Session) -> list[dict[str, Any]]:
    return window.page.evaluate(f"fetch('/v1/trades/{SYMBOL}').then((answer) => answer.json())")["trades"]


def clients_row(window: Session, name: str) -> Locator:
    window.open("clients")
    return window.rows("Clients").filter(has=window.page.get_by_role("cell", name=name, exact=True))


def test_a_new_instrument(window: Session, venue: Running):
    """By keyboard alone; and its band is moved by saying it again."""
    window.open("operate")
    window.page.get_by_role("button", name="New instrument").press("Enter")
    keyboard = window.page.keyboard
    for text in (SYMBOL, "0.5", "0.01", "USD", "", "", "a listing"):
        assert window.page.evaluate("document.activeElement.tagName") == "INPUT"
        keyboard.press("Control+A")
        keyboard.press("Delete")
        keyboard.type(text)
        keyboard.press("Tab")
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(window.page.get_by_role("dialog").get_by_role("status")).to_contain_text("Done")
    keyboard.press("Enter")
    row = window.rows("Instruments")
    expect(row).to_contain_text("0.5")
    pressed(window.panel("Instruments"), "New instrument")
    terms = {"Symbol": SYMBOL, "Tick": "0.5", "Lot": "0.01", "Lowest": "10", "Highest": "1000"}
    window.confirm("Set instrument", "a band", **terms)
    expect(row).to_have_count(1)
    expect(row).to_contain_text("1,000")
    limit = {"type": "SetCredit", "currency": "USD", "limit": "1000000"}
    venue.send([json.dumps({**limit, "client": client}) for client in ("ANN", "BOB")])


def test_a_trade_is_mended_and_settled(window: Session, venue: Running):
    """Corrected, then busted: credit follows. What another one used is settled."""
    enter(venue, "ANN", "m1", "buy", "2")
    enter(venue, "BOB", "t1", "sell", "2")
    trade = until(lambda: trades(window), "the web gateway knows the trade")[0]
    row = clients_row(window, "ANN")
    expect(used(row)).to_have_text(re.compile(r"^200\."))
    window.open("operate")
    mend = window.panel("Mend a trade")
    mend.get_by_label("Trade").fill(str(trade["trade_id"]))
    mend.get_by_label("Right price").fill("90")
    pressed(mend, "Correct")
    assert "2.00 at 100.0 is now 2.00 at 90.0" in window.confirm("Correct", "a wrong price")
    expect(used(clients_row(window, "ANN"))).to_have_text(re.compile(r"^180\."))
    pressed(row, "Settle")
    window.confirm("Settle", "half was paid", Amount="80")
    expect(used(row)).to_have_text(re.compile(r"^100\."))
    window.open("operate")
    mend.get_by_label("Trade").fill(str(trade["trade_id"]))
    pressed(mend, "Bust")
    assert "is now 0" in window.confirm("Bust", "an error")


def test_orders_are_canceled(window: Session, venue: Running):
    """Of a client, in an instrument, everywhere: those and no others."""
    for name in ("a", "b", "c"):
        for client in ("ANN", "BOB"):
            enter(venue, client, name, "buy", "1")
        if name == "a":
            pressed(clients_row(window, "ANN"), "Cancel orders")
            said = window.confirm("Cancel all", "ANN asked for it", Symbol=SYMBOL)
            assert "1 orders canceled" in said
        elif name == "b":
            window.open("operate")
            pressed(window.rows("Instruments"), "Cancel orders")
            said = window.confirm("Cancel all", "a wrong price in all of it")
        else:
            window.open("operate")
            pressed(window.panel("Instruments"), "Cancel everything")
            said = window.confirm("Cancel all", "an exercise")
        left = {"a": [["100.0", "1.00"]], "b": [], "c": []}[name]
        assert said.startswith("Done")
        until(lambda left=left: [[*level] for level in sent_book(venue, SYMBOL)[0]] == left, "those are gone")


def test_a_poison_message_is_skipped(window: Session, venue: Running):
    """Both replicas stop at an order: the pages say so, and after the skip that all is well; the client is refused."""
    order = {"type": "NewOrder", "client": "ANN", "client_order_id": "raise", "symbol": SYMBOL, "side": "buy"}
    with venue.sending([json.dumps({**order, "price": "100", "quantity": "1", "post_only": True})]) as answers:
        window.open("overview")
        expect(window.rows("Replicas").filter(has_text="matching").filter(has_text="halted")).to_have_count(2)
        window.open("operate")
        row = window.rows("Poison messages")
        expect(row).to_contain_text("matching-1 matching-2", timeout=PATIENCE_S * 1000)
        expect(row).to_contain_text("no such order")
        expect(row.locator("td[data-title=Command]")).to_have_text(re.compile(r"^\d"))
        pressed(row, "Skip")
        assert "skipped" in window.confirm("Skip, for ever", "it stops matching")
        expect(window.panel("Poison messages")).to_contain_text("no replica is stopped")
        assert answers()["counts"] == {"OrderRejected": 1}
    skipped = window.rows("What operators did").filter(has_text="it stops matching")
    expect(skipped.filter(has_text="operator.kim").first).to_contain_text("skip")
    window.open("overview")
    expect(window.panel("How it is")).to_contain_text("Well: every process lives", timeout=PATIENCE_S * 1000)


def test_forms_fit_a_phone(window: Session):
    """No page scrolls sideways, with a question over it or without."""
    window.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    for page, panel, button in (
        ("clients", "Clients", "Settle"), ("clients", "Clients", "Cancel orders"),
        ("operate", "Instruments", "Cancel everything"), ("operate", "Instruments", "New instrument"),
    ):  # fmt: skip
        window.open(page)
        window.panel(panel).get_by_role("button", name=button, exact=True).first.click()
        box = window.page.get_by_role("dialog").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE[0]  # noqa: PT018
        assert not window.is_too_wide(), button
        pressed(window.page.get_by_role("dialog"), "Cancel")
    window.page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})


def test_an_outage_of_the_connection_leaves_no_hole(window: Session, wire: Wire, venue: Running):
    """While it lasts no value is shown as one of now; afterwards the charts have every second of it."""
    window.open("overview")
    charts = [window.page.get_by_role("img", name=name) for name in (re.compile("^Throughput"), re.compile("^Latency"))]
    expect(charts[0]).to_have_attribute("aria-label", re.compile(r"messages \d"))
    wire.cut()
    try:
        expect(window.page.locator("#banner")).to_contain_text("nothing is heard from the venue. Connecting again.")
        expect(charts[0]).to_have_attribute("aria-label", "Throughput: messages –, commands –, trades –")
        expect(charts[1]).to_have_attribute("aria-label", "Latency: p50 –, p99 –")
        enter(venue, "ANN", "meanwhile", "buy", "1")
    finally:
        wire.mend()
    expect(window.page.locator("#banner")).to_be_hidden()
    expect(charts[0]).to_have_attribute("aria-label", re.compile(r"messages \d"))
    drawn = charts[0].locator("path").first.get_attribute("d")
    at = [float(text) for text in re.findall(r"[ML]([\d.]+) ", drawn)]
    steps = [after - before for before, after in pairwise(at)]
    assert max(steps) - min(steps) < 0.5 * min(steps), at


def test_a_gateway_that_hears_no_node_says_so(window: Session, venue: Running):
    """It is there, and nothing of what it tells is of now."""
    banner = window.page.locator("#banner")
    os.kill(venue.pids["node-1"], signal.SIGSTOP)
    try:
        expect(banner).to_contain_text("the gateway hears nothing from the venue’s nodes")
        expect(window.page.locator("#link")).to_have_text("silent")
    finally:
        os.kill(venue.pids["node-1"], signal.SIGCONT)
    expect(banner).to_be_hidden()
    expect(window.page.locator("#link")).to_have_text("live")


def enter(venue: Running, client: str, name: str, side: str, quantity: str) -> None:
    """An order at 100, which the venue takes."""
    with OrderClient(venue.config.endpoint("order"), client=client) as trader:
        trader.new_order(symbol=SYMBOL, side=side, price="100", quantity=quantity, client_order_id=name)


def used(row: Locator) -> Locator:
    return row.locator("td[data-title=Used]")
