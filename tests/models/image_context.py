"""What the Docker client would send to the engine, by .dockerignore, and secrets in it.

Docker's rules (docs.docker.com, "Dockerignore"): the last pattern that matches a path, or a directory above it,
decides; `!` lets in again; `**` is any number of directories.
"""

import re
from pathlib import Path

SECRET_NAMES = re.compile(r"\.(key|pem|p12|pfx|jks)$|^(id_(rsa|ed25519|ecdsa)|\.env|\.netrc|\.pypirc|keys\.toml)$")
SECRET_TEXTS = re.compile(
    rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"
    rb"|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bxox[baprs]-[A-Za-z0-9-]{10,}"
    rb"|://[^/\s:@\"'{}<>]+:[^/\s:@\"'{}<>]+@"
    rb"|(?i:\b(?:password|passwd|secret|token|api_?key)\b)\"?\s*[=:]\s*[\"'][^\"'\s{}.<>][^\"'\n{}<>]{7,}[\"']"
)


def context(root: Path) -> list[Path]:
    """The files of a tree that go into an image's context."""
    rules = [_rule(line) for line in (root / ".dockerignore").read_text().split()]
    files = [path for path in root.rglob("*") if path.is_file() and ".git" not in path.relative_to(root).parts]
    return sorted(path for path in files if _is_in(path.relative_to(root), rules))


def secrets_in(path: Path) -> list[str]:
    """What looks like one."""
    by_name = [path.name] if SECRET_NAMES.search(path.name) else []
    return by_name + [found.decode("utf-8", "replace") for found in SECRET_TEXTS.findall(path.read_bytes())]


def _rule(line: str) -> tuple[bool, re.Pattern[str]]:
    pattern = re.escape(line.removeprefix("!").strip("/"))
    pattern = (
        pattern.replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    )
    return line.startswith("!"), re.compile(pattern)


def _is_in(path: Path, rules: list[tuple[bool, re.Pattern[str]]]) -> bool:
    names = [str(path), *(str(above) for above in path.parents)]
    is_in = True
    for lets_in, pattern in rules:
        if any(pattern.fullmatch(name) for name in names):
            is_in = lets_in
    return is_in
