"""What maps a backbone of any package gives, found by building and running it."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from functools import cache

import torch
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor

from ...errors import UsageError
from ..backbones import create_backbone
from ..trunks.arch import field_names
from ..trunks.base import MambaBackbone
from ..trunks.column import PlainBackbone

SIDE = 128
"""Side of the image that the old backbone is asked with: whole at every stride up to 128."""


@dataclass(frozen=True)
class Level:
    """One map."""

    width: int
    stride: int


def levels_of(backbone: dict, scope: str) -> list[Level]:
    """The maps of the backbone that a config describes, in order. No weights are loaded.

    Args:
        scope: registry that the config's names belong to, `mmdet` or `mmseg`.

    Raises:
        UsageError: it gives something else than maps `(B, C, H, W)`.
    """
    config = copy.deepcopy(dict(backbone))
    for key in ("init_cfg", "pretrained"):
        config.pop(key, None)
    # Backbones with a table of positions take images of one size only.
    if "img_size" in config:
        config["img_size"] = SIDE
    with MODELS.switch_scope_and_registry(scope) as registry:
        if registry.get(config["type"]) is None:
            raise UsageError(
                f"the old backbone, {config['type']}, whose maps say what is wanted, "
                "is not known here: install the package that has it"
            )
        kind = registry.get(config["type"])
    if issubclass(kind, MambaBackbone):
        # Ours say what their maps are like, without numbers in them.
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            ours = kind(**{key: value for key, value in config.items() if key != "type"})
        return list(map(Level, ours.out_channels, ours.out_strides))
    # The same backbone is asked once: many configs have a ResNet-50.
    text = f"{scope} {json.dumps(config, sort_keys=True, default=str)}"
    if text not in _LEVELS:
        _LEVELS[text] = _levels_of(config, scope)
    return list(_LEVELS[text])


_LEVELS: dict[str, list[Level]] = {}


def _levels_of(config: dict, scope: str) -> list[Level]:
    """The maps of a backbone of another package, which is built and run."""
    # Drawing its weights must not move the caller's random numbers.
    with DefaultScope.overwrite_default_scope(scope), torch.random.fork_rng(devices=[]):
        model = MODELS.build(config)
        model.eval()
        with torch.no_grad():
            maps = model(torch.zeros(1, 3, SIDE, SIDE))
    maps = [maps] if isinstance(maps, Tensor) else list(maps)
    if not all(isinstance(x, Tensor) and x.dim() == 4 for x in maps):
        raise UsageError(
            f"{config['type']} gives more than maps (B, C, H, W), such as a class "
            "token, to what comes after it: none other takes its place"
        )
    # To the nearest power of two, whatever cells a backbone gains or loses at the edges.
    return [Level(x.shape[1], 2 ** round(math.log2(SIDE / x.shape[2]))) for x in maps]


@dataclass(frozen=True)
class Trunk:
    """What a backbone of ours can give."""

    family: str
    """Name of its class, as configs write it."""
    arch: str
    levels: tuple[Level, ...]
    """Its maps by default."""
    out_indices: tuple[int, ...]
    plain: bool
    """A column of one stride, which `pyramid` brings to others."""
    drops_rest: bool
    """Drops the rows and columns of an image that fill no patch, unless it is told to `pad`."""


@cache
def trunk_of(arch: str) -> Trunk:
    """The backbone of a name of `list_backbones()`.

    Raises:
        ValueError: there is none of that name.
    """
    # Here too the caller's random numbers stay where they are.
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        backbone: MambaBackbone = create_backbone(arch)
    levels = tuple(map(Level, backbone.out_channels, backbone.out_strides))
    # An adapter gives maps at four strides, of whole images.
    plain = isinstance(backbone, PlainBackbone) and not backbone.adapted
    # Not all columns can be told to.
    pads = "pad" in field_names(type(backbone).Arch)
    drops_rest = plain and pads and not backbone.patch_embed.pad
    return Trunk(
        type(backbone).__name__, arch, levels, tuple(backbone.out_indices), plain, drops_rest
    )
