"""ns since the epoch as text: UTCTimestamps of FIX (20261127-09:30:00.250), ISO 8601 (2026-11-27T09:30:00.250000Z)."""

import re
import time
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

_TEXT: Final = re.compile(r"(\d{8})-([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d{1,9}))?", re.ASCII)
_RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH: Final = date(1970, 1, 1).toordinal()
_EPOCH_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
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


def rfc3339_ns(text: str) -> int | None:
    """An RFC 3339 date as ns since the epoch, None where it is not one."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{zone.upper()}")
    except ValueError:
        return None
    return (moment - _EPOCH_TIME) // timedelta(seconds=1) * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


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
