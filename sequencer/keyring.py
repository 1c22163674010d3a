"""Keys as files: a process's own pair, and the list of who may what.

    DIR/keys.toml       the list; public
    DIR/keys/NAME.key   a key pair, 0600: TOML with name, public and secret

Rules
- A secret is in its own file alone: it is never printed, logged, or given on a command line.
- A file of secrets that others may read is not used.
- The list is read anew when it changes. A new list that cannot be read is not taken, and that is told: the one before
  stays in force.
"""

import fcntl
import os
import re
import stat
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec

from sequencer.errors import ConfigError
from sequencer.keys import FILE_NAME, Z85, Z85_CHARACTERS, Key, Keys, Role, standard
from sequencer.limits import Limits
from sequencer.looks import looks

DIRECTORY: Final = "keys"
AGAIN_S: Final = 1.0
"""An endpoint that is not known makes a process read venue.toml again, and not more often than this."""
ADMIN: Final = "admin"
"""Whose key commands use, unless KEY_VARIABLE says otherwise."""
KEY_VARIABLE: Final = "SEQUENCER_KEY"
"""An environment variable with the path of the file of the key that a process has."""

_TEXT = """\
# Whoever can read this file can act in the place of {name}.
name = "{name}"
public = "{public}"
secret = "{secret}"
"""


_Half = Annotated[str, msgspec.Meta(pattern=f"^[{re.escape(Z85)}]{{{Z85_CHARACTERS}}}\\Z")]


class _Pair(msgspec.Struct):
    name: str
    public: _Half
    secret: _Half


class Keyring:
    """What one process has: its pair, the list, and whose key is to be expected at which endpoint."""

    def __init__(self, path: Path, list_path: Path, servers: Callable[[], Mapping[str, str]]) -> None:
        """The pair is at `path`. Raises ConfigError."""
        self.path = path
        self.public, self.secret = read_pair(path)
        self._read_servers = servers
        self._servers = servers()
        """Endpoint -> name of a key, or `endpoints.NAME`."""
        self._read_servers_s = time.monotonic()
        self._list_path = list_path
        self._seen = looks(list_path)
        self.keys = read_keys(list_path)

    @classmethod
    def load(cls, list_path: Path, secrets: Path, name: str, servers: Callable[[], Mapping[str, str]]) -> "Keyring":
        """The keyring of a process, or of who gives commands (""). Raises ConfigError."""
        wanted = os.environ.get(KEY_VARIABLE, "")
        return cls(Path(wanted) if wanted else secret_path(secrets, name or ADMIN), list_path, servers)

    def server(self, endpoint: str, name: str = "") -> bytes:
        """The public key of who listens at an endpoint: of `name`, where that is known. Raises ConfigError."""
        name = name or (self._servers[endpoint] if self.knows(endpoint) else "")
        door = name.removeprefix("endpoints.")
        key = self.keys.serving(door) if door != name else self.keys.named(name)
        if key is None:
            whose = f"a key that serves `{door}`" if door != name else f"a key of {name or 'a server that is known'}"
            raise ConfigError(f"{FILE_NAME}: expected {whose} for {endpoint}: `sequencer keys issue` makes one")
        return key.public.encode()

    def knows(self, endpoint: str) -> bool:
        """Whether it is known who listens at an endpoint; it may have become known meanwhile."""
        now_s = time.monotonic()
        if endpoint not in self._servers and now_s - self._read_servers_s > AGAIN_S:
            self._read_servers_s = now_s
            self._servers = self._read_servers()
        return endpoint in self._servers

    def refresh(self) -> frozenset[str]:
        """Read the list anew where it has changed; the public keys that do not count as they did.

        Raises ConfigError, once for each list that cannot be taken.
        """
        found = looks(self._list_path)
        if found == self._seen:
            return frozenset()
        self._seen = found
        before, self.keys = self.keys, read_keys(self._list_path)
        return self.keys.changed_since(before)


def read_keys(path: Path) -> Keys:
    """The list. Raises ConfigError."""
    try:
        return Keys.parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing: it says who may come in; `sequencer keys init` makes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def write_keys(path: Path, keys: Keys) -> None:
    """Put a list in the place of the one that is, durably: what was revoked stays so. Raises ConfigError."""
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(keys.text())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def secret_path(secrets: Path, name: str) -> Path:
    """Where the key of this name is."""
    return secrets / f"{name}.key"


def read_pair(path: Path) -> tuple[bytes, bytes]:
    """A public and a secret key, in Z85. Raises ConfigError."""
    try:
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise ConfigError(f"{path} can be read by others: expected mode 0600; chmod 600 {path}")
        pair = msgspec.convert(tomllib.loads(path.read_text(encoding="ascii")), _Pair)
    except FileNotFoundError:
        raise ConfigError(
            f"{path} is missing: a key is needed for every tcp:// endpoint; `sequencer keys issue` makes one, "
            f"{KEY_VARIABLE} names another file"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(
            f"{path} holds no key: expected name, public and secret, as in `sequencer keys issue`"
        ) from None
    return pair.public.encode(), pair.secret.encode()


def write_pair(path: Path, name: str, public: bytes, secret: bytes) -> None:
    """Keep a key. Raises ConfigError; a file that is there stays."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(_TEXT.format(name=name, public=public.decode(), secret=secret.decode()))
    except FileExistsError:
        raise ConfigError(f"{path} is there: expected no key of that name; move it away to have another") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def issue(
    list_path: Path,
    path: Path,
    name: str,
    role: Role,
    *,
    of: Iterable[str] = (),
    serves: Iterable[str] = (),
    processes: Iterable[str] = (),
    operates: bool = False,
    limits: Limits | None = None,
) -> Key:
    """Make a key, in a file of its own, and list it; for the rights see `standard`. Raises ConfigError."""
    import zmq  # noqa: PLC0415 - who only reads keys need not have it

    public, secret = zmq.curve_keypair()
    key = standard(
        name, role, public.decode(), of=of, serves=serves, processes=processes, operates=operates, limits=limits
    )
    with _changing(list_path):
        keys = (read_keys(list_path) if list_path.exists() else Keys()).with_key(key)
        write_pair(path, name, public, secret)
        write_keys(list_path, keys)
    return key


def revoke(list_path: Path, name: str) -> None:
    """Let the key of this name count no more; its file stays. Raises ConfigError."""
    with _changing(list_path):
        write_keys(list_path, read_keys(list_path).without(name))


@contextmanager
def _changing(list_path: Path) -> Iterator[None]:
    """Change a list while nobody else does: of two changes at once none is lost. Raises ConfigError."""
    try:
        fd = os.open(list_path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"cannot write {list_path}: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
