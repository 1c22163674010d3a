"""What a process tells of itself: lines that can be read, that are bounded, and of which none is lost."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.venue import create
from sequencer.client import StopSignal
from sequencer.config import LOG_LEVELS, Config
from sequencer.errors import ConfigError, IslandError
from sequencer.logfile import LogFile, log_path, older, open_to_append
from sequencer.logs import Log, level_of, lifetime
from sequencer.reading_logs import merged
from tests.models.logfmt import Kept, parsed


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def log(kept: Kept) -> Log:
    return Log("n", "debug", kept)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=100))
def test_whatever_a_value_is_the_line_is_one_and_can_be_read(value: str):
    """Its fields are found again, the value too, but for what cannot be printed; and nothing else is made of it."""
    kept = Kept()
    Log("n", "info", kept).info("happened", value=value, number=7)
    [line] = kept.lines
    fields = parsed(line)

    assert line.replace("\n", "").isprintable()
    assert list(fields) == ["time", "level", "process", "event", "value", "number"]
    if value.isprintable():
        assert fields["value"] == value


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_a_level_leaves_out_what_is_worth_less(level: str, kept: Kept):
    """Those of its own worth and above are written."""
    log = Log("n", level, kept)
    for each in LOG_LEVELS:
        getattr(log, each)(each)

    assert kept.events == list(LOG_LEVELS[LOG_LEVELS.index(level) :])


def test_a_traceback_is_a_value_of_its_line(log: Log, kept: Kept):
    """So the line of the error has all of it; what ends a process unexpectedly is told like this."""
    with pytest.raises(ZeroDivisionError), lifetime(log, "node"):
        1 / 0  # noqa: B018
    [_started, failed] = map(parsed, kept.lines)

    assert (failed["level"], failed["event"]) == ("error", "process failed")
    assert failed["traceback"].startswith("Traceback (most recent call last):\n  File ")
    assert failed["traceback"].endswith("\nZeroDivisionError: division by zero")


def test_an_error_of_the_world_needs_no_traceback(log: Log, kept: Kept):
    """What it says is enough."""
    with pytest.raises(IslandError), lifetime(log, "node"):
        raise IslandError("the port is taken")

    assert "traceback" not in parsed(kept.lines[-1])
    assert parsed(kept.lines[-1])["error"] == "the port is taken"


def test_a_flood_makes_one_line_a_second(log: Log, kept: Kept, monkeypatch: pytest.MonkeyPatch):
    """Of each kind, after a few at once; what was left out is counted, also at the end."""
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    for step in range(10_000):
        now_s = step / 1000
        log.seldom("warning", "malformed frame")
        log.seldom("info", "logged on", at_once=5)
    written = kept.events
    log.tend(is_ending=True)
    left_out = dict.fromkeys(written, 0)
    for fields in map(parsed, kept.lines):
        left_out[fields.get("what", fields["event"])] += int(fields.get("left_out", fields.get("times", 0)))

    assert [written.count(event) for event in left_out] == [10, 14]
    assert left_out == {event: 10_000 - written.count(event) for event in left_out}


def test_what_was_left_out_is_told_once_the_flood_has_ended(log: Log, kept: Kept, monkeypatch: pytest.MonkeyPatch):
    """Not before, and not again."""
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    for _ in range(3):
        log.seldom("info", "knock")
    log.tend()
    now_s = 2.0
    log.tend()
    log.tend()

    [_first, rest] = map(parsed, kept.lines)
    assert (rest["event"], rest["what"], rest["times"], rest["level"]) == ("left out", "knock", "2", "info")


def test_news_is_what_has_changed(log: Log):
    """Of each thing by itself; the first time, against what is known."""
    asked = [("leader", "", ""), ("leader", "a", ""), ("leader", "a", ""), ("term", 1, 0), ("leader", "", "")]

    assert [log.is_news(*each) for each in asked] == [False, True, False, True, True]


def test_the_environment_overrides_the_level_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One that is none is refused by its name."""
    config = create(tmp_path, 1)
    assert level_of(config) == "info"
    monkeypatch.setenv("SEQUENCER_LOG_LEVEL", "debug")
    assert level_of(config) == "debug"
    monkeypatch.setenv("SEQUENCER_LOG_LEVEL", "loud")
    with pytest.raises(ConfigError, match="SEQUENCER_LOG_LEVEL: expected debug, info, warning, error, got 'loud'"):
        level_of(config)


# --- files ----------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from sequencer.logfile import LogFile
path, bytes_max, name, count = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
file = LogFile(path, bytes_max)
for number in range(count):
    file.write(f"{name} {number} " + "x" * 20)
print(f"{name} has printed its last words", flush=True)
"""


def test_a_file_that_grows_is_set_aside_and_no_line_is_lost(tmp_path: Path):
    """Two processes write one file beside each other; it is set aside once, and both files are their user's alone."""
    path = tmp_path / "logs" / "n.log"
    running = [start_writer(path, 40_000, name, 1000) for name in "ab"]
    assert [process.wait(30) for process in running] == [0, 0]
    texts = [older(path).read_text(), path.read_text()]
    lines = "".join(texts).splitlines()

    assert 40_000 <= len(texts[0]) < 41_000
    for name in "ab":
        own = [line.split()[1] for line in lines if line.startswith(f"{name} ")]
        assert own == [*map(str, range(1000)), "has"]
    assert [each.stat().st_mode & 0o777 for each in (path, older(path), path.parent)] == [0o600, 0o600, 0o700]


def test_only_one_old_file_is_kept(tmp_path: Path):
    """So a log takes no more than twice its size."""
    path = tmp_path / "logs" / "n.log"
    assert start_writer(path, 4096, "a", 2000).wait(30) == 0

    assert sorted(each.name for each in path.parent.iterdir()) == ["n.log", "n.log.1"]
    assert all(each.stat().st_size < 4200 for each in path.parent.iterdir())


def start_writer(path: Path, bytes_max: int, name: str, count: int) -> "subprocess.Popen[bytes]":
    """A process whose outputs lead to this file, as those that the supervisor starts."""
    fd = open_to_append(path)
    try:
        words = [sys.executable, "-c", WRITER, str(path), str(bytes_max), name, str(count)]
        return subprocess.Popen(words, stdout=fd, stderr=fd)
    finally:
        os.close(fd)


def test_outputs_that_lead_elsewhere_are_left_alone(tmp_path: Path):
    """A terminal or a pipe is not bounded, and no file is made."""
    read_fd, write_fd = os.pipe()
    LogFile(tmp_path / "n.log", 10, (write_fd,)).write("a line longer than ten bytes")
    os.close(write_fd)

    assert os.read(read_fd, 100) == b"a line longer than ten bytes\n"
    assert not (tmp_path / "n.log").exists()


def test_a_full_disk_loses_lines_and_tells_how_many(tmp_path: Path):
    """Nobody is stopped by it."""
    full, path = os.open("/dev/full", os.O_WRONLY), tmp_path / "n.log"
    file = LogFile(path, 1000, (full,))
    file.write("first")
    file.write("second")
    os.dup2(open_to_append(path), full)
    file.write("third")
    file.write("fourth")

    assert path.read_text() == "third lines_lost=2\nfourth\n"


# --- all of them ----------------------------------------------------------------------------------


@pytest.fixture
def venue(tmp_path: Path) -> Config:
    """One whose logs were written by hand."""
    config = create(tmp_path, 1)
    put(older(log_path(tmp_path, "node-1")), said(1, "info", "a"), said(4, "warning", "d"))
    put(log_path(tmp_path, "node-1"), "Fatal Python error", said(5, "error", "e"))
    put(log_path(tmp_path, "order-1"), said(2, "info", "b"), said(3, "debug", "c"), said(6, "info", "f"))
    return config


def said(at: int, level: str, event: str) -> str:
    return f"time=2026-11-30T03:00:00.00000{at}Z level={level} process=n event={event}"


def put(path: Path, *lines: str) -> None:
    with os.fdopen(open_to_append(path), "w") as file:
        file.writelines(f"{line}\n" for line in lines)


def events(lines: Iterable[str]) -> str:
    """The last letter of each line."""
    return "".join(line[-1] for line in lines)


def test_logs_are_merged_by_time(venue: Config):
    """Old files first; what is no line of a log keeps its place in its file, whatever the level."""
    assert events(merged(venue)) == "abcdref"
    assert events(merged(venue, level="warning")) == "dre"
    assert events(merged(venue, ["order-1"])) == "bcf"
    assert events(merged(venue, last=2)) == "ef"
    with pytest.raises(ConfigError, match="there is no log of node-7: expected of credit-1, "):
        list(merged(venue, ["node-7"]))


def test_a_log_is_followed_over_its_change_of_files(venue: Config):
    """Every line once, also those that were written to a file just before it was set aside."""
    stop = StopSignal()
    path = log_path(venue.data_dir, "node-1")
    lines = merged(venue, ["node-1"], stop=stop)
    assert events(next(lines) for _ in range(4)) == "adre"
    put(path, said(7, "info", "g"))
    path.rename(older(path))
    put(path, said(8, "info", "h"))
    assert events(next(lines) for _ in range(2)) == "gh"
    stop.set()
    assert list(lines) == []
