"""Real order flow: every order of Bitstamp's BTC/USD market in half an hour, as a flow file.

    wheel --fetch--> orders.csv.gz --lines--> SetInstrument..., SetCredit..., one command a row

The rows (id, timestamp, exchange_timestamp, price, volume, action, direction) are what a venue published;
here they become what its clients may have asked for:

    created  NewOrder, limit, good till canceled: the first 6,512 are the book at the start
    changed  ReplaceOrder with the row's price and volume
    deleted  CancelOrder, also where the order had traded: the venue answers those "too late"

Rules
- One row is one line, in the order of the file. Some rows cancel orders that were never created.
- A price below one tick (bids that a rounding made 0, market sells) is one tick; a volume of zero is one
  lot. Market buys carry the price 999999999 and stay limit orders.
- An order's id picks its instrument and client by CRC-32, so that all of an order's rows meet in one
  book, in every process and every version of Python.
- The data is not ours (GPL-2+): it is fetched from PyPI into a directory of the user's and never copied
  into the tree.
"""

import csv
import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateways.flow.lines import (
    CancelOrder,
    Line,
    NewOrder,
    ReplaceOrder,
    SetCredit,
    SetInstrument,
    SideWord,
    encode,
)
from gateways.flow.spread import place
from sequencer.errors import IslandError

REQUIREMENT: Final = "ob-analytics==0.1.0"
MEMBER: Final = "ob_analytics/_sample_data/orders.csv.gz"
SHA256: Final = "880501e94fb43942b7f98cbc37bab421d72703d85898aae8de5da117bf62cdfc"
FILE_NAME: Final = "bitstamp-btcusd-2026-05-02.csv.gz"
TIMEOUT_S: Final = 120
TICK: Final = "0.01"
LOT: Final = "0.00000001"
CURRENCY: Final = "USD"
CREDIT: Final = "1000000000000"
"""Far above the 1.3 billion that all orders of the file are worth together."""


class FlowUnavailableError(IslandError):
    """The recorded flow is not here and cannot be had; `sequencer flow generate` makes one instead."""


def fetch(directory: Path) -> Path:
    """The path of orders.csv.gz, downloaded into `directory` unless it is there. Raises FlowUnavailableError."""
    path = directory / FILE_NAME
    if path.is_file() and _is_genuine(path.read_bytes()):
        return path
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            _extract(_download(Path(scratch)), Path(scratch, FILE_NAME))
            os.replace(Path(scratch, FILE_NAME), path)
    except OSError as error:
        raise FlowUnavailableError(f"the Bitstamp flow cannot be stored in {directory}: {error}") from error
    return path


def lines(path: Path, *, instruments: int = 1, clients: int = 2) -> Iterator[str]:
    """The flow as JSON lines: instruments and credit first, then a command for each row of the file.

    The clients are C1, C2, ...; the instruments are BTC-USD, BTC-USD-2, ... Raises FlowUnavailableError.
    """
    yield from map(encode, opening(instruments, clients))
    try:
        with gzip.open(path, "rt", encoding="ascii", newline="") as file:
            for row in csv.DictReader(file):
                yield encode(_command(row, instruments, clients))
    except (OSError, EOFError, zlib.error, KeyError, ValueError) as error:
        raise FlowUnavailableError(f"{path} is not the Bitstamp flow, remove it: {error!r}") from error


def opening(instruments: int, clients: int) -> Iterator[Line]:
    """What makes a venue ready for a flow: every instrument, then credit to spare for every client."""
    for ordinal in range(instruments):
        yield SetInstrument(symbol=symbol(ordinal), tick=TICK, lot=LOT, currency=CURRENCY)
    for ordinal in range(clients):
        yield SetCredit(client=client(ordinal), currency=CURRENCY, limit=CREDIT)


def symbol(ordinal: int) -> str:
    """The symbol of an instrument, counted from 0."""
    return f"BTC-USD-{ordinal + 1}" if ordinal else "BTC-USD"


def client(ordinal: int) -> str:
    """The name of a client, counted from 0."""
    return f"C{ordinal + 1}"


def _command(row: dict[str, str], instruments: int, clients: int) -> Line:
    order_id, action = row["id"], row["action"]
    instrument, owner_ordinal = place(order_id, instruments, clients)
    owner, traded = client(owner_ordinal), symbol(instrument)
    if action == "deleted":
        return CancelOrder(client=owner, client_order_id=order_id, symbol=traded)
    price, quantity = _at_least(row["price"], TICK), _at_least(row["volume"], LOT)
    if action == "changed":
        return ReplaceOrder(client=owner, client_order_id=order_id, symbol=traded, price=price, quantity=quantity)
    if action != "created":
        raise ValueError(f"expected created, changed or deleted, got {action!r}")
    return NewOrder(
        client=owner, client_order_id=order_id, symbol=traded, side=_SIDES[row["direction"]],
        price=price, quantity=quantity,
    )  # fmt: skip


def _at_least(text: str, least: str) -> str:
    """A decimal without its exponent; `least` where it is zero."""
    if "e" in text:
        digits, _, exponent = text.partition("e-")
        whole, _, fraction = digits.partition(".")
        text = f"0.{'0' * (int(exponent) - len(whole))}{whole}{fraction}"
    return text if text.strip("0.") else least


def _download(scratch: Path) -> Path:
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--dest", str(scratch), REQUIREMENT,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise FlowUnavailableError(f"{REQUIREMENT} did not arrive from PyPI within {TIMEOUT_S} s") from None
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise FlowUnavailableError(f"{REQUIREMENT} cannot be downloaded from PyPI: {said}")
    return wheels[0]


def _extract(wheel: Path, path: Path) -> None:
    try:
        data = zipfile.ZipFile(wheel).read(MEMBER)
    except (zipfile.BadZipFile, KeyError) as error:
        raise FlowUnavailableError(f"{wheel.name} does not hold {MEMBER}: {error}") from error
    if not _is_genuine(data):
        raise FlowUnavailableError(f"{MEMBER} of {REQUIREMENT} is not the file with SHA-256 {SHA256}")
    path.write_bytes(data)


def _is_genuine(data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == SHA256


_SIDES: Final[dict[str, SideWord]] = {"bid": "buy", "ask": "sell"}
