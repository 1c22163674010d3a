"""How a process that lives on batches treats its memory.

Entries of megabytes come and go. The C library would give each back to the operating system and take fresh pages for
the next, at about 2.5 us a batch of 6.5 KB; the collector would look through messages that cannot be cycles.
"""

import ctypes
import gc
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
