"""Whether a dependency of deploy/requirements.lock is known to be vulnerable: what pip-audit says, within a bound.

    python deploy/audit.py [SECONDS] [-- COMMAND ...]         COMMAND in place of pip-audit, for tests

Rules
- A finding fails, with its name. Nothing found says nothing.
- What could not be asked is told in one line on stderr, and does not fail: an index that is away says nothing of the
  lock. So is what the index does not know, which pip-audit passes over.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

LOCK: Final = Path(__file__).parent / "requirements.lock"
PIP_AUDIT: Final = (
    sys.executable, "-m", "pip_audit", "-r", str(LOCK), "--require-hashes", "--no-deps", "--disable-pip",
    "--format", "json", "--progress-spinner", "off",
)  # fmt: skip
PATIENCE_S: Final = 30.0
LINE_CHARS_MAX: Final = 100


def asked(command: list[str], patience_s: float) -> tuple[list[dict[str, Any]], str]:
    """Every dependency, as pip-audit reports on it; or none, and why."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience_s, check=False)
    except subprocess.TimeoutExpired:
        return [], f"no answer within {patience_s:g} s"
    except OSError as error:
        return [], str(error)
    try:
        return json.loads(done.stdout)["dependencies"], ""
    except (ValueError, KeyError):
        said = done.stderr.strip().splitlines()
        return [], said[-1][:LINE_CHARS_MAX] if said else f"pip-audit ended with {done.returncode}, and said nothing"


def main(words: list[str]) -> int:
    """Ask, and tell; the exit code."""
    before, _, command = " ".join(words).partition("-- ")
    found, why = asked(command.split() or list(PIP_AUDIT), float(before) if before.strip() else PATIENCE_S)
    skipped = [one["name"] for one in found if "skip_reason" in one]
    bad = [one for one in found if one.get("vulns")]
    for one in bad:
        ids = ", ".join(vulnerability["id"] for vulnerability in one["vulns"])
        print(f"{one['name']} {one['version']}: {ids}", file=sys.stderr)
    if why or not found:
        print(f"audit: the dependencies were not audited: {why or 'none was reported on'}", file=sys.stderr)
    elif skipped:
        print(
            f"audit: {len(skipped)} of {len(found)} dependencies were not audited: the index has no data",
            file=sys.stderr,
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
