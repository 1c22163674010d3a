"""How a process that lives on batches treats its memory.

Entries of megabytes come and go. The C library would give each back to the operating system and take fresh pages for
the next, at about 2.5 us a batch of 6.5 KB; the collector would look through messages that cannot be cycles.
"""

import ctypes
import gc
import os
import resource
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 256 << 20
_PAD_BYTES: Final = 16 << 20
_HEAP_BLOCK_BYTES_MAX: Final = 32 << 20
"""The most that glibc takes for M_MMAP_THRESHOLD."""


def hold_memory() -> None:
    """Keep what is freed for what comes next. Call it once, before the loop. Only glibc is told, if it is there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _HEAP_BLOCK_BYTES_MAX)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TOP_PAD, _PAD_BYTES)


def host_mib() -> int:
    """The memory of this host."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20


def bound_memory(mib: int, *, unless_bounded: bool = False) -> None:
    """Let this process have so much memory for data: beyond, MemoryError is raised. 0: as much as there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if unless_bounded and soft != hard:
        return
    resource.setrlimit(resource.RLIMIT_DATA, (mib << 20 if mib else hard, hard))
