"""The determinism check finds what a machine must not do, and nothing else."""

from pathlib import Path
from textwrap import dedent

import pytest

from engines.lint import RULES, Finding, check, check_module, check_path


def codes(source: str) -> list[str]:
    return [finding.code for finding in check(dedent(source), "machine.py")]


BAD = [
    ("D001", "def f(:\n"),
    ("D002", "x = 1  # lint: allow D301"),
    ("D002", "x = 1  # lint: allow D999 because I like it"),
    ("D101", "import time"),
    ("D101", "import os.path"),
    ("D101", "from random import Random"),
    ("D101", "from os import environ"),
    ("D101", "def f():\n    import threading"),
    ("D101", "try:\n    import uuid\nexcept ImportError:\n    pass"),
    ("D102", "import datetime\nt = datetime.datetime.now()"),
    ("D102", "from datetime import datetime as dt\nt = dt.utcnow()"),
    ("D102", "from datetime import date\nd = date.today()"),
    ("D103", "def f(path):\n    with open(path) as file:\n        return file.read()"),
    ("D103", "print('hello')"),
    ("D104", "eval('1')"),
    ("D104", "__import__('time')"),
    ("D201", "x = 0.5"),
    ("D201", "x = 10 * 1e9"),
    ("D202", "def f(a, b):\n    return a / b"),
    ("D202", "def f(a):\n    a /= 2"),
    ("D203", "def f(a):\n    return float(a)"),
    ("D203", "import math\nx = math.sqrt(2)"),
    ("D203", "from math import log as ln"),
    ("D203", "x = 10 ** -2"),
    ("D203", "class Order:\n    price: float"),
    ("D301", "def f(a):\n    return hash(a)"),
    ("D301", "def f(orders):\n    return sorted(orders, key=id)"),
    ("D302", "for x in {1, 2}:\n    pass"),
    ("D302", "s = set()\nfor x in s:\n    pass"),
    ("D302", "def f(names: set[str]):\n    return [name for name in names]"),
    ("D302", "def f(names: frozenset[str]):\n    return {name: 1 for name in names}"),
    ("D302", "def f(a, b):\n    return list(set(a) - set(b))"),
    ("D302", "def f(a):\n    return dict.fromkeys(set(a))"),
    ("D302", "def f(a):\n    return ','.join({str(x) for x in a})"),
    ("D302", "def f(a):\n    s = set(a)\n    return s.pop()"),
    ("D302", "def f(a):\n    first, second = set(a)\n    return first"),
    ("D302", "def f(a, g):\n    return g(*set(a))"),
    ("D302", "def f(a):\n    return f'{set(a)}'"),
    ("D302", "def f(a):\n    yield from frozenset(a)"),
    ("D302", "def f(a):\n    for i, x in enumerate(set(a)):\n        return x"),
    ("D302", "def f(a, b):\n    for x in a.keys() - b.keys():\n        return x"),
    ("D302", "LIVE = frozenset('ab')\ndef f():\n    return tuple(LIVE)"),
    (
        "D302",
        "class M:\n    def __init__(self):\n        self.s = set()\n    def f(self):\n        return list(self.s)",
    ),
    ("D302", "class M:\n    s: set[int]\n    def f(self):\n        return [x for x in self.s.union([1])]"),
    ("D401", "n = 0\ndef f():\n    global n\n    n = 1"),
    ("D401", "def f():\n    n = 0\n    def g():\n        nonlocal n\n        n = 1"),
    ("D401", "import engines.messages as m\nm.INT_MAX = 5"),
    ("D401", "from engines.messages import Trade\ndef f():\n    Trade.seen = True"),
    ("D401", "CACHE = {}\ndef f(x):\n    CACHE[x] = 1"),
    ("D401", "SEEN: list[int] = []\ndef f(x):\n    SEEN.append(x)"),
    ("D402", "try:\n    pass\nexcept:\n    pass"),
    ("D402", "try:\n    pass\nexcept Exception as error:\n    x = error"),
    ("D402", "try:\n    pass\nexcept (ValueError, BaseException):\n    pass"),
    ("D402", "from contextlib import suppress\nwith suppress(Exception):\n    pass"),
    ("D403", "import weakref"),
    ("D403", "import gc"),
    ("D403", "class M:\n    def __del__(self):\n        pass"),
    ("D501", "import locale"),
    ("D501", "def f(name):\n    return name.isprintable()"),
]


@pytest.mark.parametrize(("code", "source"), BAD)
def test_a_bad_snippet_has_its_code_once(code: str, source: str):
    """Each way to leave determinism is found, under its own code and no other."""
    assert codes(source) == [code]


@pytest.mark.parametrize(
    "source",
    [
        "import datetime\nx = datetime.timedelta(seconds=1)",
        "import math\nx = math.isqrt(5) + math.gcd(4, 6)",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import socket",
        "from . import time",
        "def f(id, hash):\n    return id + hash",
        "def f(order):\n    return order.id, order.hash(), order.open, order.print()",
        "def f(orders):\n    return [id for id in orders]",
        "def f(open: bool):\n    return lambda: open",
        "def f(a, b):\n    return a // b, divmod(a, b), a ** 2",
        "def f(x):\n    return isinstance(x, (int, float))",
        "def f(x, s: set[int]):\n    return x in s, len(s), sorted(s), min(s), sum(s), any(s)",
        "def f(s: set[int]):\n    return sorted(x + 1 for x in s), sum([x for x in s]), {x + 1 for x in s}",
        "def f(s: set[int]):\n    return {*s, 1}, s | {2}, set(s), max(*s)",
        "def f(a):\n    s = set(a)\n    s = sorted(s)\n    return [x for x in s]",
        "def f(d):\n    return [x for x in d], list(d.keys()), d.pop(1), (d or [1]).pop()",
        "def f(x: dict[int, set[int]]):\n    return list(x)",
        "class M:\n    def __init__(self):\n        self.s = {}\n    def f(self):\n        return list(self.s)",
        "class M:\n    def f(self):\n        self.n = 1\n        self.cache[1] = 2\n        self.seen.append(1)",
        "TABLE = {}\nTABLE[1] = 2",
        "TABLE = {}\ndef f(TABLE):\n    TABLE[1] = 2",
        "def f(x):\n    try:\n        return x[1]\n    except KeyError:\n        return None",
        "def f(x):\n    try:\n        return x()\n    except Exception:\n        x.undo()\n        raise",
        "def f(name):\n    return name.isascii() and name.isprintable()",
        "def f(sets):\n    for s in sets:\n        yield s",
        "def f(a):\n    match a:\n        case {'x': id, **rest}:\n            return id, rest",
        "x = 'print(hash(1)) # lint: allow'",
    ],
)
def test_a_good_snippet_has_no_findings(source: str):
    """What is deterministic passes, also where it looks like something that is not."""
    assert codes(source) == []


def test_an_allowance_takes_away_one_code_on_one_line():
    """`# lint: allow CODE reason` silences that code there, and nothing else."""
    source = """
        x = hash(1)  # lint: allow D301 an integer hashes to itself
        y = hash(0.5)  # lint: allow D301 shown in a test
        z = hash(2)
    """
    assert [(finding.line, finding.code) for finding in check(dedent(source), "m.py")] == [(3, "D201"), (4, "D301")]


def test_an_allowance_without_a_reason_allows_nothing():
    """Whoever makes an exception says why."""
    assert codes("x = hash(1)  # lint: allow D301") == ["D301", "D002"]


def test_a_finding_says_where_and_what_to_do():
    """Line and column count from 1, and the message has the rule's advice."""
    (finding,) = check("\nx = 1 / 2\n", "m.py")

    assert finding == Finding("m.py", 2, 5, "D202", f"true division: {RULES['D202']}")
    assert str(finding).startswith("m.py:2:5: D202 true division: ")


def test_a_directory_is_read_file_by_file(tmp_path: Path):
    """check_path takes a file or a tree, in a fixed order, and names each file."""
    (tmp_path / "b.py").write_text("import time\n")
    (tmp_path / "a.py").write_text("x = 1.5\n")
    (tmp_path / "bad.py").write_bytes(b"# coding: nonsense\n")

    found = [(Path(finding.filename).name, finding.code) for finding in check_path(tmp_path)]

    assert found == [("a.py", "D201"), ("b.py", "D101"), ("bad.py", "D001")]
    assert [finding.code for finding in check_path(tmp_path / "b.py")] == ["D101"]


def test_what_is_not_there_cannot_pass(tmp_path: Path):
    """A path or module that does not exist is an error, never an empty list."""
    with pytest.raises(FileNotFoundError):
        check_path(tmp_path / "none.py")
    with pytest.raises(ModuleNotFoundError):
        check_module("engines.none_such")
    with pytest.raises(ModuleNotFoundError):
        check_module("math")


def test_a_module_is_found_without_running_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """check_module reads the source, also of `package.module:Class`, and imports nothing."""
    (tmp_path / "my_machine").mkdir()
    (tmp_path / "my_machine" / "__init__.py").write_text("raise SystemExit\n")
    (tmp_path / "my_machine" / "core.py").write_text("class Mine:\n    rate = 0.5\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert [finding.code for finding in check_module("my_machine.core:Mine")] == ["D201"]
    assert [finding.code for finding in check_module("my_machine")] == ["D201"]


@pytest.mark.parametrize("module", ["engines.credit", "engines.matching", "engines.messages", "engines.machine"])
def test_our_own_machines_pass(module: str):
    """Credit, matching and their language hold what users' machines are held to."""
    assert check_module(module) == []


def test_every_rule_is_exercised():
    """No rule stands in the table without a snippet that breaks it."""
    assert {code for code, _ in BAD} == set(RULES)
