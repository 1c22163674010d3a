"""What a line of a log says, read without the code that wrote it."""

import re

FIELD = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"=]*)(?: |$)')
ESCAPE = re.compile(r"\\(.)")


class Kept:
    """Lines of a log as they were written, in place of a file."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)

    @property
    def events(self) -> list[str]:
        return [parsed(line)["event"] for line in self.lines]


def parsed(line: str) -> dict[str, str]:
    """Its fields in their order. Raises ValueError where it is no logfmt."""
    fields, at = {}, 0
    while at < len(line):
        found = FIELD.match(line, at)
        if found is None or found[1] in fields:
            raise ValueError(f"no logfmt at {at}: {line!r}")
        fields[found[1]] = _plain(found[2])
        at = found.end()
    return fields


def _plain(value: str) -> str:
    if value[:1] != '"':
        return value
    return ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], value[1:-1])
