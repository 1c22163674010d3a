"""A reader of the web feed: it keeps books from what it is told, by a way of its own, and checks each checksum."""

import json
import zlib
from decimal import Decimal


class Digits(float):
    """A JSON number that remembers how it was written."""

    text: str

    def __new__(cls, text: str) -> "Digits":
        made = super().__new__(cls, text)
        made.text = text
        return made


def loads(text: bytes | str) -> dict:
    return json.loads(text, parse_float=Digits, parse_int=lambda text: int(text) if len(text) > 12 else Digits(text))


class WebReader:
    """Levels and orders of one symbol. `problems` says what was wrong."""

    def __init__(self) -> None:
        self.levels: dict[str, dict[Decimal, tuple[str, str]]] = {"bids": {}, "asks": {}}
        self.orders: dict[str, list[dict]] = {"bids": [], "asks": []}
        self.trades: list[int] = []
        self.problems: list[str] = []
        self._numbers: dict[str, int] = {}

    def take(self, text: bytes | str) -> None:
        """One message."""
        message = loads(text)
        channel, kind = message.get("channel"), message.get("type")
        if channel in ("book", "level3"):
            (data,) = message["data"]
            self._count(channel, kind, int(data["sequence"]))
            getattr(self, f"_{channel}")(kind, data)
            if self._crc(channel) != int(data["checksum"]):
                self.problems.append(f"checksum of {channel} {data['sequence']}")
        elif channel == "trade":
            self._count(channel, kind, int(message["sequence"]))
            self.trades += [int(trade["trade_id"]) for trade in message["data"]]

    def _count(self, channel: str, kind: str, number: int) -> None:
        before = self._numbers.get(channel)
        if kind == "update" and before != number - 1:
            self.problems.append(f"{channel} goes from {before} to {number}")
        self._numbers[channel] = number

    def _book(self, kind: str, data: dict) -> None:
        for side, levels in self.levels.items():
            if kind == "snapshot":
                levels.clear()
            for level in data[side]:
                price, quantity = level["price"].text, level["qty"].text
                if Decimal(quantity):
                    levels[Decimal(price)] = (price, quantity)
                elif levels.pop(Decimal(price), None) is None:
                    self.problems.append(f"a level that is not there goes: {level}")

    def _level3(self, kind: str, data: dict) -> None:
        for side, orders in self.orders.items():
            if kind == "snapshot":
                orders[:] = data[side]
                continue
            for order in data[side]:
                known = next((one for one in orders if one["order_id"] == order["order_id"]), None)
                if (order["event"] == "add") != (known is None):
                    self.problems.append(f"{order} after {known}")
                elif known is None:
                    orders.append(order)
                elif order["event"] == "modify":
                    known["order_qty"] = order["order_qty"]
                else:
                    orders.remove(known)

    def _crc(self, channel: str) -> int:
        text = ""
        for side, sign in (("asks", 1), ("bids", -1)):
            if channel == "book":
                best = sorted(self.levels[side].items(), key=lambda item: item[0] * sign)[:10]
                pairs = [pair for _price, pair in best]
            else:
                prices = sorted(
                    {Decimal(one["limit_price"].text) for one in self.orders[side]}, key=lambda one: one * sign
                )
                pairs = [
                    (one["limit_price"].text, one["order_qty"].text)
                    for price in prices[:10]
                    for one in self.orders[side]
                    if Decimal(one["limit_price"].text) == price
                ]
            text += "".join(part.replace(".", "").lstrip("0") for pair in pairs for part in pair)
        return zlib.crc32(text.encode())
