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
from .signatures import class_name, constructor_arguments

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
TAKEN_OUT = {
    # mmdet's ResNet reads it of its convolutions and builds plain ones where they have strides.
    "DCN": {"fallback_on_stride"},
    "DCNv2": {"fallback_on_stride"},
    # mmdet's mask heads pass it to all kinds of upsampling but this one.
    "deconv": {"scale_factor"},
    # mmdet's DETR heads weigh the background by it.
    "CrossEntropyLoss": {"bg_cls_weight"},
}
"""Keys that the part around a part takes out of its settings before it builds it, by the `type`."""
# Their keys are the user's own: names of parameters, of metainfo, of what a transform maps.
OPEN_SECTIONS = {"custom_keys", "metainfo", "env_cfg", "mapping", "auto_remap", "remapping"}
TOP_LEVEL = {
    "custom_imports",
    "custom_imports_from",
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
SLIP = 0.9
"""A variable of one's own may resemble a section; one that is this close is a slip."""

Arguments = Callable[[Any, "str | None"], "set[str] | None"]

RUNNER = set(inspect.signature(Runner.__init__).parameters) - {"self"}
SECTIONS = RUNNER | {"tta_model", "tta_pipeline"}
# The runner takes `num_batch_per_epoch` out before it builds the loader.
DATALOADER = {*inspect.signature(DataLoader.__init__).parameters, "num_batch_per_epoch"} - {"self"}
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
# Others have keys of their own.
PARAMWISE_OF = {
    None: PARAMWISE,
    "DefaultOptimWrapperConstructor": PARAMWISE,
    "MergedOptimWrapperConstructor": PARAMWISE,
    "LayerDecayOptimWrapperConstructor": PARAMWISE | {"layer_decay_rate"},
}
UNTYPED: dict[str | int, tuple[Any, ...]] = {
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
    # Origins run and parse every base again: only where there is something to tell.
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
            yield from _walk(cfg[key], (key,), cfg.get("default_scope"), arguments)
        # Only what a section may be: numbers and texts are the config's own variables.
        elif isinstance(cfg[key], (dict, list)) and key not in TOP_LEVEL:
            close = get_close_matches(key, SECTIONS, 1, SLIP)
            if close:
                yield UnknownKey((key,), "a config", frozenset(close))


def _walk(node: Any, keys: Keys, scope: str | None, arguments: Arguments) -> Iterator[UnknownKey]:
    """The unknown keys at and below a node."""
    if isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _walk(value, (*keys, index), scope, arguments)
    if not isinstance(node, dict):
        return
    # `_scope_` holds for what is built below as well, as MMEngine's registries have it.
    scope = node.get("_scope_", scope)
    known = known_keys(node, keys, scope, arguments)
    if keys == ("optim_wrapper",):
        yield from _unknown_paramwise(node)
    for key, value in node.items():
        if known is not None and key not in known and key not in READ_BY_BUILDERS:
            takes = frozenset({*known, *READ_BY_BUILDERS})
            yield UnknownKey((*keys, key), _owner(node, keys), takes)
        elif key not in OPEN_SECTIONS:
            yield from _walk(value, (*keys, key), scope, arguments)


def _unknown_paramwise(optim_wrapper: dict) -> Iterator[UnknownKey]:
    """No constructor has `paramwise_cfg`'s keys as arguments, so they are compared with a list."""
    known = PARAMWISE_OF.get(optim_wrapper.get("constructor"))
    if known is None:
        return
    for key in optim_wrapper.get("paramwise_cfg") or ():
        if key not in known:
            place = ("optim_wrapper", "paramwise_cfg")
            yield UnknownKey((*place, key), ".".join(place), known)


def known_keys(
    node: dict, keys: Keys, scope: str | None, arguments: Arguments = constructor_arguments
) -> set[str] | None:
    """The keys that the dictionary at `keys` may have, or None where that cannot be told."""
    if "type" in node:
        # A `type` that is a dictionary or a list is nothing's; building says so.
        if isinstance(node["type"], (dict, list)):
            return None
        taken = arguments(node["type"], scope)
        return None if taken is None else taken | TAKEN_OUT.get(class_name(node["type"]), set())
    # Without a `type` only the runner's own sections say what is built from them.
    if len(keys) != 1:
        return None
    section = keys[0]
    if str(section).endswith("_dataloader"):
        return DATALOADER
    if section not in UNTYPED:
        return None
    known: set[str] = set()
    # Which of them is built depends on other keys: what any of them takes is taken.
    for built in UNTYPED[section]:
        known |= arguments(built, scope) or set()
    return known


def _owner(node: dict, keys: Keys) -> str:
    """What a message calls the thing that does not take a key."""
    kind = node.get("type")
    if kind is None:
        return ".".join(map(str, keys))
    return kind if isinstance(kind, str) else kind.__name__
