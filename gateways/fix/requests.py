"""What a counterparty asks for once it is logged on: orders, how they stand, instruments, books.

message, in its turn --act--> a command, under the client's next number --> order session
                          \\-> an answer at once, where no command follows from it
"""

from collections.abc import Callable
from typing import Final

from engines import messages as m
from gateways.fix import tags as t
from gateways.fix import translate
from gateways.fix.codec import Message
from gateways.fix.door import Door
from gateways.fix.session import Session
from gateways.fix.tags import Type
from gateways.fix.translate import Asked, RefusedError
from gateways.order.session import Session as OrderSession

OTHER: Final = 0
UNSUPPORTED_TYPE: Final = 3
FIELD_MISSING: Final = 5
NOT_AUTHORIZED: Final = 6
"""BusinessRejectReason (380)."""
OF_A_CLIENT: Final = translate.ORDER_TYPES | {Type.ORDER_STATUS_REQUEST, Type.ORDER_MASS_STATUS_REQUEST}


class Requests:
    """Obeys; `submit` hands a command of a door's client to the order session."""

    def __init__(
        self, orders: OrderSession, submit: Callable[[Door, m.Message], None], utc_ns: Callable[[], int]
    ) -> None:
        self._orders = orders
        self._submit = submit
        self._utc_ns = utc_ns
        self._calls: dict[str, Callable[[Door, Session, Message], None]] = {
            Type.ORDER_STATUS_REQUEST: self._order_status,
            Type.ORDER_MASS_STATUS_REQUEST: self._mass_status,
            Type.SECURITY_LIST_REQUEST: self._security_list,
            Type.MARKET_DATA_REQUEST: self._market_data,
        }

    def act(self, door: Door, session: Session, message: Message) -> None:
        """Take an application message in its turn: everything that follows from it is said or submitted."""
        kind, number = message.type, int(message.get(t.MSG_SEQ_NUM))
        if door.party.drop_copy and kind in OF_A_CLIENT:
            session.took(number)
            why = "this session is a drop copy: it has no client, and enters nothing"
            session.send(*translate.business_reject(message, NOT_AUTHORIZED, why), keep=True)
            return
        if kind in translate.ORDER_TYPES:
            self._order(door, session, message, number)
            return
        session.took(number)
        call = self._calls.get(kind)
        if call is not None:
            call(door, session, message)
        elif kind != Type.BUSINESS_MESSAGE_REJECT:
            answer = translate.business_reject(message, UNSUPPORTED_TYPE, f"Unsupported Message Type: {kind[:16]}")
            session.send(*answer, keep=True)

    def _order(self, door: Door, session: Session, message: Message, number: int) -> None:
        if door.store.was_answered(number):
            session.took(number)
            return
        is_repeat = message.get(t.POSS_DUP_FLAG) == "Y"
        door.has_doubts = door.has_doubts and is_repeat
        if message.get(t.POSS_RESEND) == "Y" or door.has_doubts:
            session.took(number)  # it may have been taken before: nothing is entered
            why = "it may have been taken before: ask how the order stands, and send what is missing as new"
            session.send(*translate.business_reject(message, OTHER, why), keep=True)
            return
        command_number = self._orders.next_number(door.client_id)
        try:
            command = translate.command(message, door.client_id, command_number, self._orders.names)
        except RefusedError as refused:
            session.took(number)
            order = self._orders.live_order(door.client_id, message.get(t.ORIG_CL_ORD_ID))
            session.send(*refused.answer(order), keep=True)
            return
        session.took(number, command_number)
        self._submit(door, command)

    def _order_status(self, door: Door, session: Session, message: Message) -> None:
        wanted = message.get(t.CL_ORD_ID)
        request_id = message.get(t.ORD_STATUS_REQ_ID)
        asked = self._asked(message, ((t.ORD_STATUS_REQ_ID, request_id),) if request_id else ())
        order = self._orders.live_order(door.client_id, wanted)
        if self._orders.is_pending(door.client_id, wanted):
            session.send(*translate.no_status(message, asked, "it has no answer yet", status="A"))
            return
        if order is not None:
            session.send(*translate.status(order, asked, self._orders.names))
            return
        text = "no live order has this ClOrdID: what became of it, its reports have said"
        session.send(*translate.no_status(message, asked, text))

    def _mass_status(self, door: Door, session: Session, message: Message) -> None:
        by, name = message.get(t.MASS_STATUS_REQ_TYPE), message.get(t.MASS_STATUS_REQ_ID)
        if by not in ("1", "7"):
            why = f"MassStatusReqType: expected 1 (of a security) or 7 (all orders), got {by}"
            session.send(*translate.business_reject(message, OTHER, why, name), keep=True)
            return
        if by == "1" and not message.get(t.SYMBOL):
            why = "MassStatusReqType 1 needs a Symbol"
            session.send(*translate.business_reject(message, FIELD_MISSING, why, name), keep=True)
            return
        names = self._orders.names
        found = [one for one in self._orders.live_orders(door.client_id) if translate.is_asked(message, one, names)]
        request: tuple[tuple[int, object], ...] = ((t.MASS_STATUS_REQ_ID, message.get(t.MASS_STATUS_REQ_ID)),)
        if not found:
            asked = self._asked(message, (*request, (t.TOT_NUM_REPORTS, 0), (t.LAST_RPT_REQUESTED, "Y")))
            session.send(*translate.no_status(message, asked, "there are no such live orders"))
        for nth, order in enumerate(found, 1):
            last = "Y" if nth == len(found) else "N"
            asked = self._asked(
                message, (*request, (t.TOT_NUM_REPORTS, len(found)), (t.LAST_RPT_REQUESTED, last)), f"-{nth}"
            )
            session.send(*translate.status(order, asked, names))

    def _asked(self, message: Message, fields: tuple[tuple[int, object], ...], suffix: str = "") -> Asked:
        return Asked(fields, translate.unlogged_id(message) + suffix, self._utc_ns())

    def _security_list(self, _door: Door, session: Session, message: Message) -> None:
        session.send(*translate.security_list(message, self._orders.names, translate.unlogged_id(message)))

    def _market_data(self, door: Door, session: Session, message: Message) -> None:
        reject = door.market.request(message, self._orders.names)
        if reject is not None:
            session.send(*reject, keep=True)
