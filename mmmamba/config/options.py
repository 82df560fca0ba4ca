"""Finds mistyped keys in `--cfg-options`, which MMEngine would add in silence."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from ..errors import UsageError
from ..suggest import did_you_mean
from .keys import OPEN_SECTIONS, READ_BY_BUILDERS, RUNNER, TOP_LEVEL, known_keys


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
            if not key.isdigit() or int(key) >= len(node):
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
