"""What the names in a module mean at each place, as far as its source tells.

    module scope <- class scope <- function scope <- the place in hand

Rules
- A name means what the innermost scope that binds it says; a class's names are not seen from its methods. A name
  that no scope binds is a builtin.
- A name is a set from the statement that makes it one to the statement that makes it something else, read from
  top to bottom. An attribute of `self` is a set where its class annotates it as one, or assigns it sets only.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_SET_METHODS: Final = {"union", "intersection", "difference", "symmetric_difference", "copy"}
_SET_TYPES: Final = {"set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet"}
_SET_OPERATORS: Final = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)
_CONTAINERS: Final = {"dict", "list", "set", "defaultdict", "deque", "OrderedDict", "Counter"}

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass
class Scope:
    """The names that a module, class or function binds, and what is known of them so far."""

    node: ast.AST
    bound: frozenset[str]
    imports: dict[str, str] = field(default_factory=dict)
    sets: set[str] = field(default_factory=set)
    containers: set[str] = field(default_factory=set)


class Names:
    """What the names at the place in hand mean, by Python's rules of scope."""

    def __init__(self) -> None:
        self._scopes: list[Scope] = []
        self._set_attributes: list[frozenset[str]] = [frozenset()]

    def enter(self, node: ast.AST) -> None:
        """Go into the module, class or function."""
        self._scopes.append(Scope(node, frozenset(_bound_names(node))))
        if isinstance(node, ast.ClassDef):
            self._set_attributes.append(self._attributes_of(node))

    def leave(self) -> None:
        """Go back out of what was entered last."""
        if isinstance(self._scopes.pop().node, ast.ClassDef):
            self._set_attributes.pop()

    def in_function(self) -> bool:
        """Whether the place in hand runs when something is called, and not when the module is imported."""
        return any(isinstance(scope.node, Function) for scope in self._scopes)

    def _binding(self, name: str) -> Scope | None:
        """The scope that binds the name; a class's names are not seen from its methods."""
        for depth, scope in enumerate(reversed(self._scopes)):
            if name in scope.bound and (depth == 0 or not isinstance(scope.node, ast.ClassDef)):
                return scope
        return None

    def builtin(self, node: ast.expr | None) -> str | None:
        """The builtin that the expression names, if it does."""
        return node.id if isinstance(node, ast.Name) and self._binding(node.id) is None else None

    def imported(self, node: ast.expr) -> str | None:
        """The dotted path from the top-level module that the expression names, if it is imported."""
        if isinstance(node, ast.Attribute):
            owner = self.imported(node.value)
            return f"{owner}.{node.attr}" if owner else None
        name = node.id if isinstance(node, ast.Name) else ""
        scope = self._binding(name)
        return scope.imports.get(name) if scope else None

    def learn_import(self, name: str, path: str) -> None:
        """From here on the name means what is at the dotted path."""
        self._scopes[-1].imports[name] = path

    def learn(self, target: ast.expr, value: ast.expr | None, annotation: ast.expr | None = None) -> None:
        """From here on the target is what was assigned."""
        if isinstance(target, ast.Name):
            scope = self._scopes[-1]
            is_set = _is_set_type(annotation) or (value is not None and self.is_set(value))
            (scope.sets.add if is_set else scope.sets.discard)(target.id)
            if self._is_container(value):
                scope.containers.add(target.id)

    def is_outer_container(self, node: ast.expr) -> bool:
        """Whether this is a mutable container of the module, seen from within a function."""
        scope = self._binding(node.id) if isinstance(node, ast.Name) and self.in_function() else None
        return scope is not None and isinstance(scope.node, ast.Module) and getattr(node, "id", "") in scope.containers

    def is_set(self, node: ast.expr) -> bool:
        """Whether the expression is known to be a set."""
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Call(func=ast.Attribute(value=owner, attr=method)):
                return method in _SET_METHODS and self.is_set(owner)
            case ast.Call(func=called):
                return self.builtin(called) in {"set", "frozenset"}
            case ast.BinOp(left=left, op=operator, right=right):
                sides = (left, right)
                return isinstance(operator, _SET_OPERATORS) and any(self.is_set(one) or _is_keys(one) for one in sides)
            case ast.IfExp(body=one, orelse=other):
                return self.is_set(one) or self.is_set(other)
            case ast.BoolOp(values=values):
                return any(self.is_set(value) for value in values)
            case ast.NamedExpr(value=value):
                return self.is_set(value)
            case ast.Name(id=name):
                scope = self._binding(name)
                return scope is not None and name in scope.sets
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                return name in self._set_attributes[-1]
        return False

    def _is_container(self, value: ast.expr | None) -> bool:
        if isinstance(value, ast.Call):
            name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
            return name in _CONTAINERS
        return isinstance(value, ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp | ast.SetComp)

    def _attributes_of(self, node: ast.ClassDef) -> frozenset[str]:
        """The attributes and fields that are annotated as sets, or are only ever assigned sets."""
        declared: set[str] = set()
        sets: set[str] = set()
        others: set[str] = set()
        for statement in ast.walk(node):
            for target, value, annotation in assignments(statement):
                own = isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self"
                is_field = isinstance(target, ast.Name) and statement in node.body
                name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
                if not (own or is_field):
                    continue
                if _is_set_type(annotation):
                    declared.add(name)
                elif value is not None:
                    (sets if self.is_set(value) else others).add(name)
        return frozenset(declared | (sets - others))


def assignments(statement: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None, ast.expr | None]]:
    """(target, value, annotation) of each plain or annotated assignment."""
    if isinstance(statement, ast.Assign):
        yield from ((target, statement.value, None) for target in statement.targets)
    elif isinstance(statement, ast.AnnAssign):
        yield statement.target, statement.value, statement.annotation


def _is_set_type(annotation: ast.expr | None) -> bool:
    if isinstance(annotation, ast.Subscript):
        annotation = annotation.value
    name = annotation.attr if isinstance(annotation, ast.Attribute) else getattr(annotation, "id", "")
    return name in _SET_TYPES


def _is_keys(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"keys", "items"}


def parameters(node: Function) -> list[ast.arg]:
    """All parameters of a function, *args and **kwargs included."""
    given = node.args
    rest = [one for one in (given.vararg, given.kwarg) if one is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *rest]


def _bound_names(node: ast.AST) -> Iterator[str]:
    """The names that a scope binds itself, nested scopes left out (their own names belong to it)."""
    if isinstance(node, Function):
        yield from (parameter.arg for parameter in parameters(node))
    waiting = list(ast.iter_child_nodes(node))
    while waiting:
        child = waiting.pop()
        yield from _names_bound_by(child)
        if not isinstance(child, _SCOPES):
            waiting.extend(ast.iter_child_nodes(child))


def _names_bound_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in names)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)):
            yield name
