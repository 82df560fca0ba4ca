"""Where each value of a config was written: the file of its `_base_` chain, and the line.

A file's own lines are read from its syntax tree, what it inherits from its bases. Where a value is
computed (a loop, a function, `{{_base_.x}}`), the file is found by comparing with what its bases
say.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

Keys = tuple[str | int, ...]
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
        """What set the value at `keys`, such as `("model", "backbone", "type")`; list entries are
        named by number."""
        words = tuple(map(str, keys))
        if any(words[: len(option)] == option for option in self._options):
            return Origin("--cfg-options")
        return _origin(self._file, keys)


def leaves(node: Any, keys: Keys = ()) -> Iterable[tuple[Keys, Any]]:
    """Every value below a node with its keys. Lists are taken apart where they hold dictionaries,
    at any depth."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from leaves(value, (*keys, key))
    elif _holds_dict(node):
        for index, value in enumerate(node):
            yield from leaves(value, (*keys, index))
    else:
        yield keys, node


def _holds_dict(node: Any) -> bool:
    return isinstance(node, (list, tuple)) and any(
        isinstance(value, dict) or _holds_dict(value) for value in node
    )


def shown(path: Path) -> str:
    """Relative to where we are, if it lies there."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _origin(file: Path, keys: Keys) -> Origin:
    read = _read(file, file.stat().st_mtime_ns)
    stated, line = read.stated(keys)
    if not stated:
        value = _at(read.values, keys)
        for base in read.bases:
            inherited = _at(_read(base, base.stat().st_mtime_ns).values, keys)
            if inherited is not _NOTHING and (line is None or inherited == value):
                return _origin(base, keys)
    return Origin(
        shown(file) if line or not read.imports else f"{shown(file)} or what it imports", line
    )


@dataclass(frozen=True)
class _File:
    values: dict[str, Any]
    """Resolved, bases included."""
    bases: list[Path]
    assigned: dict[str, ast.expr]
    imports: bool
    """Its bases are imported (`read_base`), and not told apart here."""

    def stated(self, keys: Keys) -> tuple[bool, int | None]:
        """Whether the file itself writes this value, and in which line; a line without that:
        perhaps, by computing."""
        node, line = self.assigned.get(str(keys[0])), None
        if node is None:
            return False, None
        line = node.lineno
        for key in keys[1:]:
            children = _children(self._named(node))
            if children is None:
                return False, line
            if key not in children:
                return False, None
            node, line = children[key]
        return True, line

    def _named(self, node: ast.expr) -> ast.expr:
        """What a variable of the file stands for."""
        seen = set()
        while isinstance(node, ast.Name) and node.id in self.assigned and node.id not in seen:
            seen.add(node.id)
            node = self.assigned[node.id]
        return node


def _children(node: ast.expr) -> dict[str | int, tuple[ast.expr, int]] | None:
    """The entries of a written dictionary or list with their lines; None for what is computed."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "dict"
        and not node.args
    ):
        names = [k.arg for k in node.keywords]
        return None if None in names else {k.arg: (k.value, k.lineno) for k in node.keywords}
    if isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
        return {key.value: (value, key.lineno) for key, value in zip(node.keys, node.values)}
    if isinstance(node, (ast.List, ast.Tuple)) and not any(
        isinstance(e, ast.Starred) for e in node.elts
    ):
        return {index: (value, value.lineno) for index, value in enumerate(node.elts)}
    return None


@cache
def _read(file: Path, changed: int) -> _File:
    values = Config.fromfile(file, import_custom_modules=False).to_dict()
    if file.suffix != ".py":
        # A base in YAML has no lines here: all that its own bases do not say is the file's.
        return _File(values, _bases(file), {}, False)
    assigned = {
        target.id: statement.value
        for statement in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    imports = Config._is_lazy_import(str(file))
    return _File(values, [] if imports else _bases(file), assigned, imports)


def _bases(file: Path) -> list[Path]:
    found = [Config._get_cfg_path(base, str(file))[0] for base in Config._get_base_files(str(file))]
    # Later bases win, and are asked first.
    return [Path(path).resolve() for path in reversed(found)]


def _at(node: Any, keys: Keys) -> Any:
    for key in keys:
        if isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, (list, tuple)) and isinstance(key, int) and key < len(node):
            node = node[key]
        else:
            return _NOTHING
    return node
