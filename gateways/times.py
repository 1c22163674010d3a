"""ns since the epoch as text: UTCTimestamps of FIX (20261127-09:30:00.250), ISO 8601 (2026-11-27T09:30:00.250000Z)."""

import re
import time
from datetime import date
from functools import lru_cache
from typing import Final

_TEXT: Final = re.compile(r"(\d{8})-([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d{1,9}))?", re.ASCII)
_EPOCH: Final = date(1970, 1, 1).toordinal()
NO_TIME: Final = -1


@lru_cache(256)
def utc_ns(text: str) -> int:
    """ns since the epoch; NO_TIME where it is no UTCTimestamp."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return NO_TIME
    day, hour, minute, second, fraction = found.groups()
    days = _days(day)
    if days < 0:
        return NO_TIME
    seconds = days * 86400 + int(hour) * 3600 + int(minute) * 60 + int(second)
    return seconds * 1_000_000_000 + (int(fraction.ljust(9, "0")) if fraction else 0)


def utc_text(time_ns: int) -> str:
    """The UTCTimestamp of a time, in milliseconds."""
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    return f"{_second_text(seconds)}.{rest_ns // 1_000_000:03d}"


def iso_text(time_ns: int) -> str:
    """The time in ISO 8601, in microseconds."""
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    return f"{_iso_second(seconds)}.{rest_ns // 1000:06d}Z"


@lru_cache(16)
def _days(text: str) -> int:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])).toordinal() - _EPOCH
    except ValueError:
        return -1


@lru_cache(256)
def _second_text(seconds: int) -> str:
    return time.strftime("%Y%m%d-%H:%M:%S", time.gmtime(seconds))


@lru_cache(256)
def _iso_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
