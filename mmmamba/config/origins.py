"""Where each value of a config was written: the file of its `_base_` chain, and the line.

A file's own lines are read from its syntax tree, what it inherits from its bases. Where a value is
computed (a loop, a function, `{{_base_.x}}`), the file is found by comparing with what its bases
say.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from mmengine.config import Config

from .read import bases

Keys = tuple[str | int, ...]
# None is a value that configs have.
_NOTHING = object()


@dataclass(frozen=True)
class Origin:
    """What set a value."""

    source: str
    """A file, or `--cfg-options`."""
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


class Origins:
    """The origins of a config's values.

    Args:
        file: the config.
        options: dotted keys that were set after it was read.
    """

    def __init__(self, file: str | Path, options: Iterable[str] = ()) -> None:
        self._file = Path(file).resolve()
        self._options = [tuple(option.split(".")) for option in options]

    def of(self, keys: Keys) -> Origin:
        """What set a value.

        Args:
            keys: the way to it, such as `("model", "backbone", "type")`; list entries by number.
        """
        words = tuple(map(str, keys))
        # An option for a section sets all that lies below it, too.
        if any(words[: len(option)] == option for option in self._options):
            return Origin("--cfg-options")
        return _origin(self._file, keys)


def leaves(node: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Every value below a node with its keys.

    Lists are taken apart where they hold dictionaries, at any depth.
    """
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from leaves(value, (*keys, key))
    elif _holds_dict(node):
        for index, value in enumerate(node):
            yield from leaves(value, (*keys, index))
    else:
        yield keys, node


def _holds_dict(node: Any) -> bool:
    if not isinstance(node, (list, tuple)):
        return False
    return any(isinstance(value, dict) or _holds_dict(value) for value in node)


def shown(path: Path) -> str:
    """Relative to where we are, if it lies there."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


class _Written(NamedTuple):
    """What the text of one file says about a value."""

    certain: bool
    """The file writes the value itself, in `line`."""
    line: int | None
    """If not certain: where it computes something that the value may come from."""


class _Entry(NamedTuple):
    """What a file writes for a name, a key or a place in a list."""

    value: ast.expr
    line: int
    """Where the name or key stands; its value may begin in a later one."""


@dataclass(frozen=True)
class _File:
    """A config file, run and parsed."""

    values: dict[str, Any]
    """Resolved, bases included."""
    bases: list[Path]
    """The last one first: later bases win."""
    assigned: dict[str, _Entry]
    """What its text assigns to each name."""
    imports: bool
    """Its bases are imported (`read_base`), and not told apart here."""

    def written(self, keys: Keys) -> _Written:
        """What the file says itself about the value at `keys`."""
        if str(keys[0]) not in self.assigned:
            return _Written(False, None)
        node, line = self.assigned[str(keys[0])]
        for key in keys[1:]:
            children = _entries(self._meant(node))
            if children is None:
                # Below something computed, which may have made the value or have taken it over.
                return _Written(False, line)
            if key not in children:
                # A dictionary that is merged into that of a base, which says the rest.
                return _Written(False, None)
            node, line = children[key]
        return _Written(True, line)

    def _meant(self, node: ast.expr) -> ast.expr:
        """What a variable of the file stands for."""
        # A variable may be written in terms of itself (`x = x`), or two of each other.
        seen = set()
        while isinstance(node, ast.Name) and node.id in self.assigned and node.id not in seen:
            seen.add(node.id)
            node = self.assigned[node.id].value
        return node


def _origin(file: Path, keys: Keys) -> Origin:
    read = _read(file, file.stat().st_mtime_ns)
    certain, line = read.written(keys)
    # What the text does not settle is settled by values: a base has this one, or it is ours.
    if not certain:
        value = _at(read.values, keys)
        for base in read.bases:
            inherited = _at(_read(base, base.stat().st_mtime_ns).values, keys)
            # Where the file computes something, it has taken over what a base has unchanged.
            if inherited is not _NOTHING and (line is None or inherited == value):
                return _origin(base, keys)
    if line is None and read.imports:
        return Origin(f"{shown(file)} or what it imports")
    return Origin(shown(file), line)


def _entries(node: ast.expr) -> dict[str | int, _Entry] | None:
    """The entries of a written dictionary or list; None for what is computed."""
    if _is_dict_call(node):
        return _keyword_entries(node.keywords)
    if isinstance(node, ast.Dict):
        return _key_entries(node)
    if isinstance(node, (ast.List, ast.Tuple)):
        # A starred entry moves those behind it: their places cannot be read off the text.
        if any(isinstance(element, ast.Starred) for element in node.elts):
            return None
        return {index: _Entry(value, value.lineno) for index, value in enumerate(node.elts)}
    return None


def _is_dict_call(node: ast.expr) -> TypeGuard[ast.Call]:
    """`dict(...)` with keywords alone."""
    if not isinstance(node, ast.Call) or node.args:
        return False
    return isinstance(node.func, ast.Name) and node.func.id == "dict"


def _keyword_entries(keywords: list[ast.keyword]) -> dict[str | int, _Entry] | None:
    found: dict[str | int, _Entry] = {}
    for keyword in keywords:
        if keyword.arg is None:
            # `**other` may hold anything.
            return None
        found[keyword.arg] = _Entry(keyword.value, keyword.lineno)
    return found


def _key_entries(node: ast.Dict) -> dict[str | int, _Entry] | None:
    found: dict[str | int, _Entry] = {}
    for key, value in zip(node.keys, node.values):
        if not isinstance(key, ast.Constant) or not isinstance(key.value, (str, int)):
            return None
        found[key.value] = _Entry(value, key.lineno)
    return found


@cache
def _read(file: Path, changed: int) -> _File:
    """A file by its path and the time of its last change, which the cache tells apart by."""
    values = Config.fromfile(file, import_custom_modules=False).to_dict()
    # Only the top level: what loops, branches and functions assign counts as computed. A name that
    # is assigned twice has its last value, as when the file runs.
    assigned = {}
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    assigned[target.id] = _Entry(statement.value, statement.lineno)
    if Config._is_lazy_import(str(file)):
        return _File(values, [], assigned, imports=True)
    return _File(values, bases(file)[::-1], assigned, imports=False)


def _at(node: Any, keys: Keys) -> Any:
    """The value below a node, or `_NOTHING`."""
    for key in keys:
        if isinstance(node, dict):
            node = node.get(key, _NOTHING)
        elif isinstance(node, (list, tuple)) and isinstance(key, int) and key < len(node):
            node = node[key]
        else:
            return _NOTHING
    return node
