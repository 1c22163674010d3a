"""The CRC32 by which a reader knows that its book is the venue's.

    asks, best first, then bids, best first: price and quantity of each, without the point and without leading zeros

By level, the best TOP of each side; by order (level 3), all orders of the best TOP prices in the order of their queues,
so it proves priority as well.
"""

import zlib
from collections.abc import Iterable
from typing import Final

TOP: Final = 10

Pair = tuple[str, str]
"""Price and quantity, as the feed writes them."""


def checksum(asks: Iterable[Pair], bids: Iterable[Pair]) -> int:
    """Of the best of both sides, as far as they are given."""
    text = "".join([_digits(price) + _digits(quantity) for side in (asks, bids) for price, quantity in side])
    return zlib.crc32(text.encode())


def _digits(number: str) -> str:
    return number.replace(".", "").lstrip("0")
