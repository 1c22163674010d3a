"""A reader of the web feed: it keeps books from what it is told, by a way of its own, and checks each checksum."""

import json
import zlib
from bisect import bisect_left, insort
from collections import Counter
from decimal import Decimal
from itertools import islice

TOP = 10
SIDES = {"bids": -1, "asks": 1}
"""What a price is multiplied with, so that the best is the least."""


class Digits(float):
    """A JSON number that remembers how it was written."""

    text: str

    def __new__(cls, text: str) -> "Digits":
        made = super().__new__(cls, text)
        made.text = text
        return made


def loads(text: bytes | str) -> dict:
    return json.loads(text, parse_float=Digits, parse_int=lambda text: int(text) if len(text) > 12 else Digits(text))


class Prices:
    """One side of a book: what stands at each price, and the prices in order."""

    def __init__(self, sign: int) -> None:
        self.at: dict[Decimal, dict] = {}
        self._sign = sign
        self._merits: list[Decimal] = []

    def queue(self, price: Decimal) -> dict:
        """What stands at a price, which may be new."""
        if price not in self.at:
            insort(self._merits, price * self._sign)
            self.at[price] = {}
        return self.at[price]

    def drop(self, price: Decimal) -> None:
        """Nothing stands there any more."""
        del self.at[price]
        del self._merits[bisect_left(self._merits, price * self._sign)]

    def clear(self) -> None:
        self.at.clear()
        self._merits.clear()

    def best(self) -> list[tuple[str, str]]:
        """Price and quantity of all that stands at the best prices, as they were written."""
        return [pair for merit in islice(self._merits, TOP) for pair in self.at[merit * self._sign].values()]


class WebReader:
    """Levels and orders of one symbol. `problems` says what was wrong, `checked` how much was right or wrong."""

    def __init__(self) -> None:
        self.trades: list[int] = []
        self.problems: list[str] = []
        self.checked: Counter[str] = Counter()
        self.numbers: dict[str, int] = {}
        """Channel -> its last message."""
        self._levels = {side: Prices(sign) for side, sign in SIDES.items()}
        self._orders = {side: Prices(sign) for side, sign in SIDES.items()}
        self._price_of: dict[str, Decimal] = {}

    @property
    def levels(self) -> dict[str, dict[Decimal, tuple[str, str]]]:
        """Side -> price -> price and quantity as they were written."""
        return {
            side: {price: pair for price, queue in prices.at.items() for pair in queue.values()}
            for side, prices in self._levels.items()
        }

    @property
    def orders(self) -> dict[str, list[tuple[str, str, str]]]:
        """Side -> order, price and quantity of each, best first, in the order of the queues."""
        return {
            side: [(order, *pair) for price in sorted(prices.at, key=lambda price: price * SIDES[side])
                   for order, pair in prices.at[price].items()]
            for side, prices in self._orders.items()
        }  # fmt: skip

    def take(self, text: bytes | str) -> None:
        """One message."""
        message = loads(text)
        channel, kind = message.get("channel"), message.get("type")
        if channel in ("book", "level3"):
            (data,) = message["data"]
            self._count(channel, kind, int(data["sequence"]))
            getattr(self, f"_{channel}")(kind, data)
            self.checked[channel] += 1
            if self._crc(self._levels if channel == "book" else self._orders) != int(data["checksum"]):
                self.problems.append(f"checksum of {channel} {int(data['sequence'])}")
        elif channel == "trade":
            self._count(channel, kind, int(message["sequence"]))
            self.trades += [int(trade["trade_id"]) for trade in message["data"]]

    def _count(self, channel: str, kind: str, number: int) -> None:
        before = self.numbers.get(channel)
        if kind == "update" and before != number - 1:
            self.problems.append(f"{channel} goes from {before} to {number}")
        self.numbers[channel] = number

    def _book(self, kind: str, data: dict) -> None:
        for side, prices in self._levels.items():
            if kind == "snapshot":
                prices.clear()
            for level in data[side]:
                text, quantity = level["price"].text, level["qty"].text
                price = Decimal(text)
                if Decimal(quantity):
                    prices.queue(price)[""] = (text, quantity)
                elif price in prices.at:
                    prices.drop(price)
                else:
                    self.problems.append(f"a level that is not there goes: {level}")

    def _level3(self, kind: str, data: dict) -> None:
        if kind == "snapshot":
            self._price_of.clear()
        for side, prices in self._orders.items():
            if kind == "snapshot":
                prices.clear()
            for order in data[side]:
                self._step(prices, order)

    def _step(self, prices: Prices, order: dict) -> None:
        name, event = order["order_id"], order.get("event", "add")
        known = self._price_of.get(name)
        if (event == "add") != (known is None):
            self.problems.append(f"{order} after {known}")
            return
        price = self._price_of[name] = Decimal(order["limit_price"].text)
        queue = prices.queue(price)
        if event != "delete":
            queue[name] = (order["limit_price"].text, order["order_qty"].text)
            return
        del queue[name], self._price_of[name]
        if not queue:
            prices.drop(price)

    @staticmethod
    def _crc(sides: dict[str, Prices]) -> int:
        pairs = [*sides["asks"].best(), *sides["bids"].best()]
        return zlib.crc32("".join(part.replace(".", "").lstrip("0") for pair in pairs for part in pair).encode())
