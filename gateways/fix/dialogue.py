"""What a FIX session and the order session have to say to each other, whether or not somebody is connected.

         log_on              LoggedOn                leave               its orders are canceled, where it wants that
    off --------> asking -------------> logged on ---------> leaving ---------------------------------------> forgotten
                   |  ^                  |                     ^
          refused: |  +------ fetch -----+   cancel_for -------+  for one who was logged on when a process ended
          it ends  v          old reports are wanted

Rules
- Each FIX session is one client of the order session, which numbers and bounds its commands and gives it its reports in
  log order, old ones too. Nothing of that is done again here.
- A report is sent once, under the next number, with its place in the log in the store. Who logs on again gets those
  behind the last place; who asks for old numbers gets the same reports, from the log.
- Old reports are had by logging on once more, from an earlier place. What comes before the last answer comes again
  behind it, so it is passed over.
- A drop copy is a client that nobody is: all reports are its, and it has no commands.
"""

from collections.abc import Callable
from typing import Final

from engines import messages as m
from gateways import events as e
from gateways.fix import translate
from gateways.fix.door import Door
from gateways.fix.session import Session, State
from gateways.fix.store import NOWHERE
from gateways.order import protocol as p
from gateways.order.copies import CopyAll
from gateways.order.session import Session as OrderSession

_REFUSALS: Final = (p.LoggedOff, p.Expected, p.Busy, p.Reject)


class Dialogue:
    """Of all doors; `logged_on` and `forget` tell who holds them that one is, and that one is not needed any more."""

    def __init__(self, orders: OrderSession, logged_on: Callable[[Door], None], forget: Callable[[Door], None]) -> None:
        self._orders = orders
        self._tell_logged_on = logged_on
        self._forget = forget

    # --- what a session says ----------------------------------------------------------------------

    def submit(self, door: Door, *messages: p.Frame | m.Message | CopyAll) -> None:
        """Hand messages to the order session."""
        self._orders.hear(door.link, messages)

    def log_on(self, door: Door) -> None:
        """Find the client; the Logon is answered when that is done."""
        self._ask(door, self._last_seen(door))

    def cancel_for(self, door: Door) -> None:
        """Log on for somebody who is not connected, to cancel its orders."""
        self._ask(door, p.LATEST)

    def fetch(self, door: Door) -> None:
        """Ask for the reports that are to be sent again."""
        session = door.session
        if session is None or session.state is not State.ACTIVE or session.awaits == NOWHERE:
            door.fetched = NOWHERE
        elif door.fetched == NOWHERE or session.awaits < door.fetched:
            door.fetched = session.awaits
            self._ask(door, max(0, session.awaits.sequence - 1))

    def leave(self, door: Door) -> None:
        """Log off: where all orders are to be canceled then, when they are. Call it again now and then."""
        door.is_leaving = True
        if not door.party.cancel_on_disconnect:
            self._log_off(door)
        elif door.cancel_number:
            self.submit(door, p.Heartbeat())  # where it is not logged on any longer, it hears that
        elif self._orders.room(door.client_id) > 0:
            door.cancel_number = self._orders.next_number(door.client_id)
            self.submit(door, m.CancelAll(door.client_id, door.cancel_number, door.client_id, 0))

    def _ask(self, door: Door, last_seen: int) -> None:
        """Log on at the order session, or once more: all reports behind a place follow its answer."""
        door.asked += 1
        party = door.party
        self.submit(door, CopyAll(party.comp_id, last_seen) if party.drop_copy else p.Logon(party.client, last_seen))

    def _last_seen(self, door: Door) -> int:
        """What came before needs not come again; nothing at all, where a session begins."""
        if not door.store.has_started:
            return p.LATEST
        return min(max(0, door.store.place.sequence - 1), self._orders.position)

    def _log_off(self, door: Door) -> None:
        door.store.knows(door.cancel_number)
        self.submit(door, p.Logoff(door.client_id))
        door.client_id = door.cancel_number = 0
        door.is_leaving = False
        door.store.log_on(on=False)
        self._forget(door)

    # --- what it hears ----------------------------------------------------------------------------

    def hear(self, door: Door, message: object) -> None:
        """What the order session says to a client."""
        if isinstance(message, e.Event):
            self._report(door, message)
        elif isinstance(message, p.LoggedOn):
            self._logged_on(door, message)
        elif isinstance(message, p.LoggedOff) and message.reason == p.LogoffReason.REQUESTED:
            return
        elif isinstance(message, p.LoggedOff) and door.is_leaving:
            door.asked = door.cancel_number = 0  # it was not taken: log on once more, for that alone
            self._ask(door, p.LATEST)
        elif isinstance(message, p.LoggedOff) and door.session is None:
            self._forget(door)  # whose connection is gone as well
        elif isinstance(message, _REFUSALS) and door.session is not None:
            door.asked = 0  # no answer comes any more
            door.session.log_out(getattr(message, "text", "") or f"the venue says {type(message).__name__}")

    def _logged_on(self, door: Door, told: p.LoggedOn) -> None:
        session = door.session
        door.start_over()
        door.asked -= 1
        if door.asked:
            return
        door.client_id = told.client_id
        if session is None:  # its connection is gone, or an earlier process ended while it was logged on
            self.leave(door)
        elif session.state is State.LOGGING_ON:
            self._accept(door, session, told)
        else:
            self.fetch(door)

    def _accept(self, door: Door, session: Session, told: p.LoggedOn) -> None:
        if not door.store.has_started:
            door.store.start(told.position)
        else:
            door.has_doubts = told.last_number > door.store.last_command
        door.store.rewind(told.last_number)
        door.store.log_on(on=True)
        session.accept()
        if session.state is State.ACTIVE:
            self._tell_logged_on(door)
        self.fetch(door)

    def _report(self, door: Door, event: e.Event) -> None:
        place, index = door.place_of(event)
        session = door.session
        if door.cancel_number and event.number == door.cancel_number:
            self._log_off(door)
        if session is None or session.state is not State.ACTIVE or door.asked:
            return
        awaited = session.awaits
        while awaited is not NOWHERE and awaited < place:
            session.pass_over()
            awaited = session.awaits
        is_awaited = awaited == place
        if not is_awaited and place <= door.store.place:
            return
        made = (translate.copy if door.party.drop_copy else translate.report)(event, index, self._orders.names)
        if is_awaited:
            session.send_again(*made) if made is not None else session.pass_over()
            if session.awaits == NOWHERE:
                door.fetched = NOWHERE
        elif made is not None:
            session.send(*made, place)
