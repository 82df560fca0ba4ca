"""Finds mistyped keys anywhere in a config, before anything is built.

What a `type` builds names the keys beside it. Where nobody says which keys there may be, none is
complained about.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from mmengine.config import Config
from mmengine.runner import (
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    LogProcessor,
    Runner,
    TestLoop,
    ValLoop,
)
from torch.utils.data import DataLoader

from ..errors import UsageError
from ..suggest import did_you_mean
from .origins import Keys, Origins
from .signatures import constructor_arguments, reads_key

# Read from the dict by whoever builds the object, before its constructor sees the rest.
READ_BY_BUILDERS = {
    "type",
    "_scope_",
    "init_cfg",
    "priority",
    "constructor",
    "paramwise_cfg",
    "convert_to_iter_based",
    "by_epoch",
    "requires_grad",
}
# Their keys are the user's own: names of parameters, of metainfo, of what a transform maps.
OPEN_SECTIONS = {"custom_keys", "metainfo", "env_cfg", "mapping", "auto_remap", "remapping"}
TOP_LEVEL = {
    "custom_imports",
    "work_dir",
    "expected",
    "tta_model",
    "tta_pipeline",
    "runner_type",
    # What MMEngine's runner looks up by itself.
    "model_wrapper_cfg",
    "sync_bn",
    "find_unused_parameters",
    "activation_checkpointing",
    "efficient_conv_bn_eval",
    "compile",
}
# A variable of one's own may resemble a section; one that is this close is a slip.
SLIP = 0.9

Arguments = Callable[[Any, "str | None"], "set[str] | None"]

RUNNER = set(inspect.signature(Runner.__init__).parameters) - {"self"}
SECTIONS = RUNNER | {"tta_model", "tta_pipeline"}
DATALOADER = {*inspect.signature(DataLoader.__init__).parameters, "num_batch_per_epoch"} - {"self"}
# These read PARAMWISE; others have keys of their own.
PLAIN_CONSTRUCTORS = (None, "DefaultOptimWrapperConstructor", "MergedOptimWrapperConstructor")
PARAMWISE = frozenset(
    (
        "custom_keys",
        "bias_lr_mult",
        "bias_decay_mult",
        "norm_decay_mult",
        "flat_decay_mult",
        "dwconv_decay_mult",
        "dcn_offset_lr_mult",
        "bypass_duplicate",
    )
)
OPTIM_WRAPPER = ("optim_wrapper",)
"""Reads names such as `betas` of a finished optimizer, and takes nothing out of its settings."""
UNTYPED = {
    "train_cfg": (EpochBasedTrainLoop, IterBasedTrainLoop),
    "val_cfg": (ValLoop,),
    "test_cfg": (TestLoop,),
    "log_processor": (LogProcessor,),
    "optim_wrapper": ("OptimWrapper",),
}
"""What the runner builds from a section without a `type`."""


@dataclass(frozen=True)
class UnknownKey:
    """A key that what is built there does not take."""

    keys: Keys
    owner: str
    known: frozenset[str]

    def message(self, origins: Origins) -> str:
        place = ".".join(map(str, self.keys))
        return (
            f"{place}: {self.owner} has no {str(self.keys[-1])!r} (set in {origins.of(self.keys)})."
            f"{did_you_mean(str(self.keys[-1]), self.known, 3)}"
        )


def check_keys(cfg: Config, options: Iterable[str] = ()) -> None:
    """Check every key of a config.

    Args:
        cfg: read from a file, `cfg.filename`.
        options: dotted keys that were set after it was read.

    Raises:
        UsageError: a line for each key that nothing takes: what set it and the closest names.
    """
    found = list(unknown_keys(cfg))
    if found:
        origins = Origins(cfg.filename, options)
        raise UsageError("\n".join(unknown.message(origins) for unknown in found))


def unknown_keys(cfg: Config, arguments: Arguments | None = None) -> Iterator[UnknownKey]:
    """The keys that nothing takes, in the config's order.

    Args:
        arguments: looks up what a type takes; by default each once for this config, as others may
            register more.
    """
    arguments = arguments or cache(constructor_arguments)
    for key in cfg:
        if key in SECTIONS:
            yield from _walk(cfg[key], (key,), cfg.get("default_scope"), (), arguments)
        elif isinstance(cfg[key], (dict, list)) and key not in TOP_LEVEL:
            close = get_close_matches(key, SECTIONS, 1, SLIP)
            if close:
                yield UnknownKey((key,), "a config", frozenset(close))


def _walk(
    node: Any,
    keys: Keys,
    scope: str | None,
    around: tuple[tuple[Any, str | None], ...],
    arguments: Arguments,
) -> Iterator[UnknownKey]:
    """`around`: the types that `node` is a part of, with their scopes."""
    if isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _walk(value, (*keys, index), scope, around, arguments)
    if not isinstance(node, dict):
        return
    scope = node.get("_scope_", scope)
    known = known_keys(node, keys, scope, arguments)
    inside = (
        (*around, (node["type"], scope)) if "type" in node and keys != OPTIM_WRAPPER else around
    )
    if keys == OPTIM_WRAPPER and node.get("constructor") in PLAIN_CONSTRUCTORS:
        for key in node.get("paramwise_cfg") or ():
            if key not in PARAMWISE:
                yield UnknownKey(
                    (*keys, "paramwise_cfg", key), "optim_wrapper.paramwise_cfg", PARAMWISE
                )
    for key, value in node.items():
        if known is None or key in known or key in READ_BY_BUILDERS:
            if key not in OPEN_SECTIONS:
                yield from _walk(value, (*keys, key), scope, inside, arguments)
        elif not any(reads_key(*owner, key) for owner in around):
            yield UnknownKey(
                (*keys, key), _owner(node, keys), frozenset({*known, *READ_BY_BUILDERS})
            )


def known_keys(
    node: dict, keys: Keys, scope: str | None, arguments: Arguments = constructor_arguments
) -> set[str] | None:
    """The keys that the dictionary at `keys` may have, or None where that cannot be told."""
    if "type" in node:
        return arguments(node["type"], scope)
    if len(keys) == 1 and str(keys[0]).endswith("_dataloader"):
        return DATALOADER
    if len(keys) == 1 and keys[0] in UNTYPED:
        return set().union(*(arguments(built, scope) or () for built in UNTYPED[keys[0]]))
    return None


def _owner(node: dict, keys: Keys) -> str:
    kind = node.get("type")
    if kind is None:
        return ".".join(map(str, keys))
    return kind if isinstance(kind, str) else kind.__name__
