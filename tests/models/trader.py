"""Two clients in two instruments, spoken for straight into the log; and what became of each order."""

from engines import messages as m
from tests.models.running import Stream


class Trader:
    """Two clients and two instruments, spoken for by one gateway; and what became of each order."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.submitter = stream.speak_as("gateway.x")
        self.number = 0
        opening: list[m.Message] = [m.RegisterClient(0, 1, "C1"), m.RegisterClient(0, 2, "C2")]
        opening += [m.SetCredit(0, 2 + client, client, "USD", 10**9, 0) for client in (1, 2)]
        opening += [m.SetInstrument(0, 4 + number, f"I{number}", "USD", 1, 0, 1, 0) for number in (1, 2)]
        self.say(*opening)
        stream.follow(lambda: self._instruments() == 2, "credit can know both instruments")

    def say(self, *commands: m.Message) -> int:
        """Sequence commands as one batch; the position of the first."""
        number = self.submitter.submit(m.COMMANDS, m.ENCODER.encode(list(commands)), len(commands))
        self.stream.settle()
        batches = self.stream.batches(m.COMMANDS)
        return next(batch.first_sequence for batch in batches[::-1] if batch.number == number)

    def order(self, name: str, price: int = 10, *, instrument: int = 1, client: int = 1, side: int = 1) -> m.NewOrder:
        """An order of 5; those whose name says what they do are post-only."""
        self.number += 1
        return m.NewOrder(
            client, self.number, instrument, name, side, price, 5, post_only=name.partition("-")[0] in ("raise", "loop")
        )

    def answer(self, order_id: int) -> m.Message:
        """Wait for the answer to an order."""
        return self.stream.follow(lambda: self.answers().get(order_id), f"{order_id} is answered")

    def _instruments(self) -> int:
        """Credit refuses orders for an instrument that matching has not told it of."""
        results = self.stream.batches(m.RESULTS)
        return sum(isinstance(one, m.InstrumentSet) for batch in results for one in m.decode(m.RESULTS, batch.payload))

    def answers(self) -> dict[int, m.Message]:
        """Every answer so far."""
        return {
            event.order_id: event
            for batch in self.stream.batches(m.RESULTS)
            for event in m.decode(m.RESULTS, batch.payload)
            if isinstance(event, m.OrderAccepted | m.OrderRejected)
        }
