"""Finds values in a config where a number belongs and none is: `max_epochs='ten'`."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from mmengine.config import Config
from torch import Tensor

from ..errors import UsageError
from .keys import SECTIONS, UNTYPED
from .origins import Keys, Origins
from .signatures import constructors, targets

NUMBERS = {int: "a whole number", float: "a number", bool: "True or False"}
# Beside a number these may stand in an annotation; any other kind there may be a text.
NO_TEXT = {*NUMBERS, type(None), Tensor}
LOOP: Keys = ("train_cfg",)
Numbers = dict[str, frozenset[type]]
"""Which kinds of numbers each argument takes."""
LookUp = Callable[[Any, "str | None"], Numbers]


@dataclass(frozen=True)
class UnfitValue:
    """A text where a number belongs, or a fraction of an epoch."""

    keys: Keys
    value: str | float
    owner: str
    wanted: frozenset[type]

    def message(self, origins: Origins) -> str:
        wanted = " or ".join(text for kind, text in NUMBERS.items() if kind in self.wanted)
        return (
            f"{'.'.join(map(str, self.keys))} is {self.value!r}, {self.owner} wants {wanted} (set "
            f"in {origins.of(self.keys)})"
        )


def check_values(cfg: Config, options: Iterable[str] = ()) -> None:
    """Check the texts and fractions of a config.

    Args:
        cfg: read from a file, `cfg.filename`.
        options: dotted keys that were set after it was read.

    Raises:
        UsageError: a line for each that cannot be.
    """
    found = list(unfit_values(cfg))
    if found:
        origins = Origins(cfg.filename, options)
        raise UsageError("\n".join(unfit.message(origins) for unfit in found))


def unfit_values(cfg: Config) -> Iterator[UnfitValue]:
    """Values that cannot be, in the config's order.

    Where nobody says what belongs there, none is found.
    """
    look_up = cache(_number_arguments)
    for key in cfg:
        if key in SECTIONS:
            yield from _walk(cfg[key], (key,), cfg.get("default_scope"), look_up)


def _walk(node: Any, keys: Keys, scope: str | None, look_up: LookUp) -> Iterator[UnfitValue]:
    """The unfit values below a node."""
    if isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _walk(value, (*keys, index), scope, look_up)
    if not isinstance(node, dict):
        return
    scope = node.get("_scope_", scope)
    kinds = _built_from(node, keys)
    numbers: Numbers = {}
    for kind in kinds:
        # Anything that cannot be looked up, such as a dictionary, is told by what builds it.
        numbers |= look_up(kind, scope) if isinstance(kind, (str, type)) else {}
    for key, value in node.items():
        if key in numbers and _is_unfit(value, numbers[key], keys):
            owner = kinds[0] if isinstance(kinds[0], str) else kinds[0].__name__
            yield UnfitValue((*keys, key), value, owner, numbers[key])
        else:
            yield from _walk(value, (*keys, key), scope, look_up)


def _built_from(node: dict, keys: Keys) -> tuple[Any, ...]:
    """The types that a dictionary of settings is for."""
    if "type" in node:
        return (node["type"],)
    return UNTYPED.get(keys[0], ()) if len(keys) == 1 else ()


def _is_unfit(value: Any, kinds: frozenset[type], keys: Keys) -> bool:
    if isinstance(value, str):
        return True
    # Elsewhere "int" is written where fractions are taken, too.
    return (
        keys == LOOP and isinstance(value, float) and not value.is_integer() and float not in kinds
    )


def _number_arguments(name: Any, scope: str | None) -> Numbers:
    """The arguments of a name that are numbers and never texts.

    Several classes may have one name in different registries; an argument counts where all of them
    have it annotated so.
    """
    found = [_numbers_of(target) for target in targets(name, scope)]
    if not found:
        return {}
    # Only what all of them call a number: which of them is meant is not known here.
    common = set(found[0]).intersection(*found)
    return {key: kinds for key, kinds in found[0].items() if key in common}


@cache
def _numbers_of(target: Any) -> Numbers:
    kinds: dict[str, frozenset[Any]] = {}
    for function in constructors(target):
        for key, kind in _annotations(function).items():
            # The constructor that is called first decides.
            kinds.setdefault(key, frozenset(_members(kind)))
    # At least one number among the kinds, and none of them that a text could be.
    return {
        key: found for key, found in kinds.items() if found <= NO_TEXT and found & NUMBERS.keys()
    }


def _annotations(function: Any) -> dict[str, Any]:
    # A decorator's own arguments are no arguments of what it wraps.
    function = inspect.unwrap(function)
    try:
        return typing.get_type_hints(function)
    except (AttributeError, NameError, TypeError, ValueError):
        # Names that exist only for type checkers.
        return {}


def _members(kind: Any) -> Iterator[Any]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        for member in typing.get_args(kind):
            yield from _members(member)
    else:
        yield kind
