"""Credit: what each client may still spend, decided before its orders reach a book.

`machine` reads and writes the venue's language, `ledger` keeps the accounts, `money` is exact amounts.
"""

from engines.credit.machine import Credit

__all__ = ["Credit"]
