"""The matching machine: price-time priority, one book for each instrument, and nobody overtakes.

    COMMANDS  --> machine: pending runs --decided--> instruments --> books --> RESULTS
    DECISIONS -->     |                                 ^
                      +--spill--> backlog: one queue an instrument

`machine` holds what waits for credit and decides when it is handled; `backlog` does the same for each
instrument apart, when something is stuck; `instruments` says which books a command concerns; `terms`
says which orders are valid; `book` trades.
"""

from engines.matching.machine import Matching

__all__ = ["Matching"]
