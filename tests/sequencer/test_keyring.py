"""Keys as files: secrets stay secret, and a list that is wrong changes nothing."""

import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sequencer.errors import ConfigError
from sequencer.keyring import KEY_VARIABLE, Keyring, issue, read_keys, read_pair, revoke, secret_path
from sequencer.keys import FILE_NAME, Role
from tests.models.running import complaint, make, sequencer


class Files:
    """A list, and keys beside it."""

    def __init__(self, directory: Path) -> None:
        self.list = directory / FILE_NAME
        self.secrets = directory / "keys"

    def issue(self, name: str, role: Role = Role.READER) -> bytes:
        """The public half."""
        return issue(self.list, self.path(name), name, role).public.encode()

    def path(self, name: str) -> Path:
        return secret_path(self.secrets, name)

    def keyring(self, name: str, **servers: str) -> Keyring:
        return Keyring.load(self.list, self.secrets, name, lambda: servers)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    return Files(tmp_path)


def test_a_key_is_its_users_alone(files: Files):
    """The file, and the directory that is made for it, whatever the umask says."""
    before = os.umask(0)
    try:
        public = files.issue("a")
    finally:
        os.umask(before)

    assert [stat.S_IMODE(path.stat().st_mode) for path in (files.path("a"), files.secrets)] == [0o600, 0o700]
    assert read_pair(files.path("a"))[0] == public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_that_others_can_read_is_not_used(files: Files, mode: int):
    """Who could read it may have it: the message says what to do."""
    files.issue("a")
    files.path("a").chmod(mode)

    with pytest.raises(ConfigError, match="chmod 600"):
        files.keyring("a")


def test_a_key_that_is_there_is_never_written_over(files: Files):
    """Nor is one listed whose file could not be written."""
    files.issue("a")
    kept = files.path("a").read_bytes()
    revoke(files.list, "a")
    with pytest.raises(ConfigError, match="is there"):
        files.issue("a")

    assert files.path("a").read_bytes() == kept
    assert [key.name for key in read_keys(files.list).listed] == ["a"]


@pytest.mark.parametrize("name", ["../a", "a/b", "", "*", "a\x07"])
def test_a_name_that_cannot_be_is_refused_before_anything_is_written(files: Files, name: str):
    """The list stays one that can be read, and no file is left behind."""
    files.issue("first")
    before = {path: path.read_bytes() for path in files.list.parent.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="expected a name"):
        files.issue(name)

    assert {path: path.read_bytes() for path in files.list.parent.rglob("*") if path.is_file()} == before


def test_a_secret_is_in_its_file_alone(tmp_path: Path):
    """Not in the list, not in what commands print, and not in what they say of a file that they cannot use."""
    config = make(tmp_path / "v")
    said = [sequencer("keys", *words, "--data", str(config.data_dir)) for words in (
        ("issue", "ann", "--role", "client"), ("list",), ("list", "-o", "json"), ("issue", "ann", "--role", "client"),
        ("revoke", "ann"),
    )]  # fmt: skip
    admin = secret_path(config.secrets_directory, "admin")
    secrets = [read_pair(path)[1].decode() for path in config.secrets_directory.iterdir()]
    admin.write_text(admin.read_text().replace('secret = "', 'secret = "!'))
    with pytest.raises(ConfigError) as broken:
        config.keyring()
    everywhere = [str(broken.value), config.keys_path.read_text(), *(done.stdout + done.stderr for done in said)]

    assert [done.returncode for done in said] == [0, 0, 0, 2, 0]
    assert not [secret for secret in secrets for text in everywhere if secret in text]


@pytest.mark.parametrize("text", ["", "secret", "[[", 'name = "a"\n', "\xff", 'secret = "x"\npublic = "y"\nname = "a"'])
def test_a_file_that_holds_no_key_is_told_in_one_line(files: Files, text: str):
    """With the path, and without what is in it."""
    files.issue("a")
    files.path("a").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"a\.key holds no key") as told:
        files.keyring("a")

    assert "\n" not in str(told.value)


@pytest.mark.parametrize("half", ["public", "secret"])
def test_characters_that_are_no_z85_are_no_key(files: Files, half: str):
    """libzmq would end the process over them."""
    files.issue("a")
    text = files.path("a").read_text()
    files.path("a").write_text(re.sub(rf'{half} = ".', f'{half} = "~', text))

    with pytest.raises(ConfigError, match="holds no key"):
        files.keyring("a")


def test_a_list_that_changes_counts(files: Files):
    """What was issued is known, what was revoked is told; what stays the same is not read again."""
    public = files.issue("a")
    keyring = files.keyring("a")
    other = files.issue("b")
    assert (keyring.keys.named("b"), keyring.refresh(), keyring.refresh()) == (None, frozenset(), frozenset())
    assert keyring.keys.of(other.decode()).name == "b"
    revoke(files.list, "a")

    assert keyring.refresh() == {public.decode()}
    assert keyring.keys.of(public.decode()) is None


def test_of_two_changes_within_a_tick_none_is_missed(files: Files):
    """A clock of files that stands still hides no revocation."""
    files.issue("a")
    keyring = files.keyring("a")
    at_ns = files.list.stat().st_mtime_ns
    for name in ("b", "c", "d"):
        public = files.issue(name).decode()
        os.utime(files.list, ns=(at_ns, at_ns))
        keyring.refresh()
        revoke(files.list, name)
        os.utime(files.list, ns=(at_ns, at_ns))

        assert keyring.refresh() == {public}


def test_a_change_while_a_process_starts_is_not_missed(files: Files, monkeypatch: pytest.MonkeyPatch):
    """Whether it is written just before or just after the list is read."""
    public = files.issue("a").decode()
    read_text = Path.read_text

    def read_and_revoke(path: Path, *args: str, **options: str) -> str:
        text = read_text(path, *args, **options)
        if path == files.list:
            monkeypatch.setattr(Path, "read_text", read_text)
            revoke(files.list, "a")
        return text

    monkeypatch.setattr(Path, "read_text", read_and_revoke)
    keyring = files.keyring("a")

    assert keyring.refresh() == {public}


BROKEN = {
    "gone": Path.unlink,
    "emptied": lambda path: path.write_text(""),
    "half written": lambda path: path.write_bytes(path.read_bytes()[:-10]),
    "no text": lambda path: path.write_bytes(b"\xff"),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_list_that_cannot_be_read_is_not_taken(files: Files, case: str):
    """The one before stays in force; it is told once, and a good one counts again."""
    public = files.issue("a").decode()
    keyring = files.keyring("a")
    good = files.list.read_bytes()
    BROKEN[case](files.list)
    with pytest.raises(ConfigError, match=re.escape(str(files.list))):
        keyring.refresh()
    assert (keyring.refresh(), keyring.keys.of(public).name) == (frozenset(), "a")
    if files.list.is_dir():
        files.list.rmdir()
    files.list.write_bytes(good)
    revoke(files.list, "a")

    assert keyring.refresh() == {public}


@pytest.mark.parametrize("case", BROKEN)
def test_no_process_starts_with_a_list_that_cannot_be_read(files: Files, case: str):
    """It would let in nobody, or not know whom."""
    files.issue("a")
    BROKEN[case](files.list)

    with pytest.raises(ConfigError, match=re.escape(str(files.list))):
        files.keyring("a")


def test_of_changes_at_once_none_is_lost(files: Files):
    """Two who issue and revoke at the same time wait for each other."""
    names = [f"k{number}" for number in range(12)]
    files.issue("first")
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(files.issue, names))
        list(pool.map(lambda name: revoke(files.list, name), names[::2]))
    listed = read_keys(files.list).listed

    assert {key.name for key in listed if not key.revoked} == {"first", *names[1::2]}
    assert {key.name for key in listed if key.revoked} == set(names[::2])


def test_who_gives_commands_has_the_key_of_the_environment(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """SEQUENCER_KEY names a file; without it commands are the admin's, and processes their own."""
    publics = {name: files.issue(name) for name in ("admin", "a", "b")}
    assert {name: files.keyring(name).public for name in ("", "a")} == {"": publics["admin"], "a": publics["a"]}
    monkeypatch.setenv(KEY_VARIABLE, str(files.path("b")))

    assert files.keyring("").public == publics["b"]
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="nothing is missing"):
        files.keyring("")


def test_a_server_without_a_key_is_not_connected_to(files: Files):
    """Neither one that is not in the list, nor one whose key was revoked, nor an endpoint of nobody."""
    files.issue("a")
    public = files.issue("node-1", Role.NODE)
    keyring = files.keyring("a", **{"tcp://h:1": "node-1", "tcp://h:2": "node-2", "tcp://h:3": "endpoints.order"})
    assert keyring.server("tcp://h:1") == public
    revoke(files.list, "node-1")
    keyring.refresh()

    for endpoint in ("tcp://h:1", "tcp://h:2", "tcp://h:3", "tcp://h:4"):
        with pytest.raises(ConfigError, match="keys issue"):
            keyring.server(endpoint)


MISTAKES = {
    "a name that is taken": (("issue", "admin", "--role", "admin"), "has a key: revoke it first"),
    "a role that is none": (("issue", "x", "--role", "root"), None),
    "nobody to revoke": (("revoke", "nobody"), "has no key to revoke"),
    "a place that is none": (("issue", "x", "--role", "client", "--out", "/proc/x/y"), "cannot write"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_command_says_what_is_wrong(tmp_path: Path, case: str):
    """In one line, with an exit code that is not 0; the list stays as it was."""
    config = make(tmp_path / "v")
    before = config.keys_path.read_bytes()
    words, expected = MISTAKES[case]
    done = sequencer("keys", *words, "--data", str(config.data_dir))

    assert done.returncode == 2
    assert expected is None or expected in complaint(done, 2)
    assert config.keys_path.read_bytes() == before


def test_init_makes_what_is_missing_once(tmp_path: Path):
    """Every process of venue.toml, and who gives commands; a second time nothing."""
    config = make(tmp_path / "v")
    wanted = {*config.processes, *(node.name for node in config.nodes), "admin"}
    config.keys_path.unlink()
    for path in config.secrets_directory.iterdir():
        path.unlink()
    said = [sequencer("keys", "init", "--data", str(config.data_dir)).stdout.splitlines() for _ in range(2)]

    assert {line.split()[0] for line in said[0]} == wanted
    assert said[1] == []
    assert {key.name for key in read_keys(config.keys_path).listed} == wanted
