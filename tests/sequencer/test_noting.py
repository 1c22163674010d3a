"""What a command that changes a running venue does before it acts: the command itself, and the venue, are made up."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import pytest
import typer
from typer.testing import CliRunner

from gateways.venue import create
from sequencer import noting
from sequencer.__main__ import prepared
from sequencer.command_line import DEFAULT_DATA, DataDir
from sequencer.config import Config
from sequencer.errors import ConfigError, IslandError, UnnotedError, UnreachableError
from sequencer.noting import REASON_CHARS_MAX, noted, noted_remedy

ME: Final = f"{noting._user()}@{socket.gethostname()}"


class House:
    """An application with a command of each kind, on a venue that takes notes, or does not."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        create(directory, 1)
        self.directory = directory
        self.said: list[Any] = []
        self.fails: Exception | None = None
        monkeypatch.setattr(noting, "can_ask_nodes", lambda _config: True)
        monkeypatch.setattr(noting, "members", lambda _config: None)
        monkeypatch.setattr(noting, "_write", lambda: self.write)
        self.app = typer.Typer()
        group = typer.Typer()
        self.app.add_typer(group, name="group")
        self.app.command("ask")(lambda: None)
        group.command("change")(noted(self._command()))
        group.command("mend")(noted_remedy(self._command()))
        group.command("explain")(noted(self._with_reason()))

    def write(self, config: Config, *words: str, patience_s: float) -> int:
        """The note, as the log would have it."""
        if self.fails is not None:
            raise self.fails
        assert (config.data_dir, patience_s > 0) == (self.directory, True)
        self.said.append(words)
        return len(self.said)

    def _command(self) -> Callable[..., None]:
        def command(
            name: str,
            data: DataDir = DEFAULT_DATA,
            of: Annotated[list[str] | None, typer.Option()] = None,
            out: Annotated[Path | None, typer.Option()] = None,
            learner: Annotated[bool, typer.Option("--learner")] = False,
            count: Annotated[int, typer.Option()] = 0,
        ) -> None:
            """Do it."""
            self.said.append(("done", name, data, of, out, learner, count))

        return command

    def _with_reason(self) -> Callable[..., None]:
        def command(reason: Annotated[str, typer.Option(help="Why.")], data: DataDir = DEFAULT_DATA) -> None:
            """Do it, for a reason."""
            self.said.append(("done", reason, data))

        return command

    def run(self, *words: str) -> Any:
        """Run a command; what was said meanwhile is in `said`."""
        return CliRunner().invoke(self.app, ["group", *words, "--data", str(self.directory)])


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path / "v", monkeypatch)


@pytest.mark.parametrize("kind", ["change", "mend"])
def test_it_is_noted_and_then_done(house: House, kind: str):
    """Once: who, its words, what it was called with, why; what was left out is not told."""
    assert house.run(kind, "node-4", "--of", "a", "--of", "b", "--reason", "ticket 1").exit_code == 0

    note, done = house.said
    assert note == (ME, f"group {kind}", '{"name":"node-4","of":["a","b"],"learner":false,"count":0}', "ticket 1")
    assert done == ("done", "node-4", house.directory, ["a", "b"], None, False, 0)


def test_without_a_reason_none_is_written(house: House):
    """An empty one stands in the log."""
    assert house.run("change", "node-4").exit_code == 0

    assert house.said[0][-1] == ""


def test_a_command_with_a_reason_of_its_own_has_it_noted(house: House):
    """It is asked for once, and the command has it as well."""
    assert house.run("explain", "--reason", "ticket 2").exit_code == 0
    assert house.said == [(ME, "group explain", "{}", "ticket 2"), ("done", "ticket 2", house.directory)]
    assert house.run("explain").exit_code == 2


REFUSED: Final = (UnreachableError("nobody leads"), IslandError("not-permitted"), ConfigError("admin.key is missing"))


@pytest.mark.parametrize("error", REFUSED, ids=str)
def test_what_cannot_be_noted_is_not_done(house: House, error: Exception):
    """The error says that nothing was done, and why."""
    house.fails = error
    done = house.run("change", "node-4")

    assert house.said == []
    assert isinstance(done.exception, UnnotedError)
    assert str(done.exception).startswith("nothing was done: ")
    assert str(done.exception).endswith(str(error))


@pytest.mark.parametrize("error", REFUSED, ids=str)
def test_a_remedy_is_done_in_any_case(house: House, error: Exception, capsys: pytest.CaptureFixture[str]):
    """And it is said that no log tells of it, and why."""
    house.fails = error
    done = house.run("mend", "node-4")

    assert (done.exit_code, [words[0] for words in house.said]) == (0, ["done"])
    assert f"warning: this does not stand in the log: {error}" in done.output + capsys.readouterr().err


@pytest.mark.parametrize("kind", ["change", "mend"])
@pytest.mark.parametrize("reason", ["x" * (REASON_CHARS_MAX + 1), "two\nlines", "\x1b[2J", "\udcff"], ids=ascii)
def test_a_reason_that_could_not_be_shown_is_refused(house: House, kind: str, reason: str):
    """Before anything is written or done: it stands in the log for ever, and is printed to terminals."""
    done = house.run(kind, "node-4", "--reason", reason)

    assert isinstance(done.exception, ConfigError)
    assert house.said == []


def test_a_name_that_is_no_text_can_be_noted(house: House):
    """The note says it as well as it can."""
    assert house.run("change", "\udcff").exit_code == 0

    assert house.said[0][2].startswith('{"name":"?"')


def test_a_venue_that_does_not_run_takes_no_notes(house: House, monkeypatch: pytest.MonkeyPatch):
    """That is said without waiting for anybody."""
    monkeypatch.setattr(noting, "can_ask_nodes", lambda _config: False)
    done = house.run("change", "node-4")

    assert "the venue does not run" in str(done.exception)
    assert house.said == []


# --- which commands -------------------------------------------------------------------------------

UNNOTED: Final = {
    "ask, and change nothing": """
        status health logs sessions log-info log-verify log-dump log-tail members-list leader-show keys-list
        generate-prometheus generate-grafana replicas top snapshot-list snapshot-verify digest poison-list poison-show
        poison-reproduce poison-impact poison-locate poison-skipped trace explain-divergence actions credit prove lint
        book export trade-show api-key-list flow-generate flow-bitstamp flow-fetch
    """,
    "are processes, each with a name and a key of its own": "node replayer attach gateway",
    "make a venue, or start and stop its processes on this host": "init up down",
    "work on files of who does not run, or runs on with what it has": "log-repair certificate",
    "trade: what they send stands in the log": "flow-send flow-demo",
}
"""Why commands are not noted, and which. A new command is either here or `noted`."""
REMEDIES: Final = "restart keys-init keys-issue keys-revoke api-key-issue api-key-revoke snapshot-discard"


def commands(group: Any, *words: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *words, name)
        else:
            yield "-".join((*words, name)), command


def all_commands() -> dict[str, Any]:
    return dict(commands(typer.main.get_command(prepared())))


def test_every_command_is_noted_or_there_is_a_word_why_not():
    """None is both, and none is neither."""
    found = all_commands()
    marked = {words for words, command in found.items() if hasattr(command.callback, "is_noted")}
    excused = {words for listed in UNNOTED.values() for words in listed.split()}

    assert marked.isdisjoint(excused)
    assert marked | excused == set(found)
    assert set(REMEDIES.split()) <= marked


def test_who_is_noted_can_say_why():
    """Each has --reason, and the example of its help shows it."""
    noted_ones = {words: one for words, one in all_commands().items() if hasattr(one.callback, "is_noted")}
    options = {words: {param.name for param in one.params} for words, one in noted_ones.items()}

    assert [words for words, names in options.items() if not {"reason", "data"} <= names] == []
    assert [words for words, one in noted_ones.items() if "--reason" not in one.epilog] == []
