"""Which arguments the class or function takes that a config names by its `type`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from mmengine import registry
from mmengine.registry import Registry

REGISTRIES = (
    registry.DATA_SAMPLERS,
    registry.DATASETS,
    registry.EVALUATOR,
    registry.HOOKS,
    registry.LOG_PROCESSORS,
    registry.LOOPS,
    registry.METRICS,
    registry.MODELS,
    registry.OPTIM_WRAPPERS,
    registry.OPTIMIZERS,
    registry.PARAM_SCHEDULERS,
    registry.TASK_UTILS,
    registry.TRANSFORMS,
    registry.VISBACKENDS,
    registry.VISUALIZERS,
)


def class_name(kind: Any) -> str:
    """The class's own name, whether a config gives a class, a name or a name with its library's."""
    return kind.split(".")[-1] if isinstance(kind, str) else kind.__name__


def makes_one_of(item: Any, *names: str) -> bool:
    """Whether an entry of a config's list is a dict for one of these types."""
    return isinstance(item, dict) and class_name(item["type"]) in names


def constructor_arguments(name: Any, scope: str | None) -> set[str] | None:
    """Argument names of the registered class or function, or None if it is unknown or takes any."""
    # One name may be registered in several places, and which is meant is not known here. So a
    # key is taken if any of them takes it, and one of them that takes any key ends the search.
    names: set[str] = set()
    for target in targets(name, scope):
        arguments = _arguments(target)
        if arguments is None:
            return None
        names |= arguments
    return names or None


@cache
def _arguments(target: Callable) -> frozenset[str] | None:
    """Named arguments along the inheritance chain.

    It is followed while constructors do nothing with their `**kwargs` but hand it on. None where
    one does something else with it, or where the chain ends before all of it is taken.
    """
    names: set[str] = set()
    for function in constructors(target):
        if function is object.__init__:
            break
        # `signature` looks through decorators that keep what they wrap.
        parameters = list(inspect.signature(function).parameters.values())
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        names |= _old_names(function)
        rest = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
        # Nothing is handed on: the constructors behind this one get no key of the config.
        if rest is None:
            return frozenset(names - {"self"})
        if not _only_hands_on(function, rest):
            return None
    return None


def constructors(target: Any) -> list[Callable]:
    """The constructors of a class in the order in which they are called, or the function itself."""
    if not inspect.isclass(target):
        return [target]
    # By ancestor, not by attribute: an inherited constructor would be found once for each heir.
    own = [vars(ancestor) for ancestor in target.__mro__]
    return [members["__init__"] for members in own if "__init__" in members]


def _old_names(function: Callable) -> set[str]:
    """Names that MMEngine's `deprecated_api_warning` still takes.

    It keeps them in a dictionary around the function.
    """
    found: set[str] = set()
    for cell in getattr(function, "__closure__", None) or ():
        if isinstance(cell.cell_contents, dict):
            found |= {name for name in cell.cell_contents if isinstance(name, str)}
    return found


def _only_hands_on(function: Callable, rest: str) -> bool:
    """Whether a constructor does nothing with its `**rest` but give it to the next constructor."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError):
        return False
    # Each mention of the name has to be one that hands it on; any other reads or changes it.
    handed = used = 0
    for node in ast.walk(tree):
        used += _is_name(node, rest)
        # super(Other, self) skips a constructor of the chain.
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "super().__init__":
            unpacked = [one.value for one in node.keywords if one.arg is None]
            handed += sum(_is_name(value, rest) for value in unpacked)
    return handed == used > 0


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def targets(name: Any, scope: str | None) -> Iterable[Any]:
    """The class itself, or everything that is registered under a name, seen from a scope."""
    if callable(name):
        yield name
    if not isinstance(name, str):
        return
    for one in _seen_from(scope):
        try:
            found = one.get(name)
        except RuntimeError:
            # Of a name that is none, such as "" or that of a package which is not installed.
            continue
        if found is not None:
            yield found


@cache
def _seen_from(scope: str | None) -> list[Registry]:
    """Each registry's child of this scope. Kept: entering a scope sleeps a millisecond."""
    registries = []
    for root in REGISTRIES:
        with root.switch_scope_and_registry(scope) as local:
            registries.append(local)
    return registries
