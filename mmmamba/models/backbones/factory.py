"""Backbones by name, such as `vmamba_t` or `mambavision_b_21k`."""

import fnmatch
from collections.abc import Mapping
from os import PathLike
from typing import Any

from torch import Tensor

from mmmamba.suggest import did_you_mean

from ..trunks.base import MambaBackbone


def _families() -> dict[str, type[MambaBackbone]]:
    """The family of every variant."""
    return {name: family for family in MambaBackbone.families() for name in family.ARCHS}


def list_backbones(pattern: str = "*") -> list[str]:
    """Names that `create_backbone` takes, by a shell pattern such as `'*vision*'`."""
    return sorted(fnmatch.filter(_families(), pattern))


def family_of(name: str) -> type[MambaBackbone]:
    """The class that makes a variant.

    Raises:
        ValueError: an unknown name.
    """
    families = _families()
    if name not in families:
        raise ValueError(
            f"there is no backbone '{name}'; list_backbones() names all {len(families)}."
            + did_you_mean(name, families, 3)
        )
    return families[name]


def create_backbone(
    name: str, weights: str | PathLike | Mapping[str, Tensor] | None = None, **overrides: Any
) -> MambaBackbone:
    """A backbone with `out_channels` and `out_strides`.

    Args:
        name: one of `list_backbones()`.
        weights: a path, a URL or a state dict in the authors' layout; None starts from scratch.
        overrides: any argument of the family's class: `out_indices`, `drop_path_rate`, …

    Raises:
        ValueError: an unknown name.
        TypeError: an unknown argument.
        CheckpointError: weights that do not fit.
    """
    backbone = family_of(name)(arch=name, **overrides)
    if weights is not None:
        backbone.load_weights(weights)
    return backbone
