"""The console in a real Chromium, on a venue of real processes: what is shown, done, and survived.

With ISLAND_SCREENSHOTS=1 the pages are drawn into docs/images as well.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from gateways.flow import generate
from gateways.order.client import OrderClient
from gateways.web.keys import Key, Keys, rights_of
from tests.models.running import Running, make, until

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, expect

from tests.models.console import CHROMIUM, DESKTOP, PHONE, Session, corrupted, launched, sent_book

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")

SYMBOL = "BTC-USD"
ODD_SYMBOL = 'A/B <b>&"1" %'
HOSTILE = "<img src=x onerror=alert(1)>"
PAGES = {
    "market": "online", "overview": "node-3", "clients": "BOB", "log": "The log is at", "operate": "node-3",
    "keys": "Sign out operator.kim",
}  # fmt: skip
"""What each shows once it has what it asks for."""
IMAGES = Path(__file__).parents[2] / "docs" / "images"
Opened = Callable[..., Session]


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    config = make(tmp_path_factory.mktemp("console") / "v", 3, doors=("web-1",))
    with Running(config).start() as started:
        lines = [{"type": "SetInstrument", "symbol": ODD_SYMBOL, "tick": "0.5", "lot": "1", "currency": "USD"}]
        for client in ("ANN", "BOB", HOSTILE):
            lines.append({"type": "SetCredit", "client": client, "currency": "USD", "limit": "10000000"})
        started.send([*generate.lines(seed=3, count=600, instruments=1, clients=4), *map(json.dumps, lines)])
        yield started


@pytest.fixture(scope="module")
def keys(venue: Running) -> dict[str, Key]:
    made = Keys.load(venue.data_dir)
    issued = {name: made.issue(name, rights_of(name)) for name in ("ANN", "BOB", HOSTILE, "operator.kim")}
    made.save(venue.data_dir)
    told = venue.data_dir / "logs" / "web-1.log"
    until(lambda: 'event="keys read"' in told.read_text(), "the gateway has read its keys")
    return issued


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as started:
        yield started


@pytest.fixture(scope="module")
def windows(browser: Browser) -> Iterator[dict[Any, Session]]:
    """Those that are open, by who is signed in, size and scheme: they stay so from test to test."""
    made: dict[Any, Session] = {}
    yield made
    for one in made.values():
        one.close()


@pytest.fixture
def opened(browser: Browser, venue: Running, keys: dict[str, Key], windows: dict[Any, Session]) -> Iterator[Opened]:
    """Gives windows, each signed in as somebody; in none of them anything may be wrong in the end."""

    def begin(*clients: str, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> Session:
        place = clients, size, scheme
        if place not in windows:
            windows[place] = Session(browser, venue, size, scheme)
            for client in clients:
                windows[place].sign_in(keys[client])
        return windows[place]

    yield begin
    problems = [problem for one in windows.values() for problem in one.problems]
    for one in windows.values():
        one.problems.clear()
    assert problems == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_page_opens(opened: Opened, size: tuple[int, int]):
    """Without an error in the browser's console, and on a phone without scrolling sideways."""
    window = opened("ANN", "operator.kim", size=size)
    for name, shown in PAGES.items():
        window.open(name)
        expect(window.page.get_by_role("main").get_by_text(shown, exact=name != "log").first).to_be_visible()
        assert not window.is_too_wide(), name


def test_without_a_key_the_market_is_there_and_nothing_else(opened: Opened):
    """Nobody sees operators' pages, or a ticket, before signing in."""
    window = opened()
    window.open("market")
    expect(window.page.locator(".ladder .price").first).to_have_text(re.compile(r"\d"))
    assert window.panel("Order").count() == 0
    for name in ("overview", "clients", "log", "operate"):
        window.open(name)
        expect(window.page.get_by_text("is for operators")).to_be_visible()


def test_a_wrong_secret_says_so(opened: Opened, keys: dict[str, Key]):
    """What is refused, what is no secret at all; nobody is signed in by it."""
    window = opened()
    window.open("keys")
    window.try_key(keys["ANN"].key, keys["BOB"].secret)
    expect(window.page.get_by_text("does not accept this key and secret")).to_be_visible()
    window.try_key(keys["ANN"].key, "not base64!")
    expect(window.page.get_by_text("The secret is not complete")).to_be_visible()
    expect(window.panel("Who is signed in").get_by_text("nobody")).to_have_count(2)
    window.problems.clear()  # the browser itself notes the answer 401


def test_signing_out_forgets(opened: Opened, keys: dict[str, Key]):
    """The secret is gone from the tab's store, and the ticket from the market."""
    window = opened()
    window.sign_in(keys["ANN"])
    window.page.get_by_role("button", name="Sign out ANN").click()
    assert window.page.evaluate("sessionStorage.getItem('island.keys')") == "{}"
    window.open("market")
    expect(window.page.get_by_text("with a client’s key to trade")).to_be_visible()


def test_two_clients_trade(opened: Opened):
    """Each sees the other's order in the book, its own is marked, and both see their fills."""
    ann, bob = opened("ANN"), opened("BOB")
    for window in (ann, bob):
        window.open("market/A%2FB%20%3Cb%3E%26%221%22%20%25")
        expect(window.page.get_by_label("Instrument")).to_have_value(ODD_SYMBOL)
    ann.order("Sell", "5", "100.5")
    until(lambda: bob.book() == [[], [("100.5", "5")]], "BOB sees the order")
    assert bob.page.locator(".ladder tr.own").count() == 0
    expect(ann.page.locator(".ladder tr.own .price")).to_have_text("100.5")
    bob.order("Buy", "2", "101")
    expect(ann.rows("My orders")).to_contain_text("3")
    for window, role in ((ann, "maker"), (bob, "taker")):
        expect(window.rows("My executions").first).to_contain_text(f"trade, {role}")
    expect(bob.panel("My credit")).to_contain_text("201.00")
    bob.page.reload()
    expect(bob.rows("My executions").first).to_contain_text("trade, taker")
    ann.panel("My orders").get_by_role("button", name=re.compile("Amend")).click()
    dialog = ann.page.get_by_role("dialog")
    dialog.get_by_label("Price").fill("100")
    dialog.get_by_role("button", name="Amend").click()
    dialog.get_by_role("button", name="Close").click()
    until(lambda: bob.book() == [[], [("100.0", "3")]], "BOB sees the amended order")
    ann.panel("My orders").get_by_role("button", name="Cancel all").click()
    until(lambda: bob.book() == [[], []], "BOB sees that it is gone")


def test_a_refusal_is_told(opened: Opened):
    """In the venue's words."""
    window = opened("ANN")
    window.open(f"market/{SYMBOL}")
    window.panel("Order").get_by_label("Quantity").fill("1000000")
    window.panel("Order").get_by_label("Price").fill("1000")
    window.panel("Order").get_by_role("button", name="Buy").click()
    expect(window.panel("Order").locator(".outcome")).to_contain_text("Refused: credit exceeded")


def test_the_book_is_the_venues(opened: Opened, browser: Browser, venue: Running):
    """Also where a message was changed on its way: the checksum is wrong, the page says so, and asks again."""
    honest, deceived = opened(), Session(browser, venue)
    changed = corrupted(deceived.page)
    for window in (honest, deceived):
        window.open(f"market/{SYMBOL}")
        expect(window.page.locator(".ladder .price").first).to_have_text(re.compile(r"\d"))
    venue.send(list(generate.lines(seed=4, count=1000, instruments=1, clients=4)))
    until(lambda: honest.book() == sent_book(venue, SYMBOL), "the book is the venue's")
    until(lambda: deceived.book() == honest.book(), "the other one is right again")
    assert honest.page.locator(".complaint").first.inner_text() == ""
    expect(deceived.page.locator(".complaint").first).to_contain_text("checksum of the book was wrong")
    assert (changed(), deceived.problems) == (1, [])
    deceived.close()


def test_a_gateway_that_dies_is_told_and_outlived(opened: Opened, venue: Running, windows: dict[Any, Session]):
    """After kill -9 the page says how old it is; it goes on by itself, and has what happened meanwhile."""
    window = opened("ANN")
    window.open("market/A%2FB%20%3Cb%3E%26%221%22%20%25")
    window.order("Sell", "7", "300")
    banner = window.page.locator("#banner")
    while not banner.is_visible():  # it comes back, and is killed again, until the page has noticed
        if "web-1" in venue.pids:
            venue.kill("web-1")
    assert re.search(r"old.*Age: \d+ s", banner.inner_text())
    window.context.set_offline(True)
    expect(window.page.locator("#link")).to_have_text("connecting")
    expect(window.send_order("Sell", "9", "300")).to_contain_text("Not sent: There is no connection")
    window.context.set_offline(False)
    with OrderClient(venue.config.endpoint("order"), client="C1") as other:
        other.new_order(symbol=ODD_SYMBOL, side="buy", price="300", quantity="3", client_order_id="while")
    expect(banner).to_be_hidden(timeout=60_000)
    expect(window.rows("My executions").first).to_contain_text("trade, maker")
    until(lambda: window.book() == [[], [("300.0", "4")]], "the book is right")
    window.panel("My orders").get_by_role("button", name=re.compile("Cancel order")).click()
    expect(window.panel("My orders").get_by_text("No live orders.")).to_be_visible()
    for one in windows.values():
        one.problems.clear()  # the browser notes each try to connect


def test_an_operator_operates(opened: Opened, venue: Running):
    """Each action says what came of it, shows, and stands in the list with who and why."""
    window = opened("operator.kim")
    window.open("operate")
    instrument = window.rows("Instruments").filter(has_text=SYMBOL)
    instrument.get_by_role("button", name="Halt").click()
    assert "Halt" in window.confirm("Halt", "reason: halt")
    expect(instrument).to_contain_text("halted")
    instrument.get_by_role("button", name="Resume").click()
    window.confirm("Resume", "reason: resume")
    expect(instrument).to_contain_text("online")
    target = next(row["name"] for row in venue.status.nodes if row["role"] == "follower")
    window.page.get_by_role("button", name=f"Make {target} the leader").click()
    assert target in window.confirm("Transfer", "reason: lead")
    expect(window.rows("Lead and snapshots").filter(has_text=target)).to_contain_text("leader")

    window.open("clients")
    window.page.get_by_label("Find a client").fill("BOB")
    expect(window.rows("Clients")).to_have_count(1)
    window.rows("Clients").get_by_role("button", name="Set", exact=True).click()
    window.confirm("Set credit", "reason: credit", Limit="12345678")
    expect(window.rows("Clients")).to_contain_text("12,345,678.00")
    window.rows("Clients").get_by_role("button", name="Block").click()
    window.confirm("Block", "reason: block")
    expect(window.rows("Clients")).to_contain_text("blocked")
    window.rows("Clients").get_by_role("button", name="Unblock").click()
    window.confirm("Unblock", "reason: unblock")
    expect(window.rows("Clients")).to_contain_text("open")

    window.open("operate")
    for reason in ("halt", "resume", "lead", "credit", "block", "unblock"):
        reasons = window.page.get_by_role("cell", name=f"reason: {reason}", exact=True)
        expect(window.rows("What operators did").filter(has=reasons)).to_contain_text("operator.kim")
    window.open("overview")
    expect(window.panel("What changed")).to_contain_text(f"{target} is leader now")


def test_what_cannot_be_done_is_said(opened: Opened):
    """The venue's words stand in the dialog, and nothing is closed over them."""
    window = opened("operator.kim")
    window.open("operate")
    window.page.get_by_label("Trade", exact=True).fill("999999999")
    window.page.get_by_role("button", name="Bust").click()
    dialog = window.page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("a mistake")
    dialog.get_by_role("button", name="Bust").click()
    expect(dialog.get_by_role("status")).to_contain_text("999")
    expect(dialog.get_by_role("button", name="Bust")).to_be_enabled()
    window.problems.clear()  # the browser itself notes the answer 400


def test_the_log_follows_an_order_to_its_trade(opened: Opened, venue: Running):
    """From a fill to the order, and from that by its effects to the trade."""
    window = opened("BOB", "operator.kim")
    window.open("market/A%2FB%20%3Cb%3E%26%221%22%20%25")
    window.order("Buy", "1", "50")
    window.order("Sell", "1", "50")
    order = window.rows("My executions").filter(has_text="trade, taker").first.locator("td").nth(7).inner_text()
    window.open(f"log/{order}")
    expect(window.page.get_by_role("heading", name=re.compile("NewOrder$"))).to_be_visible()
    window.rows("What followed").filter(has_text="Trade").first.get_by_role("link").first.click()
    expect(window.page.get_by_role("heading", name=re.compile("Trade$"))).to_be_visible()
    window.page.get_by_role("link", name="Previous").click()
    expect(window.page.get_by_role("heading", name=re.compile("Trade$"))).to_have_count(0)


def test_names_harm_nothing(opened: Opened):
    """What a client is called is text, wherever it stands."""
    window = opened(HOSTILE, "operator.kim")
    expect(window.page.locator("#who")).to_contain_text(HOSTILE)
    window.open("clients")
    row = window.rows("Clients").filter(has_text=HOSTILE)
    expect(row).to_have_count(1)
    row.get_by_role("button", name="Adjust").click()
    window.confirm("Adjust", HOSTILE, Amount="-1")
    window.open("operate")
    expect(window.rows("What operators did").filter(has_text=HOSTILE).first).to_be_visible()
    assert window.page.locator("img[src='x']").count() == 0


def test_an_order_by_keyboard_alone(opened: Opened):
    """Tab goes everywhere, and shows where it is."""
    window = opened("ANN")
    window.open(f"market/{SYMBOL}")
    expect(window.panel("Order").get_by_role("button", name=f"Buy {SYMBOL}")).to_be_enabled()
    keyboard = window.page.keyboard

    def go_to(name: str) -> None:
        for _ in range(60):
            keyboard.press("Tab")
            if window.page.evaluate("document.activeElement.name") == name:
                assert window.page.evaluate("document.activeElement.matches(':focus-visible')")
                return
        raise AssertionError(f"no way to {name}")

    go_to("side")
    keyboard.press("ArrowRight")
    go_to("quantity")
    keyboard.type("0.5")
    go_to("price")
    keyboard.type("99000")
    keyboard.press("Enter")
    expect(window.panel("Order").get_by_text("Accepted")).to_be_visible()
    expect(window.rows("My orders")).to_contain_text("sell")


@pytest.mark.skipif("ISLAND_SCREENSHOTS" not in os.environ, reason="ISLAND_SCREENSHOTS=1 draws into docs/images")
def test_pages_are_drawn(opened: Opened, venue: Running):
    """In both schemes, on a desk and on a phone, while a coarse instrument is traded; each file is small."""
    IMAGES.mkdir(exist_ok=True)
    with venue.sending(coarse("ETH-USD", seed=9, count=4000), "--rate", "50"):
        for scheme, size, word in product(("light", "dark"), ((1280, 800), PHONE), ("market", "overview")):
            window = opened("ANN", "operator.kim", size=size, scheme=scheme)
            window.open("market/ETH-USD" if word == "market" else word)
            if word == "market":
                window.order("Buy", "1.25", "2999")
                window.page.evaluate("scrollTo(0, 0)")
            window.page.wait_for_timeout(3000)  # for the lines of the charts
            path = IMAGES / f"console-{word}-{scheme}-{'phone' if size == PHONE else 'desktop'}.png"
            window.page.screenshot(path=path)
            assert path.stat().st_size < 150_000


def coarse(symbol: str, seed: int, count: int) -> Iterator[str]:
    """A flow in round numbers around 3,000."""
    yield json.dumps({"type": "SetInstrument", "symbol": symbol, "tick": "0.5", "lot": "0.01", "currency": "USD"})
    for text in generate.lines(seed=seed, count=count, instruments=1, clients=4):
        line = json.loads(text)
        if line["type"] in ("SetInstrument", "SetCredit"):
            continue
        if "price" in line:
            line["price"] = f"{round((float(line['price']) - 78_000) / 5) / 2 + 3000:.1f}"
        if "quantity" in line:
            line["quantity"] = f"{float(line['quantity']) + 0.01:.2f}"
        yield json.dumps(line | ({"symbol": symbol} if "symbol" in line else {}))
