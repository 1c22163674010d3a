"""Who comes and goes at a gateway: told by its pure part to its shell, for the log."""

from enum import Enum
from typing import Literal

import msgspec


class What(Enum):
    """What has happened: how it is called, what it is worth, how many of it are told at once before it is too many."""

    LOGGED_ON = ("logged on", "info", 50)
    LOGGED_OFF = ("logged off", "info", 50)
    REFUSED = ("logon refused", "warning", 1)
    MALFORMED = ("malformed frame", "warning", 1)
    SLOW = ("slow reader cut off", "warning", 10)
    STRANGER = ("stranger cut off", "warning", 1)
    WRONG_KEY = ("request refused", "warning", 1)
    DEFECT = ("defect of the gateway", "error", 10)

    def __init__(self, event: str, level: Literal["debug", "info", "warning", "error"], at_once: int) -> None:
        self.event = event
        self.level = level
        self.at_once = at_once


class News(msgspec.Struct, frozen=True):
    """One piece: about which client or comp id, and why. Never a password, nor anything else that was sent."""

    what: What
    who: str = ""
    why: str = ""
    connection: int = 0
    traceback: str = ""
