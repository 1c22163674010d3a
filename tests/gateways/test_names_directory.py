"""Names and decimal text of clients and instruments."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import messages as m
from gateways.names import (
    Directory,
    Instrument,
    NotDecimalError,
    NotMultipleError,
    NotPositiveError,
    TooLargeError,
    UnknownNameError,
    decimal_parts,
    decimal_text,
)

BTC = Instrument(1, "BTC-USD", "USD", tick=1, tick_decimals=2, lot=1, lot_decimals=8)

instruments = st.builds(
    Instrument,
    instrument_id=st.just(1),
    symbol=st.just("X"),
    currency=st.just("USD"),
    tick=st.integers(1, 10**6),
    tick_decimals=st.integers(0, 18),
    lot=st.integers(1, 10**6),
    lot_decimals=st.integers(0, 18),
)


@given(instruments, st.integers(1, m.INT_MAX))
def test_a_price_reads_back_as_the_ticks_that_it_was_written_from(instrument: Instrument, ticks: int):
    """ticks(price_text(n)) == n, and the text is the exact decimal value."""
    text = instrument.price_text(ticks)

    value = Decimal(ticks * instrument.tick).scaleb(-instrument.tick_decimals)
    assert (instrument.ticks(text), Decimal(text)) == (ticks, value)


@given(instruments, st.integers(1, m.INT_MAX), st.integers(0, 5))
def test_zeros_behind_a_quantity_change_nothing(instrument: Instrument, lots: int, zeros: int):
    """A quantity may be written with more decimals than the lot has, if they are zeros."""
    text = instrument.quantity_text(lots)
    padded = f"{text}{'' if '.' in text else '.0'}{'0' * zeros}"

    assert instrument.lots(padded) == lots


@given(st.integers(-(10**30), 10**30), st.integers(0, 18))
def test_decimal_parts_have_the_value_of_the_text(amount: int, decimals: int):
    """decimal_parts reads exactly, and leaves no trailing zero behind the point."""
    text = decimal_text(amount, decimals)
    if abs(Decimal(text)) > m.INT_MAX // 10**18:
        return
    parts = decimal_parts(text)

    assert Decimal(parts[0]).scaleb(-parts[1]) == Decimal(text)
    assert parts[1] == 0 or parts[0] % 10


def test_prices_have_the_decimals_of_the_tick():
    """78318 is written as 78318.00 where the tick is 0.01."""
    assert (BTC.price_text(7831800), BTC.quantity_text(150_000_000)) == ("78318.00", "1.50000000")


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".5", "1e5", "+1", " 1", "1_0", "--1", "-", "0x1", "²", "nan", "1.2.3"]
)
def test_what_is_not_a_plain_decimal_is_refused(text: str):
    """Only digits with at most one point inside are a number."""
    with pytest.raises(NotDecimalError, match="expected a decimal number"):
        BTC.ticks(text)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("0", NotPositiveError, "expected a positive number, got '0'"),
        ("-1.5", NotPositiveError, "got '-1.5'"),
        ("78318.005", NotMultipleError, "expected a multiple of the tick 0.01 of BTC-USD, got '78318.005'"),
        ("92233720368547758.08", TooLargeError, "expected at most 9223372036854775807 ticks"),
        ("9" * 65, TooLargeError, "at most 64 digits"),
    ],
)
def test_a_price_that_cannot_be_is_refused_with_the_reason(text: str, error: type[Exception], says: str):
    """Zero, negative, off the grid and beyond 63 bits are different errors, all ValueErrors."""
    with pytest.raises(error, match=says) as caught:
        BTC.ticks(text)
    assert isinstance(caught.value, ValueError)


def test_the_directory_knows_what_the_stream_has_told():
    """Clients come from DECISIONS, instruments from RESULTS; a later InstrumentSet moves the band."""
    names = Directory()
    names.apply(m.DECISIONS, [m.CreditDecisions(1, 1), m.ClientRegistered(1, 7, "C1")])
    names.apply(m.RESULTS, [m.InstrumentSet(2, 3, "BTC-USD", "USD", 1, 2, 1, 8, 0, 0), m.OrderAccepted(9)])
    names.apply(m.RESULTS, [m.InstrumentSet(4, 3, "BTC-USD", "USD", 1, 2, 1, 8, 5, 9)])

    assert (names.client_id("C1"), names.client_name(7), names.symbol(3)) == (7, "C1", "BTC-USD")
    assert names.instrument("BTC-USD").band_high == 9


def test_an_unknown_name_is_named():
    """What is not known is an error that lists what is."""
    with pytest.raises(UnknownNameError, match=r"known symbol \(BTC-USD\), got 'ETH-USD'"):
        Directory([BTC]).instrument("ETH-USD")
