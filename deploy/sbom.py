"""The bill of materials of what is deployed, as CycloneDX JSON: each dependency with version, hashes and licence.

    python deploy/sbom.py OUT

    requirements.lock --cyclonedx-bom--> versions, hashes --+
          |                                                 +--merged--> validated --> OUT
          +--pip, by hash--> a venv --cyclonedx-bom--> licences

The lock knows no licences, and what is installed no hashes. The venv is thrown away. The file is the same
whenever it is made of the same lock.
"""

import json
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = ROOT / "deploy/requirements.lock"
SPECIFICATION: Final = "1.6"
_OPTIONS: Final = (
    "--pyproject", str(ROOT / "pyproject.toml"), "--sv", SPECIFICATION, "--of", "JSON", "--output-reproducible",
    "--no-validate", "-o", "-",
)  # fmt: skip

Bom = dict[str, Any]


class SbomError(Exception):
    """A bill of materials that would not be one."""


def from_lock() -> Bom:
    """What the lock says: versions and hashes."""
    return _made("requirements", str(LOCK))


def from_environment(python: Path) -> Bom:
    """What is installed for an interpreter, with its licences."""
    return _made("environment", str(python))


def merged(lock: Bom, installed: Bom) -> Bom:
    """The lock's components with the licences of what is installed. Raises SbomError where one has none, or differs."""
    found = {_name(one): one for one in installed["components"]}
    for component in lock["components"]:
        same = found.get(_name(component), {})
        if same.get("version") != component["version"]:
            raise SbomError(
                f"{component['name']}: expected {component['version']} to be installed, got {same.get('version')}"
            )
        if not same.get("licenses"):
            raise SbomError(f"{component['name']} {component['version']} says no licence")
        component["licenses"] = same["licenses"]
        component["description"] = same.get("description", "")
    return lock


def problem(bom: Bom) -> str:
    """What CycloneDX's schema has against it; nothing, mostly."""
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 - for releases alone
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    error = JsonStrictValidator(SchemaVersion.from_version(SPECIFICATION)).validate_str(json.dumps(bom))
    return "" if error is None else str(error)


def _made(*words: str) -> Bom:
    command = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", *words, *_OPTIONS]
    made: Bom = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return made


def _name(component: Bom) -> str:
    """As PyPI compares names."""
    return re.sub(r"[-_.]+", "-", component["name"]).lower()


def main(out: Path) -> None:
    """Make it."""
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        python = Path(scratch) / "bin/python"
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        subprocess.run([*pip, "-r", LOCK], check=True)
        bom = merged(from_lock(), from_environment(python))
    if found := problem(bom):
        raise SbomError(found)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(bom, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
