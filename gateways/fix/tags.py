"""Numbers of FIX 4.4: fields, message types, and the codes that this gateway says."""

from enum import IntEnum, StrEnum
from typing import Final

# --- fields -----------------------------------------------------------------------------------

ACCOUNT: Final = 1
AVG_PX: Final = 6
BEGIN_SEQ_NO: Final = 7
BEGIN_STRING: Final = 8
BODY_LENGTH: Final = 9
CHECK_SUM: Final = 10
CL_ORD_ID: Final = 11
CUM_QTY: Final = 14
CURRENCY: Final = 15
END_SEQ_NO: Final = 16
EXEC_ID: Final = 17
EXEC_INST: Final = 18
EXEC_REF_ID: Final = 19
HANDL_INST: Final = 21
SECURITY_ID_SOURCE: Final = 22
LAST_PX: Final = 31
LAST_QTY: Final = 32
MSG_SEQ_NUM: Final = 34
MSG_TYPE: Final = 35
NEW_SEQ_NO: Final = 36
ORDER_ID: Final = 37
ORDER_QTY: Final = 38
ORD_STATUS: Final = 39
ORD_TYPE: Final = 40
ORIG_CL_ORD_ID: Final = 41
POSS_DUP_FLAG: Final = 43
PRICE: Final = 44
REF_SEQ_NUM: Final = 45
SECURITY_ID: Final = 48
SENDER_COMP_ID: Final = 49
SENDER_SUB_ID: Final = 50
SENDING_TIME: Final = 52
SIDE: Final = 54
SYMBOL: Final = 55
TARGET_COMP_ID: Final = 56
TARGET_SUB_ID: Final = 57
TEXT: Final = 58
TIME_IN_FORCE: Final = 59
TRANSACT_TIME: Final = 60
RAW_DATA_LENGTH: Final = 95
RAW_DATA: Final = 96
POSS_RESEND: Final = 97
ENCRYPT_METHOD: Final = 98
CXL_REJ_REASON: Final = 102
ORD_REJ_REASON: Final = 103
HEART_BT_INT: Final = 108
TEST_REQ_ID: Final = 112
ON_BEHALF_OF_COMP_ID: Final = 115
ON_BEHALF_OF_SUB_ID: Final = 116
ORIG_SENDING_TIME: Final = 122
GAP_FILL_FLAG: Final = 123
EXPIRE_TIME: Final = 126
DELIVER_TO_COMP_ID: Final = 128
DELIVER_TO_SUB_ID: Final = 129
RESET_SEQ_NUM_FLAG: Final = 141
SENDER_LOCATION_ID: Final = 142
TARGET_LOCATION_ID: Final = 143
NO_RELATED_SYM: Final = 146
EXEC_TYPE: Final = 150
LEAVES_QTY: Final = 151
SECURITY_EXCHANGE: Final = 207
MD_REQ_ID: Final = 262
SUBSCRIPTION_REQUEST_TYPE: Final = 263
MARKET_DEPTH: Final = 264
MD_UPDATE_TYPE: Final = 265
AGGREGATED_BOOK: Final = 266
NO_MD_ENTRY_TYPES: Final = 267
NO_MD_ENTRIES: Final = 268
MD_ENTRY_TYPE: Final = 269
MD_ENTRY_PX: Final = 270
MD_ENTRY_SIZE: Final = 271
MD_ENTRY_TIME: Final = 273
MD_UPDATE_ACTION: Final = 279
MD_REQ_REJ_REASON: Final = 281
SECURITY_REQ_ID: Final = 320
NUMBER_OF_ORDERS: Final = 346
SECURITY_RESPONSE_ID: Final = 322
TRADING_SESSION_ID: Final = 336
MESSAGE_ENCODING: Final = 347
ENCODED_TEXT_LEN: Final = 354
ENCODED_TEXT: Final = 355
LAST_MSG_SEQ_NUM_PROCESSED: Final = 369
REF_TAG_ID: Final = 371
REF_MSG_TYPE: Final = 372
SESSION_REJECT_REASON: Final = 373
BUSINESS_REJECT_REF_ID: Final = 379
BUSINESS_REJECT_REASON: Final = 380
MAX_MESSAGE_SIZE: Final = 383
NO_TRADING_SESSIONS: Final = 386
TOT_NO_RELATED_SYM: Final = 393
CXL_REJ_RESPONSE_TO: Final = 434
PARTY_ID_SOURCE: Final = 447
PARTY_ID: Final = 448
PARTY_ROLE: Final = 452
NO_PARTY_IDS: Final = 453
TEST_MESSAGE: Final = 464
SECONDARY_CL_ORD_ID: Final = 526
ORDER_CAPACITY: Final = 528
MASS_CANCEL_REQUEST_TYPE: Final = 530
MASS_CANCEL_RESPONSE: Final = 531
MASS_CANCEL_REJECT_REASON: Final = 532
TOTAL_AFFECTED_ORDERS: Final = 533
USERNAME: Final = 553
PASSWORD: Final = 554
SECURITY_LIST_REQUEST_TYPE: Final = 559
SECURITY_REQUEST_RESULT: Final = 560
ROUND_LOT: Final = 561
ACCOUNT_TYPE: Final = 581
MASS_STATUS_REQ_ID: Final = 584
MASS_STATUS_REQ_TYPE: Final = 585
ACCT_ID_SOURCE: Final = 660
NEXT_EXPECTED_MSG_SEQ_NUM: Final = 789
ORD_STATUS_REQ_ID: Final = 790
COPY_MSG_INDICATOR: Final = 797
TOT_NUM_REPORTS: Final = 911
LAST_LIQUIDITY_IND: Final = 851
LAST_RPT_REQUESTED: Final = 912
SELF_TRADE_PREVENTION: Final = 7928
"""A field of our own, as other venues have it under this number: 1 cancel newest, 2 oldest, 3 both."""

DATA_OF_LENGTH: Final = {90: 91, 93: 89, 95: 96, 212: 213, 348: 349, 350: 351, 352: 353, 354: 355}
"""Fields that tell the length of the one that follows."""

# --- messages and codes -----------------------------------------------------------------------


class Type(StrEnum):
    """MsgType (35)."""

    HEARTBEAT = "0"
    TEST_REQUEST = "1"
    RESEND_REQUEST = "2"
    REJECT = "3"
    SEQUENCE_RESET = "4"
    LOGOUT = "5"
    EXECUTION_REPORT = "8"
    ORDER_CANCEL_REJECT = "9"
    LOGON = "A"
    NEW_ORDER_SINGLE = "D"
    ORDER_CANCEL_REQUEST = "F"
    ORDER_CANCEL_REPLACE_REQUEST = "G"
    ORDER_STATUS_REQUEST = "H"
    BUSINESS_MESSAGE_REJECT = "j"
    ORDER_MASS_CANCEL_REQUEST = "q"
    ORDER_MASS_CANCEL_REPORT = "r"
    SECURITY_LIST_REQUEST = "x"
    SECURITY_LIST = "y"
    MARKET_DATA_REQUEST = "V"
    MARKET_DATA_SNAPSHOT = "W"
    MARKET_DATA_INCREMENTAL = "X"
    MARKET_DATA_REJECT = "Y"
    ORDER_MASS_STATUS_REQUEST = "AF"


SESSION_TYPES: Final = frozenset("012345A")
"""Heartbeat to Logout, and Logon: those of the session itself."""


class SessionReject(IntEnum):
    """SessionRejectReason (373), with the standard's texts."""

    INVALID_TAG = 0
    REQUIRED_TAG_MISSING = 1
    UNDEFINED_FOR_TYPE = 2
    UNDEFINED_TAG = 3
    NO_VALUE = 4
    INCORRECT_VALUE = 5
    INCORRECT_FORMAT = 6
    COMP_ID = 9
    SENDING_TIME = 10
    INVALID_TYPE = 11
    TAG_REPEATED = 13
    OUT_OF_ORDER = 14
    GROUP_ORDER = 15
    GROUP_COUNT = 16
