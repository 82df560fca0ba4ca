"""The key maps that are known, by family, and which of them a module or a file asks for."""

import re
from collections.abc import Collection

from torch import nn

from ..suggest import did_you_mean
from .errors import CheckpointError
from .key_map import KeyMap
from .unwrap import BACKBONE, sparing

KEY_MAPS: dict[str, KeyMap] = {}
"""By the name of the class that brings it as its `KEY_MAP` (`strict_loading`)."""

STRANGERS: tuple[tuple[str, str], ...] = (
    ("Swin Transformer", r"relative_position_bias_table$"),
    ("a ResNet", r"^layer1\.0\.conv1\.weight$"),
    ("a ViT", r"^blocks\.0\.attn\.qkv\.weight$"),
)
"""Networks that have no backbone here, and a pattern in the name of a tensor of their files."""


def key_map_of(module: nn.Module, family: str | KeyMap | None = None) -> tuple[str, KeyMap]:
    """The family's name and key map: what is given, else that of the class or its nearest base.

    A module without one has files in its own layout (`own_layout`).

    Raises:
        CheckpointError: there is no family of the name that was given.
    """
    if isinstance(family, KeyMap):
        return type(module).__name__, family
    if family is not None:
        if family not in KEY_MAPS:
            raise CheckpointError(
                f"there is no family '{family}'; there are {', '.join(KEY_MAPS)}."
                + did_you_mean(family, KEY_MAPS)
            )
        return family, KEY_MAPS[family]
    # A class that says None has its own layout, even where a base of it has a key map.
    says = next((base for base in type(module).__mro__ if "KEY_MAP" in vars(base)), None)
    if says is not None and vars(says)["KEY_MAP"] is not None:
        return says.__name__, vars(says)["KEY_MAP"]
    return type(module).__name__, own_layout(module)


def own_layout(module: nn.Module) -> KeyMap:
    """The key map of what a module saved itself: wrappers are taken off, no name is changed.

    Where it is a backbone, its classifier may have saved it, which has other ends.
    """
    names = list(module.state_dict())
    has_backbone = any(name.startswith(BACKBONE) for name in names)
    of_maps, of_classifier = getattr(module, "OF_MAPS", ()), getattr(module, "OF_CLASSIFIER", ())
    key_map = KeyMap(
        # The reverse of a family's order: our own checkpoints have `state_dict`.
        under=("state_dict", "model"),
        whole=has_backbone,
        may_be_missing=of_maps,
        may_be_surplus=(*of_maps, *of_classifier),
    )
    return sparing(key_map, names)


def looks_like(names: Collection[str]) -> str | None:
    """The family whose mark is among the names of a state dict; None if it is none that we know."""
    particular: list[tuple[str, str]] = []
    inherited: list[tuple[str, str]] = []
    for family, key_map in KEY_MAPS.items():
        if key_map.mark:
            marks = inherited if key_map.mark_is_inherited else particular
            # A detector's backbone is marked as the detector.
            marks.append((family.removesuffix("Backbone"), key_map.mark))
    # Files of a family that was made from another bear its mark too: the other is asked last.
    for family, mark in (*particular, *STRANGERS, *inherited):
        if any(re.search(mark, name) for name in names):
            return family
    return None
