"""Wireshark's dissector reads what the gateway says: every message whole, and nothing malformed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from engines import messages as m
from tests.models.fix_stage import Counterparty, Stage

PORT = 20400


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed: apt-get install tshark")
def test_nothing_is_malformed(tmp_path: Path):
    """Of each type that the gateway says, sums and lengths included."""
    stage = Stage(tmp_path / "store")
    stage.island.sequence([m.SetInstrument(0, 0, "I1", "USD", 1, 2, 1, 0)])
    stage.crash()
    ann = Counterparty(stage, "ANN")
    ann.log_on()
    everything(stage, ann)
    assert {one.type for one in ann.heard} >= set("A01234589yrj")

    assert dissected(tmp_path, ann.bytes_heard, "-T", "fields", "-e", "fix.MsgType") == [one.type for one in ann.heard]
    assert dissected(tmp_path, ann.bytes_heard, "-Y", "_ws.malformed || fix.checksum_bad == 1") == []
    harmed = [frame.replace(b"49=ISLAND", b"49=ISLAMD") for frame in ann.bytes_heard]
    assert len(dissected(tmp_path, harmed, "-Y", "fix.checksum_bad == 1")) == len(harmed)


def everything(stage: Stage, ann: Counterparty) -> None:
    """Have the gateway say something of each type."""
    for name in ("a", "a", "b"):
        ann.order(name)
        stage.settle()
    ann.send("G", (41, "b"), (11, "c"), (55, "I1"), (54, 1), (60, ann._time), (40, 2), (44, 1), (38, 9))
    ann.send("F", (41, "x"), (11, "d"), (55, "I1"), (54, 1), (60, ann._time))
    ann.send("q", (11, "e"), (530, 7), (60, ann._time))
    ann.send("x", (320, "f"), (559, 4))
    ann.send("E", (66, "g"))
    ann.send("D", (11, "h"))
    ann.send("1", (112, "i"))
    ann.send("2", (7, 1), (16, 0))
    stage.settle()
    ann.sent[ann.next_out] = ("0", [])
    ann.next_out += 1
    ann.order("j")
    stage.settle()
    stage.pass_time(70_000)
    ann.send("5")
    stage.settle()


def dissected(directory: Path, frames: list[bytes], *words: str) -> list[str]:
    """What tshark prints of these messages, each as a packet from the gateway's port."""
    dump, capture = directory / "dump.txt", directory / "dump.pcap"
    dump.write_text("".join(f"000000 {frame.hex(' ')}\n" for frame in frames))
    subprocess.run(["text2pcap", "-q", "-T", f"{PORT},40000", dump, capture], check=True, capture_output=True)
    options = ["-d", f"tcp.port=={PORT},fix", "-o", "tcp.check_checksum:FALSE"]
    done = subprocess.run(["tshark", "-r", capture, *options, *words], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()
