"""API keys: whose requests these are, and how a request proves it.

    web.toml [[keys]] --> Keys --> Gate <-- key, nonce, signature of an HTTP request
                                    +-----> token, which a WebSocket shows instead

    signature = base64(HMAC-SHA512(secret, METHOD + path with query + SHA256(nonce + body)))

Rules
- In the shape of Kraken's REST interface, with the method signed as well; the secret itself is never sent.
- A nonce is the client's time in microseconds. It counts once, within WINDOW_US of this clock, and not if it is from
  before this gateway began: so nothing that was signed once is obeyed twice, in whatever order requests arrive.
- Without a file, or a key in it, nobody is let in. A key that is gone from the file is refused from then on, and so are
  its tokens.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import tomllib
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from pathlib import Path
from typing import Final

import msgspec

from gateways.names import is_client_name
from gateways.order.protocol import is_operator
from gateways.web.refusals import RefusedError
from sequencer.errors import ConfigError

FILE_NAME: Final = "web.toml"
READ: Final = "read"
TRADE: Final = "trade"
DROP_COPY: Final = "drop_copy"
OPERATE: Final = "operate"
RIGHTS: Final = (READ, TRADE, DROP_COPY, OPERATE)
SECRET_BYTES: Final = 64
WINDOW_US: Final = 30_000_000
NONCES_MAX: Final = 4096
"""Of one key that are remembered one by one; older ones are refused without."""
TOKEN_S: Final = 900
TOKENS_MAX: Final = 64
"""Of one key; a new one takes the place of the oldest."""
NONCE_DIGITS_MAX: Final = 18

_HEAD: Final = """\
# Who may trade, read and operate over WebSocket and REST; written by `sequencer api-key`. Secrets: keep it to yourself.
"""


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of `[[keys]]`: whose it is, and what it may: read, trade, drop_copy, operate. The secret is base64."""

    key: str
    client: str
    may: list[str]
    secret: str

    def demand(self, right: str) -> None:
        """Raises RefusedError where the key has not this right."""
        if right not in self.may:
            raise RefusedError(f"this key may {', '.join(self.may) or 'nothing'}: expected one that may {right}", 403)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: list[Key] = []


class Keys:
    """All keys of a venue."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self.all = {key.key: key for key in keys}

    @classmethod
    def load(cls, data_dir: Path) -> "Keys":
        """Read DIR/web.toml; none where there is no file. Raises ConfigError."""
        path = data_dir / FILE_NAME
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from None
        try:
            found = msgspec.convert(tomllib.loads(text), _File)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise ConfigError(f"{path}: {error}") from None
        if problem := _problem(found.keys):
            raise ConfigError(f"{path}: {problem}")
        return cls(found.keys)

    def save(self, data_dir: Path) -> None:
        """Write DIR/web.toml, for its owner's eyes only. Raises ConfigError."""
        path = data_dir / FILE_NAME
        text = _HEAD + "".join(_table(key) for key in self.all.values())
        temporary = path.with_suffix(".new")
        try:
            temporary.unlink(missing_ok=True)
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
            temporary.replace(path)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None

    def issue(self, client: str, may: Iterable[str]) -> Key:
        """A new key. Raises ConfigError for a name or a right that cannot be."""
        secret = base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
        made = Key(secrets.token_hex(8), client, list(dict.fromkeys(may)), secret)
        if problem := _problem([made]):
            raise ConfigError(problem)
        self.all[made.key] = made
        return made

    def revoke(self, key: str) -> Key:
        """Have a key count no longer. Raises ConfigError where there is none."""
        try:
            return self.all.pop(key)
        except KeyError:
            known = ", ".join(self.all) or "none"
            raise ConfigError(f"there is no key {key!r}: expected one of {known}") from None


class Gate:
    """Lets requests in. `utc_us` is this clock; requests signed before it was made are refused."""

    def __init__(self, keys: Keys, utc_us: Callable[[], int]) -> None:
        self._keys = keys
        self._utc_us = utc_us
        self._began_us = utc_us()
        self._nonces: dict[str, _Nonces] = {}
        self._tokens: dict[str, tuple[Key, int]] = {}

    def replace(self, keys: Keys) -> None:
        """From now on these are the keys."""
        self._keys = keys
        self._nonces = {name: used for name, used in self._nonces.items() if name in keys.all}
        self._tokens = {token: one for token, one in self._tokens.items() if self.is_valid(one[0])}

    def is_valid(self, key: Key) -> bool:
        """Whether a key is one, still, with the same rights."""
        return self._keys.all.get(key.key) == key

    def admit(self, request: str, body: bytes, name: str, nonce: str, signature: str) -> Key:
        """The key that has signed a request (its method, and its path with the query). Raises RefusedError."""
        key = self._keys.all.get(name)
        expected = sign(key.secret if key else "", request, nonce, body)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")) or key is None:
            raise RefusedError("API-Key, API-Nonce, API-Sign: expected a known key and its signature", 401)
        self._spend(key, nonce)
        return key

    def token(self, key: Key) -> str:
        """What a WebSocket shows in the next TOKEN_S, for as long as it is open."""
        own = [token for token, (holder, _until) in self._tokens.items() if holder.key == key.key]
        for token in own[: max(0, len(own) - TOKENS_MAX + 1)]:
            del self._tokens[token]
        made = secrets.token_urlsafe(32)
        self._tokens[made] = (key, self._utc_us() + TOKEN_S * 1_000_000)
        return made

    def holder(self, token: str) -> Key:
        """Whose token this is. Raises RefusedError."""
        key, until_us = self._tokens.get(token, (None, 0))
        if key is None or self._utc_us() > until_us:
            self._tokens.pop(token, None)
            raise RefusedError("token: expected one from POST /v1/token, not older than 15 minutes", 401)
        return key

    def _spend(self, key: Key, nonce: str) -> None:
        now_us = self._utc_us()
        number = int(nonce) if nonce.isascii() and nonce.isdigit() and len(nonce) <= NONCE_DIGITS_MAX else 0
        if not max(now_us - WINDOW_US, self._began_us) < number < now_us + WINDOW_US:
            began = " and after this gateway began" if number > now_us - WINDOW_US else ""
            raise RefusedError(
                f"API-Nonce: expected the time in microseconds, within 30 s of {now_us}{began}, got {nonce[:24]!r}", 401
            )
        if not self._nonces.setdefault(key.key, _Nonces()).spend(number):
            raise RefusedError(f"API-Nonce: {nonce} was used before, or long after it others: take a new one", 401)


class _Nonces:
    """Those that one key has used."""

    def __init__(self) -> None:
        self._used: set[int] = set()
        self._order: list[int] = []
        self._floor = 0

    def spend(self, number: int) -> bool:
        """Whether a nonce counts; it does not again."""
        if number <= self._floor or number in self._used:
            return False
        self._used.add(number)
        heappush(self._order, number)
        if len(self._order) > NONCES_MAX:
            self._floor = heappop(self._order)
            self._used.discard(self._floor)
        return True


def rights_of(client: str) -> list[str]:
    """What a key of this client may, where nothing else is said."""
    return [READ, TRADE, OPERATE] if is_operator(client) else [READ, TRADE]


def sign(secret: str, request: str, nonce: str, body: bytes) -> str:
    """The signature of a request: `request` is its method and its path with the query, as in "GET/v1/orders"."""
    digest = hashlib.sha256(nonce.encode("utf-8", "replace") + body).digest()
    made = hmac.new(base64.b64decode(secret), request.encode("utf-8", "replace") + digest, hashlib.sha512)
    return base64.b64encode(made.digest()).decode()


def _problem(keys: list[Key]) -> str:
    for one in keys:
        if not is_client_name(one.client):
            return f"client: expected 1 to 64 printable characters, got {one.client[:80]!r}"
        unknown = [right for right in one.may if right not in RIGHTS]
        if unknown:
            return f"may: expected {', '.join(RIGHTS)}, got {unknown[0]!r}"
        if OPERATE in one.may and not is_operator(one.client):
            return f"may: only operator and operator.NAME may operate, and not {one.client!r}"
        if not _is_secret(one.secret):
            return f"keys.{one.key}.secret: expected {SECRET_BYTES} bytes in base64"
    names = [one.key for one in keys]
    return "" if len(set(names)) == len(names) else f"keys: expected different ones, got {names}"


def _is_secret(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == SECRET_BYTES
    except (binascii.Error, ValueError):
        return False


def _table(key: Key) -> str:
    rows = "".join(f"{name} = {_toml(value)}\n" for name, value in msgspec.structs.asdict(key).items())
    return f"\n[[keys]]\n{rows}"


def _toml(value: object) -> str:
    """A TOML value; strings are written as in JSON, which is a part of it."""
    return msgspec.json.encode(value).decode()
