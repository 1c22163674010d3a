"""Which nodes and processes venue.toml names: how they get there, and how they leave.

    create     every founder's directory is given its identity, and the file tells it
    enlist     one more node, after the pattern of those that are there
    engage     a process that `sequencer up` starts from now on
    dismiss    a process that `sequencer up` no longer starts
    retire     a node that was removed stays in the file, since the log began with it, and is not started any more

The file is its user's: it is changed by lines, and comments stay.
"""

import re
from pathlib import Path

from sequencer.config import FILE_NAME, NODE_DOORS, Config, NodeConfig, config_path
from sequencer.errors import ConfigError
from sequencer.journal import BallotBox

_RETIRED = "retired = true   # removed from the group\n"


def found(data_dir: Path, name: str, cluster: bytes) -> bytes:
    """Give the directory of a founder its identity, 16 bytes. Raises ConfigError if it has one."""
    box = BallotBox.create(data_dir / name, name, cluster)
    box.close()
    return box.identity


def enlist(data_dir: Path, name: str) -> Config:
    """See to it that venue.toml names this node, and that it is not retired. Raises ConfigError."""
    config = Config.load(data_dir)
    known = next((node for node in config.written_nodes if node.name == name), None)
    if known is None:
        text = config_path(data_dir).read_text(encoding="utf-8")
        _rewrite(data_dir, text.rstrip("\n") + "\n" + _block(config.written_nodes[0], name))
    elif known.retired:
        text = config_path(data_dir).read_text(encoding="utf-8")
        _rewrite(data_dir, text.replace(_name_line(name) + _RETIRED, _name_line(name)))
    return Config.load(data_dir)


def retire(data_dir: Path, name: str) -> Config:
    """Mark a node in venue.toml as no member any more."""
    text = config_path(data_dir).read_text(encoding="utf-8")
    _rewrite(data_dir, text.replace(_name_line(name), _name_line(name) + _RETIRED))
    return Config.load(data_dir)


def engage(data_dir: Path, name: str, command: list[str]) -> None:
    """Put a process into `[processes]`, in place of one of that name. Raises ConfigError for what cannot be one."""
    dismiss(data_dir, name)
    text = config_path(data_dir).read_text(encoding="utf-8")
    words = ", ".join(f'"{word}"' for word in command)
    line = f"{name}.command = [{words}]\n"
    if re.search(r"(?m)^\[processes\]\n", text):
        _rewrite(data_dir, re.sub(r"(?m)^\[processes\]\n", lambda found: found.group() + line, text, count=1))
    else:
        _rewrite(data_dir, text.rstrip("\n") + "\n\n[processes]\n" + line)


def dismiss(data_dir: Path, name: str) -> None:
    """Take a process out of `[processes]`; nothing, where it is not there in the form `NAME.key = value`."""
    text = config_path(data_dir).read_text(encoding="utf-8")
    without = re.sub(rf"(?m)^{re.escape(name)}\.\w+ = .*\n", "", text)
    if without != text:
        _rewrite(data_dir, without)


def _block(model: NodeConfig, name: str) -> str:
    """`[[nodes]]` for a node like another: the same endpoints with its own name in them."""
    lines = ["", "[[nodes]]", f'name = "{name}"']
    for key in NODE_DOORS:
        endpoint = getattr(model, key)
        if not re.search(rf"\b{re.escape(model.name)}\b", endpoint):
            raise ConfigError(
                f"{FILE_NAME} names no node {name!r}, and its endpoints cannot be guessed from {endpoint}: "
                "add a [[nodes]] table with name, ingress, publisher, replayer and peer"
            )
        lines.append(f'{key} = "{endpoint.replace(model.name, name)}"')
    return "\n".join(lines) + "\n"


def _name_line(name: str) -> str:
    return f'name = "{name}"\n'


def _rewrite(data_dir: Path, text: str) -> None:
    """Put a text in place of venue.toml at once, if it is a valid one."""
    Config.parse(text, data_dir)
    temporary = config_path(data_dir).with_suffix(".new")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(config_path(data_dir))
    except OSError as error:
        raise ConfigError(f"cannot write {config_path(data_dir)}: {error.strerror}") from None
