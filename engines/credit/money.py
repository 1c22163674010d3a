"""Exact amounts of money: an integer and a number of decimals, never a fraction and never rounded.

    amount x 10^-decimals

A normalised amount has no trailing zero behind its decimal point, so equal amounts of money are equal
tuples, and what fits 63 bits at all fits them in this form.
"""

from typing import NamedTuple


class Money(NamedTuple):
    """`amount` x 10^-`decimals` of some currency."""

    amount: int
    decimals: int

    def scaled(self, decimals: int) -> int:
        """The same money in units of 10^-decimals, which must be at least as fine as its own."""
        assert decimals >= self.decimals, f"{self} has no exact value with {decimals} decimals"
        return int(self.amount * 10 ** (decimals - self.decimals))


def normalised(amount: int, decimals: int) -> Money:
    """The same money with as few decimals as it can have, 0 at least."""
    while decimals > 0 and amount % 10 == 0:
        amount //= 10
        decimals -= 1
    return Money(amount, decimals)


def added(left: Money, right: Money) -> Money:
    """The exact sum, normalised."""
    decimals = max(left.decimals, right.decimals)
    return normalised(left.scaled(decimals) + right.scaled(decimals), decimals)
