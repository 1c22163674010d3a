"""What a Prometheus knows of a venue, asked over its API."""

import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from sequencer import generating

PROGRAM = shutil.which("prometheus")
NO_PROGRAM = "there is no prometheus: apt-get install prometheus"


class Prometheus:
    """One that listens at HOST:PORT, or is about to."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/api/v1"

    def health(self) -> dict[str, str]:
        """Of each process that it is to watch: up, down, or unknown; nothing while it does not answer."""
        try:
            found = self._ask("targets", state="active")["activeTargets"]
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return {}
        return {target["labels"]["instance"]: target["health"] for target in found}

    def empty_panels(self, known: str = "") -> list[str]:
        """The queries of the dashboard that find nothing, but the one which is known to."""
        return [query for _, query, _, _ in generating.PANELS if query != known and not self._rows(query)]

    def _rows(self, query: str) -> list[Any]:
        found: list[Any] = self._ask("query", query=query)["result"]
        return found

    def _ask(self, path: str, **words: str) -> Any:
        with urllib.request.urlopen(f"{self._url}/{path}?{urllib.parse.urlencode(words)}", timeout=10) as answer:
            return json.load(answer)["data"]
