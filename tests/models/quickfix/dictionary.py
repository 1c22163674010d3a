"""Writes FIX44.xml, the data dictionary of the FIX test client: the session and trading messages a venue needs.

The quickfix-tls wheel holds no dictionary, so this one is made here: the message tables below are the FIX 4.4
standard's (standard header, trailer, Instrument, Parties and OrderQtyData blocks; no legs, underlyings, financing,
stipulations, yields or allocations), the field names and base types are read from the installed quickfix module.
A tag outside the tables is refused by the engine, as one outside the standard would be: add it here when it is needed.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import quickfix

# Tags in order; "!" marks a required field; "267!(269!)" is a repeating group and its entry; "$NAME" includes a block.
BLOCKS = {
    "INSTRUMENT": "55 65 48 22 454(455 456) 460 461 167 762 200 541 202 947 206 231 223 207 106 107 350 351 691 667",
    "PARTIES": "453(448 447 452 802(523 803))",
    "QUANTITY": "38 152 516 468 469",
    "TEXT": "58 354 355",
    "ORDER": "$PARTIES 229 75 1 660 581 589 590 63 64 21 18 110 111 100 386(336 625) $INSTRUMENT 54! 60! 854 $QUANTITY "
    "40! 423 44 99 376 377 15 59 168 432 126 427 528 529 582 121 $TEXT 77 203 210 211 114",
    "ENTRY": "270 15 271 272 273 274 275 336 625 276 277 282 283 284 286 59 432 126 110 18 287 37 299 288 289 346 290 "
    "546 811",
}
HEADER = "8! 9! 35! 49! 56! 115 128 34! 50 142 57 143 116 144 129 145 43 97 52! 122 212 213 347 369"
TRAILER = "93 89 10!"
MESSAGES = {
    "0": ("Heartbeat", "112"),
    "1": ("TestRequest", "112!"),
    "2": ("ResendRequest", "7! 16!"),
    "3": ("Reject", "45! 371 372 373 $TEXT"),
    "4": ("SequenceReset", "123 36!"),
    "5": ("Logout", "$TEXT"),
    "A": ("Logon", "98! 108! 95 96 141 789 383 384(372 385) 464 553 554"),
    "j": ("BusinessMessageReject", "45 372! 379 380! $TEXT"),
    "D": ("NewOrderSingle", "11! 526 583 $ORDER 81 140 23 117 480"),
    "F": (
        "OrderCancelRequest",
        "41! 37 11! 526 583 66 586 1 660 581 $PARTIES $INSTRUMENT 54! 60! $QUANTITY 376 $TEXT",
    ),
    "G": ("OrderCancelReplaceRequest", "37 41! 11! 526 583 66 586 $ORDER 480"),
    "q": ("OrderMassCancelRequest", "11! 526 530! 336 625 $INSTRUMENT 54 60! $TEXT"),
    "H": ("OrderStatusRequest", "37 11! 526 583 $PARTIES 790 1 660 $INSTRUMENT 54!"),
    "AF": ("OrderMassStatusRequest", "584! 585! $PARTIES 1 660 336 625 $INSTRUMENT 54"),
    "8": (
        "ExecutionReport",
        "37! 198 526 527 11 41 583 693 790 584 911 912 $PARTIES 229 382(375 337 437 438 655) 66 17! 19 150! 39! 636 "
        "103 378 1 660 581 589 590 63 64 $INSTRUMENT 54! 854 $QUANTITY 40 423 44 99 211 15 376 377 59 168 432 126 18 "
        "528 529 582 32 31 669 30 336 625 29 151! 14! 6! 424 425 426 427 75 60 113 12 13 479 497 381 119 120 21 110 "
        "111 77 210 $TEXT 442 480 851 797 136(137 138 139 891)",
    ),
    "9": ("OrderCancelReject", "37! 198 526 11! 583 41! 39! 636 586 66 1 660 581 229 75 60 434! 102 $TEXT"),
    "r": (
        "OrderMassCancelReport",
        "11 526 37! 198 530! 531! 532 533 534(41 535 536) 336 625 $INSTRUMENT 54 60 $TEXT",
    ),
    "x": ("SecurityListRequest", "320! 559! $INSTRUMENT 668 869 15 $TEXT 336 625 263"),
    "y": (
        "SecurityList",
        "320! 322! 560! 393 893 146($INSTRUMENT 668 869 870(871 872) 15 561 562 336 625 827 $TEXT)",
    ),
    "V": (
        "MarketDataRequest",
        "262! 263! 264! 265 266 286 546 547 267!(269!) 146!($INSTRUMENT) 386(336 625) 815 812",
    ),
    "W": ("MarketDataSnapshotFullRefresh", "262 $INSTRUMENT 291 292 451 268!(269! $ENTRY $TEXT) 813 814"),
    "X": (
        "MarketDataIncrementalRefresh",
        "262 268!(279! 285 269 278 280 $INSTRUMENT 291 292 $ENTRY 451 $TEXT) 813 814",
    ),
    "Y": ("MarketDataRequestReject", "262! 281 816(817) $TEXT"),
}
# The values FIX 4.4 allows, of the fields that a test relies upon: the engine refuses any other.
VALUES = {
    21: "1 2 3", 22: "1 2 3 4 5 6 7 8 9 A B C D E F G H I J", 39: "0 1 2 3 4 6 7 8 9 A B C D E",
    40: "1 2 3 4 6 7 8 9 D E G I J K L M P", 54: "1 2 3 4 5 6 7 8 9 A B C D E F G", 59: "0 1 2 3 4 5 6 7",
    98: "0 1 2 3 4 5 6", 102: "0 1 2 3 4 5 6 99", 103: "0 1 2 3 4 5 6 7 8 9 10 11 13 14 15 99",
    150: "0 3 4 5 6 7 8 9 A B C D E F G H I", 263: "0 1 2", 265: "0 1", 269: "0 1 2 3 4 5 6 7 8 9 A B C",
    279: "0 1 2", 281: "0 1 2 3 4 5 6 7 8 9 A B C", 373: "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 99",
    378: "0 1 2 3 4 5 6 7 8 9 10 99", 380: "0 1 2 3 4 5 6 7", 434: "1 2", 528: "A G I P R W", 530: "1 2 3 4 5 6 7",
    531: "0 1 2 3 4 5 6 7", 532: "0 1 2 3 4 5 6 99", 559: "0 1 2 3 4", 560: "0 1 2 3 4 5", 585: "1 2 3 4 5 6 7 8",
    851: "1 2 3",
}  # fmt: skip
LENGTH_OF_DATA = {90: 91, 93: 89, 95: 96, 212: 213, 350: 351, 354: 355}  # length field: the raw data field after it
BASE_TYPES = {
    quickfix.CharField: "CHAR", quickfix.IntField: "INT", quickfix.DoubleField: "FLOAT", quickfix.BoolField: "BOOLEAN",
    quickfix.UtcTimeStampField: "UTCTIMESTAMP", quickfix.UtcDateField: "UTCDATE", quickfix.StringField: "STRING",
    quickfix.UtcTimeOnlyField: "UTCTIMEONLY", quickfix.CheckSumField: "STRING", quickfix.UInt64Field: "INT",
}  # fmt: skip

Member = tuple[int, bool, list["Member"]]


def parse(text: str) -> list[Member]:
    """Reads a table into (tag, required, members of its repeating group)."""
    while "$" in text:
        text = re.sub(r"\$([A-Z_]+)", lambda match: BLOCKS[match[1]], text)
    stack: list[list[Member]] = [[]]
    for tag, required, opening, closing in re.findall(r"(\d+)(!?)(\(?)|(\))", text):
        if closing:
            stack.pop()
            continue
        stack[-1].append((int(tag), bool(required), []))
        if opening:
            stack.append(stack[-1][-1][2])
    return stack[0]


def walk(members: list[Member]) -> Iterator[Member]:
    """Yields every member, those of groups as well."""
    for member in members:
        yield member
        yield from walk(member[2])


def known_fields() -> dict[int, tuple[str, str]]:
    """Maps a tag to its field's name and base type, read from the classes of the quickfix module."""
    fields: dict[int, tuple[str, str]] = {}
    for name, kind in vars(quickfix).items():
        base = kind.__base__ if isinstance(kind, type) else None
        if base in BASE_TYPES and not name.endswith("Field"):
            fields[kind().getTag()] = (name, BASE_TYPES[base])
    return fields


def build() -> ElementTree.Element:
    """Returns the dictionary's document."""
    names = known_fields()
    root = ElementTree.Element("fix", major="4", minor="4")

    def add(parent: ElementTree.Element, members: list[Member]) -> None:
        for tag, required, entries in members:
            kind = "group" if entries else "field"
            child = ElementTree.SubElement(parent, kind, name=names[tag][0], required="Y" if required else "N")
            add(child, entries)

    tables = {key: parse(text) for key, text in (("header", HEADER), ("trailer", TRAILER))}
    bodies = {key: parse(text) for key, (_, text) in MESSAGES.items()}
    for key, members in tables.items():
        add(ElementTree.SubElement(root, key), members)
    messages = ElementTree.SubElement(root, "messages")
    for key, members in bodies.items():
        category = "admin" if key in "012345A" else "app"
        add(ElementTree.SubElement(messages, "message", name=MESSAGES[key][0], msgtype=key, msgcat=category), members)
    ElementTree.SubElement(root, "components")
    fields = ElementTree.SubElement(root, "fields")
    used = [member for table in (*tables.values(), *bodies.values()) for member in walk(table)]
    groups = {tag for tag, _, entries in used if entries}
    for tag in sorted({tag for tag, _, _ in used}):
        name, kind = names[tag]
        if tag in groups:
            kind = "NUMINGROUP"
        elif tag in LENGTH_OF_DATA:
            kind = "LENGTH"
        elif tag in LENGTH_OF_DATA.values():
            kind = "DATA"
        field = ElementTree.SubElement(fields, "field", number=str(tag), name=name, type=kind)
        for value in sorted(MESSAGES) if tag == 35 else VALUES.get(tag, "").split():
            ElementTree.SubElement(field, "value", enum=value, description=value)
    ElementTree.indent(root, " ")
    return root


def write(path: Path) -> None:
    """Writes the document."""
    ElementTree.ElementTree(build()).write(path, encoding="unicode")
