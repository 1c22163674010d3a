"""docs/operations.md is what the commands print."""

import os
from difflib import unified_diff
from pathlib import Path

import pytest

from tests.integration.operations import ROOT, comparable, written
from tests.models.poisoned_venue import poisoned_venue

DOCUMENT = ROOT / "docs" / "operations.md"


@pytest.mark.skipif("ISLAND_THOROUGH" not in os.environ, reason="a hundred commands, two minutes: `make acceptance`")
def test_the_session_in_the_document_is_a_session(tmp_path: Path):
    """Every command as written, with its output; numbers, times and places aside. operations.py writes it anew."""
    with poisoned_venue(tmp_path, nodes=3) as venue:
        found = comparable(written(venue))
    documented = comparable(DOCUMENT.read_text())
    differences = list(unified_diff(documented.splitlines(), found.splitlines(), "document", "session", lineterm=""))

    assert not differences, "\n".join(differences)
