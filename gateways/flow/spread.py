"""Spreads a flow over many instruments and clients, so that each order keeps its own.

    line --by the CRC-32 of its client order id--> the same line for SYMBOL-k and CLIENT-k

Rules
- All lines of one client_order_id go to one instrument and one client, in every process and any version.
- Lines that are about instruments and accounts are said once for each of the new ones.
- The first instrument and client keep their names; the others are numbered from 2.
"""

import zlib
from collections.abc import Iterable, Iterator

import msgspec

from gateways.flow.lines import AnyLine, Line, LineError, OrderLine, encode, parse


def spread(lines: Iterable[str], instruments: int, clients: int) -> Iterator[str]:
    """The flow over so many times more instruments and clients; a line that is not valid passes as it is."""
    for number, text in enumerate(lines, 1):
        try:
            line = parse(text, number)
        except LineError:
            yield text
            continue
        yield from map(encode, _spread_line(line, instruments, clients))


def place(client_order_id: str, instruments: int, clients: int) -> tuple[int, int]:
    """The ordinals of the instrument and the client that an order goes to."""
    mixed = zlib.crc32(client_order_id.encode())
    return mixed % instruments, mixed // instruments % clients


def _spread_line(line: AnyLine, instruments: int, clients: int) -> Iterator[Line]:
    if isinstance(line, OrderLine):
        instrument, client = place(line.client_order_id, instruments, clients)
        symbol, name = numbered(line.symbol, instrument), numbered(line.client, client)
        yield msgspec.structs.replace(line, symbol=symbol, client=name)
        return
    for in_symbol in _copies(line, "symbol", instruments):
        for for_client in _copies(line, "client", clients):
            yield msgspec.structs.replace(line, **in_symbol, **for_client)


def _copies(line: Line, field: str, count: int) -> list[dict[str, str]]:
    """The changes that make `count` copies of a line; none, where it does not have the field."""
    name = getattr(line, field, None)
    return [{field: numbered(name, ordinal)} for ordinal in range(count)] if name else [{}]


def numbered(name: str, ordinal: int) -> str:
    """The name of the copy with this ordinal, from 0."""
    return f"{name}-{ordinal + 1}" if ordinal else name
