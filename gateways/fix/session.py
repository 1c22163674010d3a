"""The protocol of one FIX session: numbers, logon and logout, heartbeats, resends, rejects.

    messages --receive--> in order --> application messages, for the door
    send <-- application messages      `out`: bytes for the connection

    connected --Logon--> logging on (the door finds the client) --accept--> active --Logout--> ended
                                                                   |  ^-- Logon that resets numbers
                                                                   |
                              silence: TestRequest, then Logout ---+

Rules
- What comes out of turn is not taken: with a number too high the rest is asked for again, with one too low the session
  ends, unless it is a repeat (PossDupFlag).
- Every number is noted in the store before it counts; see `store`.
- While old messages are sent again, new ones wait behind them: `out` never steps back, and never overtakes.
- It has no clock and no socket: `now_ms` is a monotonic time, `utc_ns` the time of day.
"""

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

import msgspec

from gateways.fix import dictionary
from gateways.fix import tags as t
from gateways.fix.codec import BEGIN, SOH, Message, encode, is_number
from gateways.fix.store import NOWHERE, Place, Sent, Store
from gateways.fix.tags import SESSION_TYPES, SessionReject, Type
from gateways.times import NO_TIME, utc_ns, utc_text

SENDING_TIME_S: Final = 120
LOGON_MS: Final = 10_000
LOGOUT_MS: Final = 2_000
STALL_MS: Final = 2_000
GRACE: Final = 1.2
"""After so many heartbeat intervals of silence the other side is tested."""

Pairs = Sequence[tuple[int, object]]


class State(Enum):
    """Where a session is; it says and hears all of its messages when it is ACTIVE."""

    CONNECTED = "connected"
    LOGGING_ON = "logging on"
    ACTIVE = "active"
    LOGGING_OUT = "logging out"
    ENDED = "ended"


class Terms(msgspec.Struct, frozen=True):
    """What is agreed on with one counterparty."""

    ours: str
    theirs: str
    heartbeat_s_min: int = 1
    heartbeat_s_max: int = 300
    may_reset: bool = True


class Session:
    """One connection of a session; its numbers are in the store, and outlive it.

    `resend` is set to a range of numbers that the door is to send again, with `send_again` and `fill`.
    """

    def __init__(self, terms: Terms, store: Store, utc_ns: Callable[[], int]) -> None:
        self.terms = terms
        self.store = store
        self.state = State.CONNECTED
        self.out: list[bytes] = []
        self.why = ""
        """Why it has ended."""
        self._utc_ns = utc_ns
        self._now_ms = self._heard_ms = self._said_ms = self._since_ms = 0
        self._beat_ms = 30_000
        self._tested = False
        self._asked_to = 0
        """What comes up to this number was asked for again, and need not be once more."""
        self._logon: Message | None = None
        self._resend: deque[Sent] = deque()
        self._gap = 0
        self._held: list[tuple[int, bytes]] = []
        """What waits behind messages that are sent again, with its numbers."""
        self._header = f"49={terms.ours}{SOH}56={terms.theirs}{SOH}"

    def heard(self) -> None:
        """Something came, whether or not it can be taken now."""
        self._heard_ms, self._tested = self._now_ms, False

    @property
    def is_silent(self) -> bool:
        """Whether the other side should have been heard of."""
        return self._now_ms - self._heard_ms > self._beat_ms * GRACE

    # --- what comes -------------------------------------------------------------------------------

    def receive(self, message: Message) -> list[Message]:
        """Take one message; the application messages that are to be acted on now: one, or none."""
        self.heard()
        if self.state is State.CONNECTED:
            if not self._is_refused(message):
                self._on_logon(message)
            return []
        if self.state is State.ENDED or self._is_refused(message):
            return []
        if self.state is State.LOGGING_ON:
            return []  # they should wait for our answer; what they say is asked for again
        number = int(message.get(t.MSG_SEQ_NUM))
        kind = message.type
        if kind == Type.LOGON and _resets(message) and message.get(t.POSS_DUP_FLAG) != "Y":
            if self._agrees(message):
                self.accept()
            return []
        if kind == Type.SEQUENCE_RESET and message.get(t.GAP_FILL_FLAG, "N") == "N":
            self._on_reset(message)
            return []
        if number != self.store.next_in:
            self._out_of_turn(message, number)
            return []
        if message.get(t.POSS_DUP_FLAG) == "Y" and not self._says_when(message):
            self.took(number)
            return []
        if kind in SESSION_TYPES:
            self._on_session_message(message, number)
            return []
        if problem := self._problem(message):
            self.took(number)
            self.reject(message, problem)
            return []
        return [message]

    def took(self, number: int, command: int = 0) -> None:
        """The message of this number was acted on, and became this command of the client, or none."""
        self.store.took(number, command)

    def lost(self) -> None:
        """The connection is gone."""
        if self.state is not State.ENDED:
            self._end("the connection was lost")

    def _is_refused(self, message: Message) -> bool:
        """Whether a message is not of this session, or not in its time: then the session ends."""
        if message.begin != BEGIN:
            self.log_out(f"Incorrect BeginString: expected {BEGIN}, got {message.begin}")
        elif not is_number(message.get(t.MSG_SEQ_NUM)):
            self.log_out("MsgSeqNum (34) is missing or no number")
        elif (message.get(t.SENDER_COMP_ID), message.get(t.TARGET_COMP_ID)) != (self.terms.theirs, self.terms.ours):
            self._refuse(message, SessionReject.COMP_ID, t.SENDER_COMP_ID, "CompID problem")
        elif not self._is_timely(message):
            self._refuse(message, SessionReject.SENDING_TIME, t.SENDING_TIME, "SendingTime accuracy problem")
        is_farewell = message.type == Type.LOGOUT and is_number(message.get(t.MSG_SEQ_NUM))
        return self.state is State.ENDED or (self.state is State.LOGGING_OUT and not is_farewell)

    def _is_timely(self, message: Message) -> bool:
        sent_ns = utc_ns(message.get(t.SENDING_TIME))
        return sent_ns == NO_TIME or abs(sent_ns - self._utc_ns()) <= SENDING_TIME_S * 1_000_000_000

    def _refuse(self, message: Message, reason: SessionReject, tag: int, text: str) -> None:
        if self.state is State.CONNECTED:
            self._end(text)
            return
        self.reject(message, dictionary.Problem(reason, tag, text))
        self.log_out(text)

    def _problem(self, message: Message) -> dictionary.Problem | None:
        if message.type not in dictionary.KINDS:
            return None  # the door answers with a business reject
        return dictionary.problem(message)

    def _out_of_turn(self, message: Message, number: int) -> None:
        expected = self.store.next_in
        if number < expected:
            if message.get(t.POSS_DUP_FLAG) == "Y":
                self._says_when(message)
            else:
                self.log_out(f"MsgSeqNum too low, expecting {expected} but received {number}")
        elif message.type == Type.LOGOUT:
            self._on_logout()
        else:
            if message.type == Type.RESEND_REQUEST and dictionary.problem(message) is None:
                self._on_resend_request(message)
            self._ask_again(number)

    def _says_when(self, message: Message) -> bool:
        """Whether a repeat says when it was sent first, and that this was before; or it is rejected."""
        if message.type == Type.SEQUENCE_RESET:
            return True
        first_ns, again_ns = utc_ns(message.get(t.ORIG_SENDING_TIME)), utc_ns(message.get(t.SENDING_TIME))
        if first_ns == NO_TIME:
            text = f"Required tag missing: {t.ORIG_SENDING_TIME}"
            self.reject(message, dictionary.Problem(SessionReject.REQUIRED_TAG_MISSING, t.ORIG_SENDING_TIME, text))
        elif first_ns > again_ns:
            self._refuse(message, SessionReject.SENDING_TIME, t.ORIG_SENDING_TIME, "SendingTime accuracy problem")
        return NO_TIME != first_ns <= again_ns

    def _ask_again(self, number: int) -> None:
        if self.store.next_in > self._asked_to:
            self._asked_to = number
            self.send(Type.RESEND_REQUEST, [(t.BEGIN_SEQ_NO, self.store.next_in), (t.END_SEQ_NO, 0)])

    # --- the session's own messages ---------------------------------------------------------------

    def _on_session_message(self, message: Message, number: int) -> None:
        problem = dictionary.problem(message)
        if problem is not None:
            self.took(number)
            if message.type != Type.REJECT:  # they would go on for ever
                self.reject(message, problem)
            return
        kind = message.type
        if kind == Type.SEQUENCE_RESET:
            self._on_gap_fill(message, number)
            return
        self.took(number)
        if kind == Type.TEST_REQUEST:
            self.send(Type.HEARTBEAT, [(t.TEST_REQ_ID, message.get(t.TEST_REQ_ID))])
        elif kind == Type.RESEND_REQUEST:
            self._on_resend_request(message)
        elif kind == Type.LOGOUT:
            self._on_logout()
        elif kind == Type.LOGON:
            self.reject(message, dictionary.Problem(SessionReject.INVALID_TYPE, t.MSG_TYPE, "already logged on"))

    def _on_logon(self, message: Message) -> None:
        if message.type != Type.LOGON:
            self._end("the first message is not a Logon")
            return
        if self._agrees(message):
            self.state, self._since_ms = State.LOGGING_ON, self._now_ms

    def _agrees(self, message: Message) -> bool:
        """Whether a Logon can be agreed to; if not, the session ends."""
        problem = dictionary.problem(message)
        if problem is not None:
            self.log_out(problem.text)
            return False
        heartbeat_s = int(message.get(t.HEART_BT_INT))
        low, high = self.terms.heartbeat_s_min, self.terms.heartbeat_s_max
        if not low <= heartbeat_s <= high:
            self.log_out(f"HeartBtInt: expected {low} to {high} s, got {heartbeat_s}")
        elif _resets(message) and not self.terms.may_reset:
            self.log_out("ResetSeqNumFlag: this session is not reset")
        elif _resets(message) and message.get(t.MSG_SEQ_NUM) != "1":
            self.log_out("ResetSeqNumFlag: the Logon has to have the MsgSeqNum 1")
        else:
            self._beat_ms = heartbeat_s * 1000
            self._logon = message
            return True
        return False

    def accept(self) -> None:
        """Answer the Logon: the door has found the client and rewound the store, or the session goes on from 1."""
        message = self._logon
        assert message is not None, self.state
        resets = _resets(message)
        if resets:
            self.store.reset()
            self._asked_to = 0
        number, expected = int(message.get(t.MSG_SEQ_NUM)), self.store.next_in
        if number < expected:
            self.log_out(f"MsgSeqNum too low, expecting {expected} but received {number}")
            return
        wanted = message.get(t.NEXT_EXPECTED_MSG_SEQ_NUM)
        unsent = self.store.next_out
        if wanted and not 0 < int(wanted) <= unsent:
            self.log_out(f"NextExpectedMsgSeqNum: the next is {unsent}, and {wanted} is expected")
            return
        if number == expected:
            self.took(number)
        self.state = State.ACTIVE
        answer: list[tuple[int, object]] = [(t.ENCRYPT_METHOD, 0), (t.HEART_BT_INT, self._beat_ms // 1000)]
        if resets:
            answer.append((t.RESET_SEQ_NUM_FLAG, "Y"))
        if wanted:
            answer.append((t.NEXT_EXPECTED_MSG_SEQ_NUM, self.store.next_in))
        self.send(Type.LOGON, answer)
        if wanted and int(wanted) < unsent:
            self._resend_range(int(wanted), unsent - 1)
        if number > expected and not wanted:
            self._ask_again(number)

    def _on_logout(self) -> None:
        if self.state is State.LOGGING_OUT:
            self._end("logged out")
        else:
            self.out.append(self._made(Type.LOGOUT, [], NOWHERE, keep=False))
            self._end("logged out by the client")

    def _on_gap_fill(self, message: Message, number: int) -> None:
        new = int(message.get(t.NEW_SEQ_NO))
        if new <= number:
            self.took(number)
            text = f"Value is incorrect for {t.NEW_SEQ_NO}: expected more than {number}, got {new}"
            self.reject(message, dictionary.Problem(SessionReject.INCORRECT_VALUE, t.NEW_SEQ_NO, text))
        else:
            self.store.skip_in(new)

    def _on_reset(self, message: Message) -> None:
        """SequenceReset-Reset: its own number does not count."""
        problem = dictionary.problem(message)
        new, expected = message.get(t.NEW_SEQ_NO), self.store.next_in
        if problem is None and int(new) < expected:
            text = f"Value is incorrect for {t.NEW_SEQ_NO}: expected {expected} or more, got {new}"
            problem = dictionary.Problem(SessionReject.INCORRECT_VALUE, t.NEW_SEQ_NO, text)
        if problem is not None:
            self.reject(message, problem)
        elif int(new) > expected:
            self.store.skip_in(int(new))

    # --- sending again ----------------------------------------------------------------------------

    def _on_resend_request(self, message: Message) -> None:
        begin, end = int(message.get(t.BEGIN_SEQ_NO)), int(message.get(t.END_SEQ_NO))
        last = self.store.next_out - 1
        if not begin or (end and end < begin):
            text = f"Value is incorrect for {t.BEGIN_SEQ_NO}: expected 1 to EndSeqNo, got {begin} to {end}"
            self.reject(message, dictionary.Problem(SessionReject.INCORRECT_VALUE, t.BEGIN_SEQ_NO, text))
        elif begin <= last:
            self._resend_range(begin, min(end or last, last))

    def _resend_range(self, begin: int, end: int) -> None:
        if self._resend:  # what is not repeated yet is asked for once more
            begin, end = min(begin, self._resend[0].number), max(end, self._resend[-1].number)
        if self._held:  # it comes behind in any case, for the first time
            end = min(end, self._held[0][0] - 1)
        rows = self.store.sent(begin, end)
        known = rows[0].number if rows else end + 1
        self._gap = begin
        self._resend = deque(rows)
        if known > begin:  # of before the last reset, or the start of this file
            self._fill(known)
        self._go_on()

    @property
    def awaits(self) -> Place:
        """The report that is to be sent again next; NOWHERE if none."""
        return self._resend[0].place if self._resend else NOWHERE

    def send_again(self, kind: str, fields: Pairs) -> None:
        """Send the report at `awaits` again; fields of another form than the first time are not noticed."""
        self._again(self._resend.popleft(), kind, fields)
        self._go_on()

    def pass_over(self) -> None:
        """The report at `awaits` is not to be had: a gap."""
        row = self._resend.popleft()
        if not self._resend:
            self._fill(row.number + 1)
        self._go_on()

    def _go_on(self) -> None:
        """Up to the next report that has to be fetched: repeat texts, and fill gaps over messages of the session."""
        while self._resend and not self._resend[0].place.sequence:
            row = self._resend.popleft()
            if row.text:
                kind, _, text = row.text.partition(SOH)
                self._again(row, kind, _pairs(text))
            if not self._resend:
                self._fill(row.number + 1)
        if not self._resend:
            self._fill(self._gap)
            self.out += [data for _number, data in self._held]
            self._held = []

    def _again(self, row: Sent, kind: str, fields: Pairs) -> None:
        self._fill(row.number)
        first = utc_text(row.time_ns)
        header = f"34={row.number}{SOH}43=Y{SOH}{self._header}52={utc_text(self._utc_ns())}{SOH}122={first}{SOH}"
        self.out.append(encode(kind, header, fields))
        self._gap = row.number + 1

    def _fill(self, number: int) -> None:
        """Fill what is open up to a number, and go on there."""
        if number > self._gap:
            now = utc_text(self._utc_ns())
            header = f"34={self._gap}{SOH}43=Y{SOH}{self._header}52={now}{SOH}122={now}{SOH}"
            self.out.append(encode(Type.SEQUENCE_RESET, header, [(t.GAP_FILL_FLAG, "Y"), (t.NEW_SEQ_NO, number)]))
            self._gap = number

    # --- sending ----------------------------------------------------------------------------------

    def send(self, kind: str, fields: Pairs, place: Place = NOWHERE, *, keep: bool = False) -> None:
        """Send a message with the next number: a report with its place in the log; `keep` what is nowhere else.

        It waits behind what is sent again, but for signs of life: old reports can take their time.
        """
        data = self._made(kind, fields, place, keep=keep)
        if self._resend and kind not in (Type.HEARTBEAT, Type.TEST_REQUEST):
            self._held.append((self.store.next_out - 1, data))
        else:
            self.out.append(data)
            self._said_ms = self._now_ms

    def take_out(self) -> bytes:
        """What is to be sent now."""
        data = b"".join(self.out)
        self.out.clear()
        return data

    def _made(self, kind: str, fields: Pairs, place: Place, *, keep: bool) -> bytes:
        """A message with the next number, which is noted."""
        time_ns = self._utc_ns()
        text = f"{kind}{SOH}" + "".join([f"{tag}={value}{SOH}" for tag, value in fields]) if keep else ""
        number = self.store.sends(time_ns, place, text)
        return encode(kind, f"34={number}{SOH}{self._header}52={utc_text(time_ns)}{SOH}", fields)

    def reject(self, message: Message, problem: dictionary.Problem) -> None:
        """A session reject."""
        fields: list[tuple[int, object]] = [(t.REF_SEQ_NUM, message.get(t.MSG_SEQ_NUM))]
        if problem.tag:
            fields.append((t.REF_TAG_ID, problem.tag))
        fields += [
            (t.REF_MSG_TYPE, message.type),
            (t.SESSION_REJECT_REASON, int(problem.reason)),
            (t.TEXT, problem.text),
        ]
        self.send(Type.REJECT, fields)

    def log_out(self, text: str) -> None:
        """Say why, and end: at once before the logon was answered, else when the other side has heard it."""
        answered = self.state in (State.ACTIVE, State.LOGGING_OUT)
        if self.state in (State.ENDED, State.LOGGING_OUT):
            return
        self._resend.clear()
        self._held = []
        self.why = text
        self.out.append(self._made(Type.LOGOUT, [(t.TEXT, text)], NOWHERE, keep=False))
        self.state, self._since_ms = (State.LOGGING_OUT if answered else State.ENDED), self._now_ms

    def _end(self, why: str) -> None:
        self.state, self.why = State.ENDED, self.why or why

    # --- time -------------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Let time pass (monotonic): call it a few times a second, and before anything else."""
        if now_ms - self._now_ms > STALL_MS:  # this process stood still: what came meanwhile is not read yet
            self._heard_ms += now_ms - self._now_ms
        self._now_ms = now_ms
        if self.state is State.ACTIVE:
            self._watch()
        elif self.state is State.LOGGING_OUT and now_ms - self._since_ms > LOGOUT_MS:
            self._end("the logout was not answered")
        elif self.state is State.LOGGING_ON and now_ms - self._since_ms > LOGON_MS:
            self.log_out("the venue does not answer: try again")

    def begin(self, now_ms: int) -> None:
        """The connection was made now."""
        self._now_ms = self._heard_ms = self._said_ms = self._since_ms = now_ms

    def _watch(self) -> None:
        silent_ms = self._now_ms - self._heard_ms
        if silent_ms > self._beat_ms * GRACE * 2:
            self.log_out("nothing was heard, and a TestRequest was not answered")
        elif silent_ms > self._beat_ms * GRACE and not self._tested:
            self._tested = True
            self.send(Type.TEST_REQUEST, [(t.TEST_REQ_ID, f"T{self._now_ms}")])
        elif self._now_ms - self._said_ms >= self._beat_ms:
            self.send(Type.HEARTBEAT, [])


def _resets(message: Message) -> bool:
    return message.get(t.RESET_SEQ_NUM_FLAG) == "Y"


def _pairs(text: str) -> list[tuple[int, object]]:
    made: list[tuple[int, object]] = []
    for part in text.split(SOH)[:-1]:
        tag, _, value = part.partition("=")
        made.append((int(tag), value))
    return made
