"""Finds mistyped keys in ``--cfg-options``, which MMEngine would add in silence."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from mmengine.config import Config
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    EVALUATOR,
    HOOKS,
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
from mmengine.runner import Runner

from ..suggest import did_you_mean
from .errors import UsageError

REGISTRIES = (DATA_SAMPLERS, DATASETS, EVALUATOR, HOOKS, LOOPS, METRICS, MODELS, OPTIM_WRAPPERS, OPTIMIZERS,
              PARAM_SCHEDULERS, TASK_UTILS, TRANSFORMS, VISBACKENDS, VISUALIZERS)  # fmt: skip
# Read from the dict by whoever builds the object, before its constructor sees the rest.
READ_BY_BUILDERS = {"type", "_scope_", "init_cfg", "priority", "constructor", "paramwise_cfg", "convert_to_iter_based",
                    "by_epoch", "requires_grad"}  # fmt: skip
OPEN_SECTIONS = {"custom_keys", "metainfo", "env_cfg"}
TOP_LEVEL = {"custom_imports", "work_dir", "expected", "tta_model", "tta_pipeline", "runner_type"}


def check_options(cfg: Config, options: dict[str, Any]) -> None:
    """Check dotted keys against a config before they are merged into it.

    A new key is allowed where the object that is built there has an argument of that name.

    Raises:
        UsageError: a key leads nowhere, with the closest known names.
    """
    for dotted in options:
        _check_option(cfg, dotted)


def _check_option(cfg: Config, dotted: str) -> None:
    node: Any = cfg
    keys = dotted.split(".")
    for depth, key in enumerate(keys):
        place = ".".join(keys[:depth])
        if isinstance(node, (list, tuple)):
            if not key.isdigit() or int(key) >= len(node):
                raise UsageError(f"--cfg-options {dotted}: {place} is a list of {len(node)}; name an entry by number")
            node = node[int(key)]
        elif node is cfg or isinstance(node, dict):
            if key not in node:
                _check_new_key(cfg, node, key, place, dotted)
                return
            node = node[key]
        elif node is None:
            return
        else:
            raise UsageError(f"--cfg-options {dotted}: {place} is {node!r} and has no key {key!r}")


def _check_new_key(cfg: Config, node: Any, key: str, place: str, dotted: str) -> None:
    """A key that the config does not hold yet is an argument of what is built there, or resembles none of its keys."""
    if place.split(".")[-1] in OPEN_SECTIONS:
        return
    if node is cfg:
        known, strict = {*cfg.keys(), *inspect.signature(Runner.__init__).parameters, *TOP_LEVEL}, True
    else:
        arguments = constructor_arguments(node.get("type"), cfg.get("default_scope"))
        known, strict = {*node.keys(), *(arguments or ())}, arguments is not None
    if key in known or key in READ_BY_BUILDERS:
        return
    hint = did_you_mean(key, known, 3)
    if strict or hint:
        owner = f"{place} ({node.get('type')})" if node is not cfg and node.get("type") else place or "the config"
        raise UsageError(f"--cfg-options {dotted}: {owner} has no {key!r}.{hint}")


def constructor_arguments(name: Any, scope: str | None) -> set[str] | None:
    """Argument names of the registered class or function, or None if it is unknown or takes any."""
    targets = [name] if callable(name) else list(_registered(name, scope)) if isinstance(name, str) else []
    names: set[str] = set()
    for target in targets:
        arguments = _arguments(target)
        if arguments is None:
            return None
        names |= arguments
    return names or None


def _arguments(target: Any) -> set[str] | None:
    """Named arguments along the inheritance chain, for as long as each constructor hands ``**kwargs`` on."""
    names: set[str] = set()
    chain = [target]
    if inspect.isclass(target):
        chain = [vars(ancestor)["__init__"] for ancestor in target.__mro__ if "__init__" in vars(ancestor)]
    for function in chain:
        if function is object.__init__:
            break
        parameters = list(inspect.signature(function).parameters.values())
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names - {"self"}
    return None


def _registered(name: str, scope: str | None) -> Iterable[Any]:
    """Everything registered under a name in any of MMEngine's registries, seen from a scope."""
    for root in REGISTRIES:
        with root.switch_scope_and_registry(scope) as local:
            found = local.get(name)
        if found is not None:
            yield found
