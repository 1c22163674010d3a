"""The console as a person sees it: a page of a real Chromium, in which nothing may go wrong unseen.

Browser --session--> Session --sign in, open, read, press--> page --> web gateway
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page, WebSocketRoute, expect, sync_playwright

from gateways.venue import web_url
from gateways.web.keys import Key
from tests.models.running import PATIENCE_S, Running

DESKTOP = (1440, 900)
PHONE = (360, 740)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
Level = tuple[str, str]

expect.set_options(timeout=20_000)


@contextmanager
def launched() -> Iterator[Browser]:
    """The system's Chromium.

    Its sandbox needs rights that a container's root has not; text without coloured edges keeps drawings small.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-lcd-text"])
        yield browser
        browser.close()


class Session:
    """One browser window with a memory of its own. `problems` is all that a developer would find in its console."""

    def __init__(
        self, browser: Browser, venue: Running, size: tuple[int, int] = DESKTOP, scheme: str = "light"
    ) -> None:
        self.venue = venue
        self.base = web_url(venue.config)
        self.problems: list[str] = []
        width, height = size
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
            ignore_https_errors=True,  # a certificate of tests vouches for itself
        )
        self.page: Page = self.context.new_page()
        self._listen()

    def _listen(self) -> None:
        page, note = self.page, self.problems.append
        page.on("console", lambda said: said.type in ("error", "warning") and note(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: note(f"page: {error}"))
        page.on("requestfailed", lambda request: note(f"failed: {request.url} {request.failure}"))
        page.on("response", lambda answer: answer.status >= 400 and note(f"{answer.status}: {answer.url}"))
        page.on("dialog", lambda dialog: note(f"dialog: {dialog.message}") or dialog.dismiss())

    def open(self, address: str = "") -> None:
        """Go to a page: `market/BTC-USD`."""
        self.page.goto(f"{self.base}/#/{address}")

    def sign_in(self, key: Key) -> None:
        """With this key, which the venue knows."""
        self.open("keys")
        self.try_key(key.key, key.secret)
        expect(self.page.get_by_text(f"{key.client} is signed in")).to_be_visible()

    def try_key(self, key: str, secret: str) -> None:
        """Fill in the form, and send it."""
        self.page.get_by_label("Key", exact=True).fill(key)
        self.page.get_by_label("Secret").fill(secret)
        self.page.get_by_role("button", name="Sign in").click()

    # --- reading ----------------------------------------------------------------------------------

    def panel(self, title: str) -> Locator:
        """A part of the page by its heading."""
        return self.page.get_by_role("region", name=title, exact=True)

    def rows(self, title: str) -> Locator:
        """The lines of a panel's table."""
        return self.panel(title).locator("tbody tr")

    def book(self) -> list[list[Level]]:
        """Bids and asks as they are shown, best first."""
        found = self.page.evaluate(
            """() => ["buy", "sell"].map((side) => [...document.querySelectorAll(`.ladder tr.${side}`)].map((line) =>
                ["price", "quantity"].map((name) => line.querySelector(`.${name}`).textContent.trim()))
                .filter(([price]) => price))"""
        )
        return [[(price.replace(",", ""), quantity) for price, quantity in side] for side in found]

    def is_too_wide(self) -> bool:
        """Whether the page can be scrolled sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))

    # --- doing ------------------------------------------------------------------------------------

    def order(self, side: str, quantity: str, price: str) -> None:
        """A limit order, by the ticket, once the page is connected; the venue has accepted it."""
        expect(self.page.locator("#link")).to_have_text("live")
        expect(self.send_order(side, quantity, price)).to_contain_text("Accepted")

    def send_order(self, side: str, quantity: str, price: str) -> Locator:
        """A limit order, by the ticket; where it says what came of it."""
        ticket = self.panel("Order")
        ticket.get_by_label(side, exact=True).check()
        ticket.get_by_label("Quantity").fill(quantity)
        ticket.get_by_label("Price").fill(price)
        ticket.get_by_role("button", name=re.compile(side)).click()
        return ticket.get_by_role("status")

    def confirm(self, verb: str, reason: str, **fields: str) -> str:
        """Answer the question that is open; what came of it."""
        dialog = self.page.get_by_role("dialog")
        for label, value in fields.items():
            dialog.get_by_label(label).fill(value)
        dialog.get_by_label("Reason").fill(reason)
        dialog.get_by_role("button", name=verb).click()
        close = dialog.get_by_role("button", name="Close")
        expect(close).to_be_visible(timeout=PATIENCE_S * 1000)
        said = dialog.get_by_role("status").inner_text()
        close.click()
        return said

    def close(self) -> None:
        """The window is shut."""
        self.context.close()


def sent_book(venue: Running, symbol: str, depth: int = 25) -> list[list[Level]]:
    """The book as `sequencer book` prints it."""
    book = venue.json("book", symbol, "--depth", str(depth))
    return [[(level["price"], level["quantity"]) for level in book[side]] for side in ("buys", "sells")]


class Wire:
    """What lies between a page and the venue: it can be cut, and mended."""

    def __init__(self, page: Page) -> None:
        self._is_cut = False
        self._sockets: list[WebSocketRoute] = []
        page.route_web_socket(re.compile("/v2$"), self._pass_on)

    def _pass_on(self, socket: WebSocketRoute) -> None:
        if self._is_cut:
            socket.close()
        else:
            self._sockets.append(socket)
            socket.connect_to_server()

    def cut(self) -> None:
        """Every connection breaks, and none can be made."""
        self._is_cut = True
        while self._sockets:
            self._sockets.pop().close()

    def mend(self) -> None:
        """Connections can be made again."""
        self._is_cut = False


def corrupted(page: Page) -> Callable[[], int]:
    """Change the checksum of one update of a book on its way to the page; how many were changed."""
    changed: list[str] = []

    def pass_on(socket: Any) -> None:
        venue = socket.connect_to_server()

        def take(text: str) -> None:
            message = json.loads(text)
            if message.get("channel") == "book" and message["type"] == "update" and not changed:
                changed.append(text)
                text = re.sub(r'"checksum":\d+', '"checksum":1', text)
            socket.send(text)

        venue.on_message(take)

    page.route_web_socket(re.compile("/v2$"), pass_on)
    return lambda: len(changed)
