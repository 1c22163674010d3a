"""A clock that stands still, in place of the module `time` of what is tested."""

import time


class Still:
    """It moves when `now_s` is set; it begins at zero, or an hour from now."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    @classmethod
    def ahead(cls) -> "Still":
        """Behind nothing that a real clock has told."""
        return cls(time.monotonic() + 3600)

    def monotonic(self) -> float:
        """Seconds, as `time.monotonic`."""
        return self.now_s
