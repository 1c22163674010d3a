"""A file system of a node's own that can be filled and freed: a tmpfs, whose size is what it may still take.

fill: its size becomes what is used | free: its size becomes what it was
"""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.models.running import until

SIZE_BYTES = 4 << 30
PAGE_BYTES = 4096


def can_mount() -> bool:
    """Whether this user may mount a file system here."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as scratch:
        is_mounted = _run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", scratch)
        return is_mounted and _run("umount", scratch)


class SmallDisk:
    """Mounted at `path` from enter to exit; memory is taken for what it holds only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        self._mount("size", SIZE_BYTES)
        return self

    def __exit__(self, *_error: object) -> None:
        subprocess.run(["umount", str(self.path)], check=True)

    def fill(self) -> None:
        """Leave no page free."""
        until(self._shrink, f"{self.path} is made as small as what it holds, which may grow meanwhile", 10.0)

    def free(self) -> None:
        """Give it room again."""
        self._mount("remount,size", SIZE_BYTES)

    def _shrink(self) -> bool:
        found = os.statvfs(self.path)
        used_bytes = (found.f_blocks - found.f_bfree) * found.f_frsize
        return _run(*self._words("remount,size", max(used_bytes, PAGE_BYTES)))

    def _mount(self, option: str, size_bytes: int) -> None:
        subprocess.run(self._words(option, size_bytes), check=True)

    def _words(self, option: str, size_bytes: int) -> list[str]:
        return ["mount", "-t", "tmpfs", "-o", f"{option}={size_bytes}", "tmpfs", str(self.path)]


def _run(*words: str) -> bool:
    return subprocess.run(words, check=False, capture_output=True).returncode == 0
