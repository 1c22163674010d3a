"""Whether a machine of a user's own may come in: its source is deterministic, and it does as it should on the log."""

from pathlib import Path

from engines import lint, machines, proving
from sequencer.errors import ConfigError
from sequencer.output import console

PROOF_MESSAGES = 50_000


def admit(machine: str, data: Path) -> None:
    """Raise ConfigError for a class that cannot be let in."""
    machines.find(machine)
    findings = lint.check_module(machine.partition(":")[0])
    if findings:
        raise ConfigError(f"{findings[0]}; `sequencer lint {machine.partition(':')[0]}` shows all {len(findings)}")
    with console.status("proving it on the beginning of the log"):
        proof = proving.prove(data, machine, PROOF_MESSAGES)
    if proof.problems:
        raise ConfigError(f"{proof.problems[0]}; `sequencer prove {machine}` tries all of the log")
