"""What cannot start says why in one line on stderr, exits with an error, and leaves nothing running."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sequencer.config import FILE_NAME
from sequencer.process import running
from tests.integration.conftest import Traded
from tests.models.running import Running, complaint, make, sequencer


def up(data_dir: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return sequencer("up", "--data", str(data_dir), *words)


def edit(data_dir: Path, before: str, after: str) -> None:
    path = data_dir / FILE_NAME
    text = path.read_text()
    assert before in text, text
    path.write_text(text.replace(before, after, 1))


def test_a_data_directory_that_cannot_be_made(tmp_path: Path):
    """The line names the file that could not be written, and what to choose."""
    (tmp_path / "file").touch()
    said = complaint(up(tmp_path / "file" / "v"), 2)

    assert f"cannot write {tmp_path}/file/v" in said
    assert "choose" in said


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A venue on a file system that takes no writes, not even root's."""
    data_dir = tmp_path / "v"
    data_dir.mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(data_dir)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    make(data_dir)
    subprocess.run(["mount", "-o", "remount,ro", str(data_dir)], check=True)
    yield data_dir
    subprocess.run(["umount", str(data_dir)], check=True)


@pytest.mark.parametrize("words", [["up"], ["up", "--detach"], ["node", "node-1"]], ids=" ".join)
def test_a_data_directory_that_takes_no_writes(words: list[str], read_only: Path):
    """The line names what could not be written."""
    said = complaint(sequencer(*words, "--data", str(read_only)), 2)

    assert f"cannot write {read_only}" in said


@pytest.mark.parametrize("door", ["order", "marketdata"])
def test_a_port_in_use(door: str, tmp_path: Path):
    """`up` names the endpoint and its key, and stops what it had started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with Running(make(tmp_path / "v")):
            edit(tmp_path / "v", f'"ipc://run/{door}"', f'"{endpoint}"')
            done = up(tmp_path / "v")
            left = running(tmp_path / "v")

    assert f"cannot listen on {endpoint} (endpoints.{door}): another program listens there" in done.stderr
    assert (done.returncode, left, "Traceback" in done.stderr) == (1, {}, False)


def test_a_configuration_with_an_unknown_key(tmp_path: Path):
    """The line names the file, the place and the key."""
    make(tmp_path / "v")
    edit(tmp_path / "v", "[journal]\n", "[journal]\nsegment_byte = 7\n")
    said = complaint(up(tmp_path / "v"), 2)

    assert str(tmp_path / "v" / FILE_NAME) in said
    assert "segment_byte" in said
    assert "journal" in said


@pytest.mark.parametrize(("nodes", "expected"), [("2", "expected 1, 3, 5, got 2"), ("0", "got 0"), ("-1", "got -1")])
def test_a_number_of_nodes_that_cannot_be(nodes: str, expected: str, tmp_path: Path):
    """The line says which can, and nothing is made."""
    said = complaint(up(tmp_path / "v", "--nodes", nodes), 2)

    assert expected in said
    assert not (tmp_path / "v").exists()


def test_another_number_of_nodes_than_the_venue_has(tmp_path: Path):
    """The line says both numbers, and what to do."""
    make(tmp_path / "v")

    assert "has 1 nodes, --nodes asks for 3: leave --nodes out" in complaint(up(tmp_path / "v", "--nodes", "3"), 2)


@pytest.mark.parametrize(
    "words", [["up"], ["up", "--detach"], ["node", "node-1"], ["replayer", "node-1"]], ids=" ".join
)
def test_what_runs_already_is_not_started_again(words: list[str], traded: Traded):
    """The line tells the pid of who runs, and the running venue does not notice."""
    before = traded.venue.pids
    said = complaint(traded.venue.run(*words))

    assert "runs already (pid " in said
    assert traded.venue.pids == before
