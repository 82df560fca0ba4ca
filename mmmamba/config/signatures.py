"""Which arguments the class or function takes that a config names by its `type`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable
from functools import cache
from types import ModuleType
from typing import Any

from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    EVALUATOR,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TASK_UTILS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
    Registry,
)

REGISTRIES = (
    DATA_SAMPLERS,
    DATASETS,
    EVALUATOR,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TASK_UTILS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
)


def constructor_arguments(name: Any, scope: str | None) -> set[str] | None:
    """Argument names of the registered class or function, or None if it is unknown or takes any."""
    names: set[str] = set()
    for target in targets(name, scope):
        arguments = _arguments(target)
        if arguments is None:
            return None
        names |= arguments
    return names or None


def reads_key(name: Any, scope: str | None, key: str) -> bool:
    """Whether the module of what `name` builds, or one of its bases', holds the string `key`.

    Some classes take a key out of a part's settings before they build the part.
    """
    for target in targets(name, scope):
        for ancestor in inspect.getmro(target) if inspect.isclass(target) else (target,):
            if key in _strings(inspect.getmodule(ancestor)):
                return True
    return False


@cache
def _strings(module: ModuleType | None) -> frozenset[str]:
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError):
        return frozenset()
    return frozenset(
        n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    )


@cache
def _arguments(target: Callable) -> frozenset[str] | None:
    """Named arguments along the inheritance chain, while constructors do nothing with `**kwargs`
    but hand it on."""
    names: set[str] = set()
    chain = [target]
    if inspect.isclass(target):
        chain = [
            vars(ancestor)["__init__"]
            for ancestor in target.__mro__
            if "__init__" in vars(ancestor)
        ]
    for function in chain:
        if function is object.__init__:
            break
        parameters = list(inspect.signature(function).parameters.values())
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        names |= _old_names(function)
        rest = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
        if rest is None:
            return frozenset(names - {"self"})
        if not _only_hands_on(function, rest):
            return None
    return None


def _old_names(function: Callable) -> set[str]:
    """Names that MMEngine's `deprecated_api_warning` still takes: it keeps them in a dictionary
    around the function."""
    held = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return {
        name for names in held if isinstance(names, dict) for name in names if isinstance(name, str)
    }


def _only_hands_on(function: Callable, rest: str) -> bool:
    """Whether a constructor gives its `**rest` to the next constructor and does nothing else with
    it."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError):
        return False
    handed = sum(
        keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == rest
        for call in ast.walk(tree)
        # super(Other, self) skips a constructor of the chain.
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__"
        for keyword in call.keywords
    )
    used = sum(isinstance(node, ast.Name) and node.id == rest for node in ast.walk(tree))
    return handed == used > 0


def targets(name: Any, scope: str | None) -> Iterable[Any]:
    """The class itself, or everything registered under a name in any of MMEngine's registries, seen
    from a scope."""
    if callable(name):
        yield name
    if not isinstance(name, str):
        return
    for registry in _seen_from(scope):
        try:
            found = registry.get(name)
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
