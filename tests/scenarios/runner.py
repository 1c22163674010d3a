"""Plays a transcript: commands, and what each of them must lead to.

    # the law, why it can go wrong, and where it was seen
    group a b c
    elect a
    propose a x
    deliver a->b
    ----
    a -> b: Append after 1/1 commit 1: 2/1
    ...

A command stands at the beginning of a line; the lines between `----` and the next empty line are what it must
print. Nothing happens by itself: messages wait until they are delivered, entries and ballots until `persist`
where a node is told to `hold` its disk. Invariants are checked all along, whatever the transcript expects (see
`stage`). With REWRITE=1 in the environment the expectations are written anew, to be read and judged.

    group a b c [learners d]     nodes, and learners that stay ones     log a 1 1 2      its entries, by term, at first
    term a 3                     the term that it has heard of
    elect a                      time a out until it campaigns, and deliver what follows, to all who are up
    tick a MS / pass MS          let time pass at a node / at all       live MS          ... delivering everything
    propose a x                  an entry with one message              read a           ask for the committed index
    deliver a->b [N]             the first, or all, messages waiting    drop a->b        lose all that wait
    again a->b                   deliver a copy of the last delivered   settle           deliver all until all is quiet
    hold a / persist a           keep writes of a back / let them be durable
    crash a / restart a          what was not durable is gone          blank a          its disk is an empty one
    lose a N [UNKNOWN]           its log ends at N, and it is suspect up to where it ended, or further
    cut a b / heal               no messages between them any more      full a / room a  its disk is full / has room,
                                                                                         also to forget a suspicion
    transfer a b [TERM]          hand over, as asked for in that term   add a d / remove a d / promote a d / replace a d
    swap a->b                    in the opposite order                  damage a->b      flip a bit of an entry
    burst a N                    N proposals                            count a->b       how many messages wait
    state [a]                    what a node is                         log a            its entries as index/term
    claim a->b N [ROUNDS]        let an answer say what is false        delay a->b       the first goes to the end
    stop a / wake a              its process stands still              gone a b         a sees b's connection close
    messages                     what waits                             contact a        when it last heard of a quorum

    process p [of s]             a pen that speaks as sender s          offer p a 1 2..4 its batches to a, in one frame
    submit p a 1 2..4            the same, and a makes an entry         turn a           one entry of all that waits
    forge p a 2 HOW              damaged, empty, channel=N, previous=N  noise a          a frame that is no batch
    opens p a [N]                OpenSession, of the next incarnation   asks p a         p goes on from what a tells
    position a s                 what a tells of a sender               stream a         what a has published
    client g [of s] a b c        a real sender that knows these nodes   starts g         it opens a session
    sends g N                    it submits N batches                   waits g MS       its time passes
    posts g [lost|unheard]       what it says goes to its node          reads g a        it reads what a has published

    noon                         all wall clocks are right              wall a MS        a's wall clock is so far off
    stamp a                      an entry now, and its time             clock a          what a reports of its clock
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.scenarios.clocks import Clocks
from tests.scenarios.consensus import Post, Setting, Wishes
from tests.scenarios.senders import Senders
from tests.scenarios.stage import Stage


class Player:
    """Carries out one transcript's commands."""

    def __init__(self) -> None:
        self._stage = Stage()
        senders = Senders(self._stage)
        self._speakers = [Setting(self._stage), Wishes(self._stage), Post(self._stage), senders]
        self._speakers.append(Clocks(self._stage, senders))

    def do(self, line: str) -> list[str]:
        """One command; what it prints."""
        command, *words = line.split()
        self._stage.told = []
        self._find(command)(*words)
        return self._stage.told

    def _find(self, command: str) -> Callable[..., None]:
        name = "pass_" if command == "pass" else command
        found = [getattr(speaker, name) for speaker in self._speakers if hasattr(speaker, name)]
        assert len(found) == 1, f"{command} is a word of {len(found)} vocabularies"
        return found[0]


def play(text: str) -> str:
    """The transcript as it went: the same text, with what was printed in place of what was expected."""
    player, out = Player(), []
    for block in _blocks(text):
        out += block.head
        if block.command:
            told = player.do(block.command)
            out += ["----", *told, ""] if told else []
    return "\n".join(out).rstrip() + "\n"


@dataclass
class _Block:
    head: list[str]
    command: str = ""


def _blocks(text: str) -> Iterator[_Block]:
    """Comments as they are; each command with its expectation taken off."""
    expected = False
    for line in text.splitlines():
        if expected:
            expected = bool(line.strip())
        elif line == "----":
            expected = True
        elif line.startswith("#") or not line.strip():
            yield _Block([line])
        else:
            yield _Block([line], line)
