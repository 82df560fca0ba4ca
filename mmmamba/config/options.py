"""Reads `--cfg-options`: entries of lists by their type, and mistyped keys.

MMEngine would add the latter in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from ..errors import UsageError
from ..suggest import did_you_mean
from .keys import OPEN_SECTIONS, READ_BY_BUILDERS, RUNNER, TOP_LEVEL, known_keys
from .signatures import class_name


def by_number(cfg: Config, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the entries of lists by number where their keys name them by type.

    `custom_hooks.EarlyStoppingHook.patience` becomes `custom_hooks.3.patience`.

    Raises:
        UsageError: a list has several entries of that type, or none.
    """
    return {_numbered(cfg, dotted): value for dotted, value in options.items()}


def _numbered(cfg: Config, dotted: str) -> str:
    node: Any = cfg
    keys = dotted.split(".")
    # MMEngine would make a dictionary of it, which is no list of hooks.
    if keys[0] == "custom_hooks" and len(keys) > 1 and not cfg.get("custom_hooks"):
        raise UsageError(
            f"--cfg-options {dotted}: the config has no custom_hooks to change. --patience N adds "
            "early stopping; any other hook goes into the config"
        )
    for depth, key in enumerate(keys):
        if isinstance(node, (list, tuple)) and not key.isdigit():
            keys[depth] = key = str(_entry(node, key, ".".join(keys[:depth]), dotted))
        if isinstance(node, (list, tuple)):
            node = node[int(key)] if int(key) < len(node) else None
        elif node is cfg or isinstance(node, dict):
            node = node.get(key)
        else:
            break
    return ".".join(keys)


def _entry(entries: Any, name: str, place: str, dotted: str) -> int:
    """The number of a list's only entry of a type."""
    types = [
        class_name(entry["type"]) if isinstance(entry, dict) and "type" in entry else ""
        for entry in entries
    ]
    found = [str(index) for index, kind in enumerate(types) if kind == name]
    if len(found) == 1:
        return int(found[0])
    if found:
        raise UsageError(
            f"--cfg-options {dotted}: {place} has several {name}; name one by number: "
            f"{' or '.join(found)}"
        )
    known = list(dict.fromkeys(filter(None, types)))
    without = f" and has no {name!r}.{did_you_mean(name, known, 3)} Name" if known else "; name"
    by_type = ", or by its type where it is the only one" if known else ""
    raise UsageError(
        f"--cfg-options {dotted}: {place} is a list of {len(types)}{without} an entry by number"
        f"{by_type}"
    )


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
        # MMEngine takes the number of an entry for a key where the config has a list.
        if isinstance(node, (list, tuple)):
            if int(key) >= len(node):
                raise UsageError(
                    f"--cfg-options {dotted}: {place} is a list of {len(node)}; name an entry by "
                    "number"
                )
            node = node[int(key)]
        elif node is cfg or isinstance(node, dict):
            # Below a new key everything is new; whoever builds it will say what is wrong there.
            if key not in node:
                _check_new_key(cfg, node, key, place, dotted)
                return
            node = node[key]
        # A setting that is None may become a dictionary.
        elif node is None:
            return
        else:
            raise UsageError(f"--cfg-options {dotted}: {place} is {node!r} and has no key {key!r}")


def _check_new_key(cfg: Config, node: Any, key: str, place: str, dotted: str) -> None:
    """Check a key that the config does not hold yet.

    It is an argument of what is built there, or, where arguments cannot be told, resembles no key
    that is there.
    """
    if place.split(".")[-1] in OPEN_SECTIONS:
        return
    if node is cfg:
        known, strict = {*cfg.keys(), *RUNNER, *TOP_LEVEL}, True
    else:
        arguments = known_keys(node, tuple(place.split(".")), cfg.get("default_scope"))
        known, strict = {*node.keys(), *(arguments or ())}, arguments is not None
    if key in known or key in READ_BY_BUILDERS:
        return
    # Where arguments are not known, a key may be right that resembles none.
    hint = did_you_mean(key, known, 3)
    if strict or hint:
        kind = None if node is cfg else node.get("type")
        owner = f"{place} ({kind})" if kind else place or "the config"
        raise UsageError(f"--cfg-options {dotted}: {owner} has no {key!r}.{hint}")
