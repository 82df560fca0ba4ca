"""The exchange of a config's backbone.

The old backbone is built and asked for its maps. Each is answered by a map of the new one
(`choice`), and wherever the neck or the heads name the width of an old map, that of the new one
goes (`widths`). Models that take no other backbone stand in `bound`.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...errors import UsageError
from .bound import refuse_bound
from .choice import Choice
from .heads import views_maps
from .levels import levels_of, trunk_of
from .widths import Widths

IMAGES = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
"""What the published weights were trained on."""


def drop_in(cfg: Config, arch: str, **arguments: Any) -> Config:
    """A copy of a config of mmdet or mmseg with one of our backbones, right in widths and strides.

    Args:
        arch: a name of `list_backbones()`.
        arguments: more of the backbone's, such as `drop_path_rate` or `init_cfg`.

    Raises:
        UsageError: the model takes no other backbone, or not this one, with the reason.
        ValueError: there is no such backbone.
    """
    cfg = copy.deepcopy(cfg)
    name = Path(cfg.filename).name if cfg.filename else "the config"
    if not isinstance(cfg.get("model"), dict):
        raise UsageError(f"{name} has no model")
    part = part_with_backbone(cfg.model)
    refuse_bound(cfg.model, part, name)
    package = "mmseg" if "decode_head" in part else "mmdet"
    old = levels_of(part["backbone"], cfg.get("default_scope") or package)
    trunk = trunk_of(arch)
    choice = Choice(name, part, trunk, old)
    maps = choice.segmentor() if package == "mmseg" else choice.detector()
    memory = dict(contiguous_maps=True) if views_maps(part) else {}
    part["backbone"] = dict(type=trunk.family, arch=arch) | choice.indices | memory | arguments
    # After the choice, which may have put another neck into the model.
    Widths(name, part, trunk, maps).write()
    # Weights of the old backbone, which the new one could not read.
    if part.get("pretrained") is not None:
        part["pretrained"] = None
    # A tracker has one for itself, and the detector in it may have another that nothing calls.
    for holder in (cfg.model, part):
        if isinstance(holder.get("data_preprocessor"), dict):
            _set_images(holder["data_preprocessor"])
            break
    return cfg


def part_with_backbone(model: dict) -> dict:
    """The dict that holds the backbone: the model, or the detector in a tracker or a teacher."""
    while "backbone" not in model and isinstance(model.get("detector"), dict):
        model = model["detector"]
    return model


def _set_images(preprocessor: dict) -> None:
    """Images as the published weights know them."""
    if isinstance(preprocessor.get("data_preprocessor"), dict):
        # Semi-supervised models have theirs within one that tells the branches apart.
        preprocessor = preprocessor["data_preprocessor"]
    if any(list(preprocessor.get(key) or []) != IMAGES[key] for key in ("mean", "std")):
        preprocessor.update(copy.deepcopy(IMAGES))
