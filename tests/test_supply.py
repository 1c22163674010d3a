"""What comes from elsewhere: the bill of materials, the audit, what is installed, and what goes into the image."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.models.image_context import context, secrets_in

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "deploy/requirements.lock").read_text()
PINNED = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", LOCK))


def script(name: str) -> ModuleType:
    """A program of deploy/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"deploy/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


# --- the bill of materials --------------------------------------------------------------------


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    pytest.importorskip("cyclonedx", reason="cyclonedx-bom is not installed: make install")
    return script("sbom")


@pytest.fixture(scope="module")
def locked(sbom: ModuleType) -> str:
    return json.dumps(sbom.from_lock())


def installed(**changes: object) -> dict[str, object]:
    """Everything that is locked, as it would be found installed."""
    licence = [{"license": {"id": "MIT"}}]
    rows = [{"name": name.replace("-", "_"), "version": PINNED[name], "licenses": licence} for name in PINNED]
    return {"components": [*rows[1:], {**rows[0], **changes}]}


def test_the_bill_holds_all_that_is_locked(sbom: ModuleType, locked: str):
    """Each with its version, every hash and a licence; and it is what the schema asks for."""
    bom = sbom.merged(json.loads(locked), installed())
    hashes = [
        value["content"]
        for one in bom["components"]
        for each in one["externalReferences"]
        for value in each.get("hashes", ())
    ]

    assert {one["name"]: one["version"] for one in bom["components"]} == PINNED
    assert sorted(hashes) == sorted(re.findall(r"--hash=sha256:(\w+)", LOCK))
    assert all(one["licenses"] for one in bom["components"])
    assert bom["metadata"]["component"]["name"] == "sequencer-island"
    assert sbom.problem(bom) == ""
    assert sbom.problem({**bom, "components": [{"type": "library"}]}) != ""


@pytest.mark.parametrize(("changes", "why"), [({"version": "0"}, "got 0"), ({"licenses": []}, "says no licence")])
def test_a_bill_that_would_not_be_true_is_not_made(sbom: ModuleType, locked: str, changes: dict[str, object], why: str):
    """Another version than the lock's, or no licence."""
    with pytest.raises(sbom.SbomError, match=why):
        sbom.merged(json.loads(locked), installed(**changes))


# --- the audit --------------------------------------------------------------------------------

GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


def audited(tmp_path: Path, body: str, patience_s: float = 20) -> tuple[int, list[str]]:
    """The exit code of the audit and its lines, where this stands in for pip-audit."""
    stand_in = tmp_path / "stand_in.py"
    stand_in.write_text(body)
    words = [str(patience_s), "--", sys.executable, str(stand_in)]
    done = subprocess.run(
        [sys.executable, ROOT / "deploy/audit.py", *words], check=False, capture_output=True, text=True
    )
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("reported", "code", "lines"),
    [
        ([GOOD], 0, []),
        ([GOOD, BAD], 1, ["b 2: CVE-1"]),
        ([GOOD, SKIPPED], 0, ["audit: 1 of 2 dependencies were not audited: the index has no data"]),
        ([BAD, SKIPPED], 1, ["b 2: CVE-1", "audit: 1 of 2 dependencies were not audited: the index has no data"]),
        ([], 0, ["audit: the dependencies were not audited: none was reported on"]),
    ],
)
def test_a_finding_fails_and_what_was_not_asked_is_told(tmp_path: Path, reported: list, code: int, lines: list[str]):
    """pip-audit ends well, too, where its index knows none of them."""
    told = json.dumps({"dependencies": reported, "fixes": []})
    assert audited(tmp_path, f"print({told!r}); raise SystemExit({code})") == (code, lines)


@pytest.mark.parametrize(
    ("body", "patience_s", "why"),
    [
        ("import sys; print('x', file=sys.stderr); sys.exit('cannot connect')", 20, "cannot connect"),
        ("raise SystemExit(1)", 20, "pip-audit ended with 1, and said nothing"),
        ("import threading; threading.Event().wait()", 0.5, "no answer within 0.5 s"),
    ],
)
def test_an_index_that_is_away_is_one_line(tmp_path: Path, body: str, patience_s: float, why: str):
    """It says nothing of the lock, and takes no longer than it may."""
    assert audited(tmp_path, body, patience_s) == (0, [f"audit: the dependencies were not audited: {why}"])


# --- what is installed, and what goes into the image ------------------------------------------


def test_the_image_installs_by_hash_or_from_this_tree():
    """Nothing is fetched whose hash the lock does not hold, whatever needs it."""
    text = (ROOT / "Dockerfile").read_text()
    installs = [one.split() for one in re.findall(r"pip install ([^\n&\\]+)", text)]

    by_hash, ours = installs
    assert by_hash[-2:] == ["-r", "requirements.lock"]
    assert ours[-1] == "."
    assert {"--no-deps", "--require-hashes"} <= set(by_hash)
    assert {"--no-deps", "--no-build-isolation"} <= set(ours)


def test_no_secret_goes_into_the_image():
    """Of all that .dockerignore lets through."""
    files = context(ROOT)

    assert ROOT / "sequencer/cli.py" in files
    assert {path.relative_to(ROOT).parts[0] for path in files} <= {
        "pyproject.toml", "README.md", "LICENSE", "deploy", "sequencer", "engines", "gateways", "examples",
    }  # fmt: skip
    assert [(str(path), found) for path in files if (found := secrets_in(path))] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sequencer/a.key", "x"),
        ("engines/keys/NAME.txt", "secret = '" + "aB3" * 14 + "'"),
        ("gateways/tls.pem", "-----BEGIN " + "PRIVATE KEY-----\n"),
        ("examples/x.py", 'password = "' + 'correct horse"'),
        ("examples/y.toml", "AKIA" + "ABCDEFGHIJKLMNOP"),
        ("deploy/requirements.lock", "--index-url https://ann:" + "hunter2@example.org/simple"),
    ],
)
def test_a_secret_would_be_found(tmp_path: Path, name: str, text: str):
    """Keys, passwords and tokens, by name or by what is in them."""
    (tmp_path / ".dockerignore").write_text((ROOT / ".dockerignore").read_text())
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/left_out.key").write_text("x")

    assert context(tmp_path) == [path]
    assert secrets_in(path)
