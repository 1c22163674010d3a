"""What the messages that this gateway takes may hold: a data dictionary of a part of FIX 4.4, and the check against it.

Rules
- What is listed is understood, or may be ignored without changing what the sender gets (Account, HandlInst, ...).
  A field that would change that, such as StopPx or MinQty, is not listed: it is refused, never passed over.
- User-defined fields (5000 and more) that are not listed are ignored.
- The first thing that is wrong is told, with the standard's reason.
"""

import re
from collections.abc import Callable
from itertools import chain, pairwise, takewhile
from typing import Final

import msgspec

from gateways.fix import tags as t
from gateways.fix.codec import Fields, Message
from gateways.fix.tags import SessionReject, Type
from gateways.times import NO_TIME, utc_ns

USER_DEFINED: Final = 5000

Check = Callable[[str], object]


class Problem(msgspec.Struct, frozen=True):
    """Why a message is rejected: SessionRejectReason, the tag that it is about (0: none), and words."""

    reason: SessionReject
    tag: int
    text: str


class Kind(msgspec.Struct, frozen=True):
    """One type of message. A group is named by its count; its members begin with the first of their tags."""

    required: tuple[int, ...]
    optional: tuple[int, ...] = ()
    groups: dict[int, tuple[int, ...]] = {}


def _matching(pattern: str) -> Check:
    return re.compile(pattern, re.ASCII).fullmatch


def _is_text(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _is_time(value: str) -> bool:
    return utc_ns(value) != NO_TIME


def _is_data(_value: str) -> bool:
    return True


_INT: Final = _matching(r"-?\d{1,18}")
_COUNT: Final = _matching(r"\d{1,18}")
_DECIMAL: Final = _matching(r"-?(\d+\.?\d*|\.\d+)")
_CHAR: Final = _matching("[!-~]")
_FLAG: Final = _matching("[YN]")

_FORMATS: Final[dict[Check, tuple[int, ...]]] = {
    _is_text: (
        t.ACCOUNT, t.CL_ORD_ID, t.CURRENCY, t.EXEC_INST, t.MSG_TYPE, t.ORDER_ID, t.ORIG_CL_ORD_ID, t.SENDER_COMP_ID,
        t.SENDER_SUB_ID, t.SYMBOL, t.TARGET_COMP_ID, t.TARGET_SUB_ID, t.TEXT, t.TEST_REQ_ID, t.ON_BEHALF_OF_COMP_ID,
        t.ON_BEHALF_OF_SUB_ID, t.DELIVER_TO_COMP_ID, t.DELIVER_TO_SUB_ID, t.MD_REQ_ID, t.SECURITY_REQ_ID,
        t.REF_MSG_TYPE, t.BUSINESS_REJECT_REF_ID, t.USERNAME, t.PASSWORD, t.MASS_STATUS_REQ_ID, t.ORD_STATUS_REQ_ID,
        t.SECURITY_ID, t.SECURITY_ID_SOURCE, t.PARTY_ID, t.SECURITY_EXCHANGE, t.TRADING_SESSION_ID,
        t.SENDER_LOCATION_ID, t.TARGET_LOCATION_ID, t.MESSAGE_ENCODING, t.SECONDARY_CL_ORD_ID,
    ),
    _INT: (
        t.REF_TAG_ID, t.SESSION_REJECT_REASON, t.BUSINESS_REJECT_REASON, t.ENCRYPT_METHOD, t.HEART_BT_INT,
        t.MARKET_DEPTH, t.MD_UPDATE_TYPE, t.PARTY_ROLE, t.ACCOUNT_TYPE, t.MASS_STATUS_REQ_TYPE,
        t.SECURITY_LIST_REQUEST_TYPE,
        t.SELF_TRADE_PREVENTION, t.MAX_MESSAGE_SIZE, t.ACCT_ID_SOURCE,
    ),
    _COUNT: (
        t.BEGIN_SEQ_NO, t.END_SEQ_NO, t.MSG_SEQ_NUM, t.NEW_SEQ_NO, t.REF_SEQ_NUM, t.NO_RELATED_SYM, t.NO_MD_ENTRY_TYPES,
        t.NEXT_EXPECTED_MSG_SEQ_NUM, t.NO_PARTY_IDS, t.RAW_DATA_LENGTH, t.LAST_MSG_SEQ_NUM_PROCESSED,
        t.ENCODED_TEXT_LEN, t.NO_TRADING_SESSIONS,
    ),
    _DECIMAL: (t.ORDER_QTY, t.PRICE),
    _CHAR: (
        t.HANDL_INST, t.ORD_TYPE, t.SIDE, t.TIME_IN_FORCE, t.SUBSCRIPTION_REQUEST_TYPE, t.MD_ENTRY_TYPE,
        t.MASS_CANCEL_REQUEST_TYPE, t.PARTY_ID_SOURCE, t.ORDER_CAPACITY,
    ),
    _FLAG: (t.POSS_DUP_FLAG, t.POSS_RESEND, t.GAP_FILL_FLAG, t.RESET_SEQ_NUM_FLAG, t.AGGREGATED_BOOK, t.TEST_MESSAGE),
    _is_time: (t.SENDING_TIME, t.TRANSACT_TIME, t.ORIG_SENDING_TIME, t.EXPIRE_TIME),
    _is_data: (t.RAW_DATA, t.ENCODED_TEXT),
}  # fmt: skip
_CHECKS: Final[dict[int, Check]] = {tag: check for check, tags in _FORMATS.items() for tag in tags}

_VALUES: Final[dict[int, frozenset[str]]] = {
    t.ENCRYPT_METHOD: frozenset("0"),
    t.HANDL_INST: frozenset("123"),
    t.SIDE: frozenset("12"),
    t.ORD_TYPE: frozenset("12"),
    t.TIME_IN_FORCE: frozenset("01346"),
    t.EXEC_INST: frozenset("6"),
    t.MASS_CANCEL_REQUEST_TYPE: frozenset("17"),
    t.MASS_STATUS_REQ_TYPE: frozenset("12345678"),
    t.SECURITY_LIST_REQUEST_TYPE: frozenset("04"),
    t.SUBSCRIPTION_REQUEST_TYPE: frozenset("012"),
    t.MD_UPDATE_TYPE: frozenset("01"),
    t.MD_ENTRY_TYPE: frozenset("012"),
    t.SELF_TRADE_PREVENTION: frozenset("0123"),
}
"""The values of a field that are understood, where not all are."""

HEADER: Final = frozenset((
    t.MSG_TYPE, t.MSG_SEQ_NUM, t.SENDER_COMP_ID, t.TARGET_COMP_ID, t.SENDING_TIME, t.POSS_DUP_FLAG, t.POSS_RESEND,
    t.ORIG_SENDING_TIME, t.SENDER_SUB_ID, t.TARGET_SUB_ID, t.SENDER_LOCATION_ID, t.TARGET_LOCATION_ID,
    t.ON_BEHALF_OF_COMP_ID, t.ON_BEHALF_OF_SUB_ID, t.DELIVER_TO_COMP_ID, t.DELIVER_TO_SUB_ID, t.MESSAGE_ENCODING,
    t.LAST_MSG_SEQ_NUM_PROCESSED,
))  # fmt: skip
_HEADER_REQUIRED: Final = (t.MSG_SEQ_NUM, t.SENDER_COMP_ID, t.TARGET_COMP_ID, t.SENDING_TIME)

_PARTIES: Final = (t.PARTY_ID, t.PARTY_ID_SOURCE, t.PARTY_ROLE)
_ORDER_EXTRAS: Final = (
    t.ACCOUNT, t.ACCT_ID_SOURCE, t.ACCOUNT_TYPE, t.HANDL_INST, t.CURRENCY, t.TEXT, t.ENCODED_TEXT_LEN, t.ENCODED_TEXT,
    t.SECURITY_ID, t.SECURITY_ID_SOURCE, t.SECURITY_EXCHANGE, t.ORDER_CAPACITY, t.SECONDARY_CL_ORD_ID,
)  # fmt: skip
_ORDER_GROUPS: Final = {t.NO_PARTY_IDS: _PARTIES, t.NO_TRADING_SESSIONS: (t.TRADING_SESSION_ID,)}

_LOGON_EXTRAS: Final = (t.RAW_DATA_LENGTH, t.RAW_DATA, t.MAX_MESSAGE_SIZE, t.TEST_MESSAGE)

KINDS: Final[dict[str, Kind]] = {
    Type.HEARTBEAT: Kind((), (t.TEST_REQ_ID,)),
    Type.TEST_REQUEST: Kind((t.TEST_REQ_ID,)),
    Type.RESEND_REQUEST: Kind((t.BEGIN_SEQ_NO, t.END_SEQ_NO)),
    Type.REJECT: Kind(
        (t.REF_SEQ_NUM,),
        (t.REF_TAG_ID, t.REF_MSG_TYPE, t.SESSION_REJECT_REASON, t.TEXT, t.ENCODED_TEXT_LEN, t.ENCODED_TEXT),
    ),
    Type.SEQUENCE_RESET: Kind((t.NEW_SEQ_NO,), (t.GAP_FILL_FLAG,)),
    Type.LOGOUT: Kind((), (t.TEXT, t.ENCODED_TEXT_LEN, t.ENCODED_TEXT)),
    Type.LOGON: Kind(
        (t.ENCRYPT_METHOD, t.HEART_BT_INT),
        (t.RESET_SEQ_NUM_FLAG, t.NEXT_EXPECTED_MSG_SEQ_NUM, t.USERNAME, t.PASSWORD, *_LOGON_EXTRAS),
    ),
    Type.BUSINESS_MESSAGE_REJECT: Kind(
        (t.REF_MSG_TYPE, t.BUSINESS_REJECT_REASON), (t.REF_SEQ_NUM, t.BUSINESS_REJECT_REF_ID, t.TEXT)
    ),
    Type.NEW_ORDER_SINGLE: Kind(
        (t.CL_ORD_ID, t.SYMBOL, t.SIDE, t.TRANSACT_TIME, t.ORD_TYPE, t.ORDER_QTY),
        (t.PRICE, t.TIME_IN_FORCE, t.EXPIRE_TIME, t.EXEC_INST, t.SELF_TRADE_PREVENTION, *_ORDER_EXTRAS),
        _ORDER_GROUPS,
    ),
    Type.ORDER_CANCEL_REQUEST: Kind(
        (t.ORIG_CL_ORD_ID, t.CL_ORD_ID, t.SYMBOL, t.SIDE, t.TRANSACT_TIME),
        (t.ORDER_ID, t.ORDER_QTY, *_ORDER_EXTRAS),
        _ORDER_GROUPS,
    ),
    Type.ORDER_CANCEL_REPLACE_REQUEST: Kind(
        (t.ORIG_CL_ORD_ID, t.CL_ORD_ID, t.SYMBOL, t.SIDE, t.TRANSACT_TIME, t.ORD_TYPE, t.ORDER_QTY, t.PRICE),
        (t.ORDER_ID, t.TIME_IN_FORCE, *_ORDER_EXTRAS),
        _ORDER_GROUPS,
    ),
    Type.ORDER_MASS_CANCEL_REQUEST: Kind(
        (t.CL_ORD_ID, t.MASS_CANCEL_REQUEST_TYPE, t.TRANSACT_TIME),
        (t.SYMBOL, t.SECURITY_ID, t.SECURITY_ID_SOURCE, t.TEXT),
    ),
    Type.ORDER_STATUS_REQUEST: Kind((t.CL_ORD_ID, t.SYMBOL, t.SIDE), (t.ORDER_ID, t.ORD_STATUS_REQ_ID, t.ACCOUNT)),
    Type.ORDER_MASS_STATUS_REQUEST: Kind((t.MASS_STATUS_REQ_ID, t.MASS_STATUS_REQ_TYPE), (t.SYMBOL, t.SIDE, t.ACCOUNT)),
    Type.SECURITY_LIST_REQUEST: Kind((t.SECURITY_REQ_ID, t.SECURITY_LIST_REQUEST_TYPE), (t.SYMBOL, t.TEXT)),
    Type.MARKET_DATA_REQUEST: Kind(
        (t.MD_REQ_ID, t.SUBSCRIPTION_REQUEST_TYPE, t.MARKET_DEPTH, t.NO_MD_ENTRY_TYPES, t.NO_RELATED_SYM),
        (t.MD_UPDATE_TYPE, t.AGGREGATED_BOOK),
        {
            t.NO_MD_ENTRY_TYPES: (t.MD_ENTRY_TYPE,),
            t.NO_RELATED_SYM: (t.SYMBOL, t.SECURITY_ID, t.SECURITY_ID_SOURCE),
        },
    ),
}
"""Every type that is taken."""


def _accepts(tag: int) -> Check:
    """Whether a field may have this value: not an empty one, and one of those that are listed, if they are."""
    if tag in _VALUES:
        return _VALUES[tag].__contains__
    check = _CHECKS.get(tag, _is_data)
    return lambda value: value and check(value)


_ACCEPTS_IN_HEADER: Final = {tag: _accepts(tag) for tag in HEADER}
_ACCEPTS: Final = {
    name: {tag: _accepts(tag) for tag in (*kind.required, *kind.optional, *kind.groups, *chain(*kind.groups.values()))}
    for name, kind in KINDS.items()
}
_REQUIRED: Final = {name: frozenset((*_HEADER_REQUIRED, *kind.required)) for name, kind in KINDS.items()}
_REPEATING: Final = {name: frozenset(chain(*kind.groups.values())) for name, kind in KINDS.items()}


def problem(message: Message) -> Problem | None:
    """What is wrong with a message of a type that is taken: nothing, mostly."""
    kind = message.type
    accepts, in_body = _ACCEPTS_IN_HEADER, False
    for tag, value in message.fields:
        if not in_body and tag not in accepts:
            accepts, in_body = _ACCEPTS[kind], True
        check = accepts.get(tag)
        if check is None or not check(value):
            found = _field_problem(kind, tag, value)
            if found is not None:
                return found
    if not message.first.keys() >= _REQUIRED[kind]:
        tag = min(_REQUIRED[kind] - message.first.keys())
        return Problem(SessionReject.REQUIRED_TAG_MISSING, tag, f"Required tag missing: {tag}")
    if len(message.first) != len(message.fields):
        return _repeated(kind, message.fields)
    return _counts(kind, message) if KINDS[kind].groups else None


def _field_problem(kind: str, tag: int, value: str) -> Problem | None:
    """Why a field is not accepted; None, where its tag is a user's."""
    if tag in HEADER and value:
        check = _CHECKS.get(tag, _is_data)
        if check(value) and value in _VALUES.get(tag, (value,)):
            text = f"Tag specified out of required order: {tag} is of the header"
            return Problem(SessionReject.OUT_OF_ORDER, tag, text)
    if tag not in HEADER and tag not in _ACCEPTS[kind]:
        return _not_allowed(kind, tag, value) if tag < USER_DEFINED else None
    if not value:
        return Problem(SessionReject.NO_VALUE, tag, f"Tag specified without a value: {tag}")
    if tag in _CHECKS and not _CHECKS[tag](value):
        text = f"Incorrect data format for value of {tag}: {value[:80]!r}"
        return Problem(SessionReject.INCORRECT_FORMAT, tag, text)
    text = f"Value is incorrect for {tag}: expected one of {sorted(_VALUES[tag])}, got {value[:80]}"
    return Problem(SessionReject.INCORRECT_VALUE, tag, text)


def _not_allowed(kind: str, tag: int, value: str) -> Problem:
    if not tag:
        return Problem(SessionReject.INVALID_TAG, 0, f"Invalid tag number: {value[:80]!r}")
    if tag in _CHECKS:
        return Problem(SessionReject.UNDEFINED_FOR_TYPE, tag, f"Tag not defined for this message type: {tag} in {kind}")
    return Problem(SessionReject.UNDEFINED_TAG, tag, f"Undefined tag: {tag} is not supported here")


def _repeated(kind: str, fields: Fields) -> Problem | None:
    seen: set[int] = set()
    for tag, _value in fields:
        if tag in seen and tag not in _REPEATING[kind] and tag < USER_DEFINED:
            return Problem(SessionReject.TAG_REPEATED, tag, f"Tag appears more than once: {tag}")
        seen.add(tag)
    return next(filter(None, (_group(fields, *group) for group in KINDS[kind].groups.items())), None)


def _counts(kind: str, message: Message) -> Problem | None:
    """Groups of one member each, or of none."""
    for count, members in KINDS[kind].groups.items():
        if count in message.first or not message.first.keys().isdisjoint(members):
            return _group(message.fields, count, members)
    return None


def _group(fields: Fields, count: int, members: tuple[int, ...]) -> Problem | None:
    """Whether a group is as its count says, and each of its members in order."""
    tags = [tag for tag, _value in fields]
    start = tags.index(count) + 1 if count in tags else len(tags)
    inside = takewhile(lambda tag: tag in members, tags[start:])
    places = [members.index(tag) for tag in inside]
    strays = sum(tag in members for tag in tags) - len(places)
    if strays or places[:1] not in ([], [0]) or any(0 < later <= one for one, later in pairwise(places)):
        return Problem(SessionReject.GROUP_ORDER, count, f"Repeating group fields out of order: in the group {count}")
    said, found = int(dict(fields).get(count, 0)), places.count(0)
    if said != found:
        text = f"Incorrect NumInGroup count for {count}: it says {said}, there are {found}"
        return Problem(SessionReject.GROUP_COUNT, count, text)
    return None
