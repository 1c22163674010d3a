"""What is deployed is well-formed: the container files, the manifests, the unit, the lock."""

import re
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[1]
MANIFESTS = [
    pytest.param(one, id=f"{one['kind']}-{one['metadata']['name']}")
    for one in yaml.safe_load_all((ROOT / "deploy/kubernetes/island.yaml").read_text())
]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_manifest_is_valid(manifest: dict[str, object]):
    """By the schema of the API, with no field that it does not know."""
    assert _problem(manifest) == ""
    assert "spec" in _problem({**manifest, "spec": {"unknown": 1}})


def test_all_processes_of_a_venue_are_deployed():
    """What `sequencer init` makes a host for has a service, and a set of pods."""
    hosts = {f"{kind}-{number}" for kind, count in _pods().items() for number in range(1, count + 1)}
    made = {volume.partition(":")[0] for volume in COMPOSE["services"]["init"]["volumes"]} - {"config"}

    assert made - {"admin", "attach", "flow"} == hosts
    assert made <= COMPOSE["services"].keys()


def test_a_pod_has_its_own_secret_alone():
    """The template of a kind names those of all its pods; the one called as the pod is mounted, while it unpacks."""
    for one in (made.values[0] for made in MANIFESTS if made.values[0]["kind"] == "StatefulSet"):
        spec = one["spec"]["template"]["spec"]
        (settle,) = spec["initContainers"]
        (mounted,) = [mount for mount in settle["volumeMounts"] if mount["name"] == "secrets"]
        names = [source["secret"]["name"] for source in spec["volumes"][-1]["projected"]["sources"]]

        assert mounted["subPathExpr"] == "$(HOST)"
        assert settle["env"] == [{"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
        assert names == [f"{one['metadata']['name']}-{nth}" for nth in range(1, one["spec"]["replicas"] + 1)]
        assert "secrets" not in {mount["name"] for each in spec["containers"] for mount in each["volumeMounts"]}
        assert spec["automountServiceAccountToken"] is False


def test_no_container_is_privileged():
    """All but `init` run as nobody in particular, with no capability, and write to their volume alone.

    Who injects faults has Docker's socket, and is there for who asks for it by its profile.
    """
    ours = {name: one for name, one in COMPOSE["services"].items() if "ISLAND_IMAGE" in one["image"]}
    open_ones = [name for name, one in ours.items() if not one["read_only"] or one["cap_drop"] != ["ALL"]]
    roots = [name for name, one in ours.items() if one.get("user") == "0"]

    with_socket = [name for name, one in COMPOSE["services"].items() if "docker.sock" in str(one.get("volumes"))]

    assert (open_ones, roots) == ([], ["init", "chaos"])
    assert (with_socket, ours["chaos"]["profiles"]) == (["chaos"], ["chaos"])


def test_the_lock_holds_every_dependency_by_hash():
    """Each of pyproject.toml, and each that these need, at one version."""
    lock = (ROOT / "deploy/requirements.lock").read_text()
    pinned = dict(re.findall(r"(?m)^([\w.-]+)==(\S+) \\\n    --hash=sha256:", lock))
    named = re.findall(r"(?m)^([\w.-]+)==", lock)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]

    assert sorted(pinned) == sorted(named)
    assert {re.split(r"[<>=]", one)[0] for one in wanted} <= pinned.keys()


def _problem(manifest: dict[str, object]) -> str:
    try:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{list(error.path)}: {error.message}"
    return ""


def _pods() -> dict[str, int]:
    sets = [one.values[0] for one in MANIFESTS if one.values[0]["kind"] == "StatefulSet"]
    return {one["metadata"]["name"]: one["spec"]["replicas"] for one in sets}
