"""The determinism check: finds what a machine must not do, by reading its source.

    source --parse--> tree + comments --visit--> findings --minus what a comment allows--> findings

A machine is a function of (sequence number, sequenced time, message). This looks for what would make it depend
on anything else: see RULES. It reads and never runs the code; it knows names, not types, so it finds the usual
ways and proves nothing: replicas under different PYTHONHASHSEEDs are the proof.

Rules that it keeps itself
- A name counts as a builtin, a module or a set as engines/lint_scopes.py says.
- What cannot tell the order of a set may take one: `sorted`, `len`, `min`, `max`, `sum`, `any`, `all`, `in`, sets.
  (Where a `key` has ties, `sorted`, `min` and `max` can tell; this is not found.)
- Code under `if TYPE_CHECKING:` never runs and is not looked at.
- `# lint: allow CODE reason` on the line of a finding takes it away; without a reason it does not.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engines.lint_scopes import Function, Names, assignments, parameters

RULES: Final = {
    "D001": "the source has to be readable Python",
    "D002": "write `# lint: allow CODE reason`, with a code that exists and a reason",
    "D101": "a machine reaches nothing outside: take it from the message, or do it in a gateway or a tool",
    "D102": "a machine has no clock: use the entry's time",
    "D103": "a machine has no input or output: emit an event, or do it in a tool",
    "D104": "code is named in the source, not made or found at run time",
    "D201": "everything is integers: ticks, lots, minor units, ns",
    "D202": "/ makes a float: use // and say which way it rounds",
    "D203": "this makes a float: use integers, fractions or math.isqrt",
    "D301": "it differs between processes: use a sequence number, or a key of your own",
    "D302": "the order of a set differs between processes: use a dict, or sorted(...)",
    "D401": "state lives in the machine, where snapshots see it",
    "D402": "name the one exception that you expect, and let all others halt the replica",
    "D403": "nothing may depend on when an object is freed",
    "D501": "locales and Unicode tables differ between machines and Pythons: compare code points",
}

_MODULES: Final = {
    **dict.fromkeys(("time", "sched", "zoneinfo", "random", "secrets", "uuid", "platform", "resource"), "D101"),
    **dict.fromkeys(("os", "sys", "io", "pathlib", "tempfile", "shutil", "glob", "mmap", "fcntl", "logging"), "D101"),
    **dict.fromkeys(("socket", "ssl", "select", "selectors", "http", "urllib", "zmq", "signal", "ctypes"), "D101"),
    **dict.fromkeys(("threading", "_thread", "queue", "asyncio", "concurrent", "contextvars"), "D101"),
    **dict.fromkeys(("subprocess", "multiprocessing", "inspect", "traceback"), "D101"),
    **dict.fromkeys(("weakref", "gc"), "D403"),
    **dict.fromkeys(("locale", "unicodedata"), "D501"),
    **dict.fromkeys(("importlib", "runpy"), "D104"),
    **dict.fromkeys(("cmath", "statistics"), "D203"),
}
_BUILTINS: Final = {
    **dict.fromkeys(("open", "print", "input", "breakpoint"), "D103"),
    **dict.fromkeys(("eval", "exec", "compile", "__import__", "globals"), "D104"),
    **dict.fromkeys(("float", "complex"), "D203"),
    **dict.fromkeys(("hash", "id"), "D301"),
}
_BROAD: Final = {"except:", "Exception", "BaseException", "MemoryError", "RecursionError"}
_INTEGER_MATH: Final = {"ceil", "comb", "factorial", "floor", "gcd", "isqrt", "lcm", "perm", "prod", "trunc"}
_CLOCK_CALLS: Final = {"now", "utcnow", "today", "fromtimestamp"}
_UNICODE_METHODS: Final = {"isprintable", "isalpha", "isalnum", "isidentifier", "casefold"}
_ANY_ORDER: Final = {"sorted", "len", "min", "max", "sum", "any", "all", "set", "frozenset"}
_TAKES_ORDER: Final = {"list", "tuple", "dict", "str", "repr", "deque", "OrderedDict", "join", "extend", "fromkeys"}
_SPREADS: Final = {ast.Starred: "unpacking", ast.YieldFrom: "iteration", ast.FormattedValue: "the text"}
_ITERATORS: Final = {"iter", "next", "enumerate", "map", "filter", "zip", "reversed"}
_ADDS: Final = {"append", "add", "update", "extend", "insert", "setdefault"}
_REMOVES: Final = {"pop", "popitem", "clear", "remove", "discard"}
_ALLOW: Final = re.compile(r"#\s*lint:\s*allow\b\s*(?P<code>\w+)?\s*(?P<reason>.*)")


@dataclass(frozen=True, order=True)
class Finding:
    """One place that breaks a rule; `line` and `column` count from 1, `message` says what to do instead."""

    filename: str
    line: int
    column: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}:{self.column}: {self.code} {self.message}"


def check(source: str, filename: str) -> list[Finding]:
    """Every finding in the source text, in order of place."""
    try:
        tree = ast.parse(source, filename)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        return [Finding(filename, line, 1, "D001", f"cannot be parsed: {error}")]
    visitor = _Visitor(filename)
    visitor.visit(tree)
    allowed, malformed = _allowances(source, filename)
    kept = [finding for finding in visitor.findings if (finding.line, finding.code) not in allowed]
    return sorted({*kept, *malformed})


def check_path(path: str | Path) -> list[Finding]:
    """Findings in a file, or in every .py file below a directory. Raises FileNotFoundError."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"expected a Python file or a directory, but {path} does not exist")
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [finding for file in files for finding in _check_file(file)]


def check_module(name: str) -> list[Finding]:
    """Findings in a module, or in a whole package, found on sys.path without running any of it.

    `package.module:Class` means its module. Raises ModuleNotFoundError.
    """
    search: list[str] | None = None
    for part in _prefixes(name.partition(":")[0]):
        spec = next((found for finder in sys.meta_path if (found := finder.find_spec(part, search, None))), None)
        if spec is None:
            raise ModuleNotFoundError(f"expected a module on sys.path, but there is no {part!r}", name=part)
        search = list(spec.submodule_search_locations or [])
    if search:
        return [finding for place in search for finding in check_path(place)]
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ModuleNotFoundError(f"expected a module with Python source, but {name!r} has none", name=name)
    return check_path(spec.origin)


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _check_file(file: Path) -> list[Finding]:
    try:
        with tokenize.open(file) as source:
            return check(source.read(), str(file))
    except (SyntaxError, UnicodeDecodeError) as error:
        return [Finding(str(file), 1, 1, "D001", f"cannot be read as Python source: {error}")]


def _allowances(source: str, filename: str) -> tuple[set[tuple[int, str]], list[Finding]]:
    """The (line, code) pairs that comments allow, and the comments that allow nothing."""
    allowed, malformed = set(), []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        found = _ALLOW.search(token.string) if token.type == tokenize.COMMENT else None
        if found is None:
            continue
        line, column = token.start
        if found["code"] in RULES and found["reason"].strip():
            allowed.add((line, found["code"]))
        else:
            malformed.append(Finding(filename, line, column + 1, "D002", RULES["D002"]))
    return allowed, malformed


class _Visitor(ast.NodeVisitor):
    """Walks a module from top to bottom and notes what breaks a rule."""

    def __init__(self, filename: str) -> None:
        self.findings: list[Finding] = []
        self._filename = filename
        self._names = Names()
        self._excused: set[ast.AST] = set()
        """Nodes that a construct around them makes harmless."""

    def _find(self, node: ast.expr | ast.stmt | ast.excepthandler, code: str, what: str) -> None:
        place = (self._filename, node.lineno, node.col_offset + 1)
        self.findings.append(Finding(*place, code, f"{what}: {RULES[code]}"))

    # scopes

    def visit_Module(self, node: ast.Module) -> None:
        self._inside(node, node.body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._each([*node.decorator_list, *node.bases, *node.keywords])
        self._inside(node, node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.name == "__del__":
            self._find(node, "D403", "__del__ runs when the collector pleases")
        self._each([*node.decorator_list, node.args, *([node.returns] if node.returns else [])])
        self._inside(node, node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._each([node.args])
        self._inside(node, [node.body])

    def _inside(self, node: ast.AST, body: Iterable[ast.AST]) -> None:
        self._names.enter(node)
        for parameter in parameters(node) if isinstance(node, Function) else []:
            self._names.learn(ast.Name(parameter.arg), None, parameter.annotation)
        self._each(body)
        self._names.leave()

    def _each(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" in {getattr(node.test, "id", ""), getattr(node.test, "attr", "")}:
            self._each(node.orelse)
        else:
            self.generic_visit(node)

    # imports and names

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            self._module(node, top)
            self._names.learn_import(alias.asname or top, alias.name if alias.asname else top)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or node.module is None:
            return
        self._module(node, node.module.partition(".")[0])
        for alias in node.names:
            path = f"{node.module}.{alias.name}"
            self._names.learn_import(alias.asname or alias.name, path)
            self._path(node, path)

    def _module(self, node: ast.stmt, top: str) -> None:
        if top in _MODULES:
            self._find(node, _MODULES[top], f"import of {top}")

    def _path(self, node: ast.expr | ast.stmt, path: str) -> None:
        top, _, last = path.rpartition(".")
        if top in {"datetime.datetime", "datetime.date"} and last in _CLOCK_CALLS:
            self._find(node, "D102", path)
        elif path == "operator.truediv":
            self._find(node, "D202", path)
        elif top == "math" and last not in _INTEGER_MATH:
            self._find(node, "D203", path)

    def visit_Name(self, node: ast.Name) -> None:
        builtin = self._names.builtin(node)
        if builtin in _BUILTINS and isinstance(node.ctx, ast.Load) and node not in self._excused:
            self._find(node, _BUILTINS[builtin], builtin)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        path = self._names.imported(node)
        if path is not None:
            self._path(node, path)
            if not isinstance(node.ctx, ast.Load):
                self._find(node, "D401", f"assignment to {path}")
        if node.attr in _UNICODE_METHODS and node not in self._excused:
            self._find(node, "D501", f".{node.attr}()")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        """Behind `isascii() and` the Unicode tables say the same everywhere."""
        called = [part.func for part in ast.walk(node) if isinstance(part, ast.Call)]
        if isinstance(node.op, ast.And) and any(getattr(one, "attr", "") == "isascii" for one in called):
            self._excused.update(called)
        self.generic_visit(node)

    # numbers

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, float | complex):
            self._find(node, "D201", repr(node.value))

    def visit_BinOp(self, node: ast.BinOp | ast.AugAssign) -> None:
        if isinstance(node.op, ast.Div):
            self._find(node, "D202", "true division")
        exponent = node.right if isinstance(node, ast.BinOp) else node.value
        if isinstance(node.op, ast.Pow) and isinstance(exponent, ast.UnaryOp) and isinstance(exponent.op, ast.USub):
            self._find(node, "D203", "a negative power")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit_BinOp(node)

    # sets

    def visit_For(self, node: ast.For) -> None:
        self._ordered(node.iter, "iteration")
        self._names.learn(node.target, None)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._ordered(node.iter, "iteration")
        self.generic_visit(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._excused.update(generator.iter for generator in node.generators)
        self.generic_visit(node)

    def visit_Set(self, node: ast.Set) -> None:
        self._excused.update(one.value for one in node.elts if isinstance(one, ast.Starred))
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred | ast.YieldFrom | ast.FormattedValue) -> None:
        self._ordered(node.value, _SPREADS[type(node)])
        self.generic_visit(node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        self.visit_Starred(node)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        self.visit_Starred(node)

    def _ordered(self, node: ast.expr, what: str) -> None:
        if self._names.is_set(node) and node not in self._excused:
            self._find(node, "D302", f"{what} of a set")

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, ast.Tuple | ast.List) for target in node.targets):
            self._ordered(node.value, "unpacking")
        self.visit_AnnAssign(node)

    def visit_AnnAssign(self, node: ast.Assign | ast.AnnAssign) -> None:
        self.generic_visit(node)
        for target, value, annotation in assignments(node):
            self._names.learn(target, value, annotation)

    # calls

    def visit_Call(self, node: ast.Call) -> None:
        builtin = self._names.builtin(node.func)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if builtin == "isinstance":
            self._excused.update(part for argument in node.args[1:] for part in ast.walk(argument))
        if builtin in _ANY_ORDER:
            self._excuse_order(node)
        if name in _TAKES_ORDER or builtin in _ITERATORS:
            for argument in node.args:
                self._ordered(argument, f"{name}()")
        if isinstance(node.func, ast.Attribute):
            self._method(node, node.func)
        if self._names.imported(node.func) == "contextlib.suppress":
            self._caught(node, node.args)
        self.generic_visit(node)

    def _excuse_order(self, node: ast.Call) -> None:
        for argument in node.args:
            if isinstance(argument, ast.GeneratorExp | ast.ListComp):
                self._excused.update(generator.iter for generator in argument.generators)
            elif isinstance(argument, ast.Starred):
                self._excused.add(argument.value)

    def _method(self, node: ast.Call, called: ast.Attribute) -> None:
        if called.attr == "pop" and not node.args and self._names.is_set(called.value):
            self._find(node, "D302", "pop() of a set")
        if called.attr in _ADDS | _REMOVES and self._names.is_outer_container(called.value):
            self._find(node, "D401", f".{called.attr}() on a module's variable")

    # state outside, errors

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load) and self._names.is_outer_container(node.value):
            self._find(node, "D401", "assignment into a module's variable")
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        self._find(node, "D401", f"{type(node).__name__.lower()} {', '.join(node.names)}")

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.visit_Global(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if not isinstance(node.body[-1], ast.Raise):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            self._caught(node, kinds)
        self.generic_visit(node)

    def _caught(self, node: ast.expr | ast.excepthandler, kinds: Iterable[ast.expr | None]) -> None:
        names = {"except:" if kind is None else self._names.builtin(kind) for kind in kinds}
        for name in sorted(name for name in names if name in _BROAD):
            self._find(node, "D402", f"{name} swallowed")
