"""Tiles of large images in the place of images, in all that a detector's config reads."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config, ConfigDict

from ...errors import UsageError
from ..signatures import class_name
from .image_size import size_of_tests
from .loaders import LOADERS
from .record import Changes

DATASET, METRIC, JOINED = "TiledDataset", "CocoMetric", "TiledCocoMetric"
BESIDE = ("DumpDetResults", "DumpResults")
"""Evaluators that only write down what they are given."""
MODULE = "mmmamba.detection"
"""Where both are registered."""


def set_tiles(cfg: Config, size: int, overlap: float, changes: Changes) -> None:
    """Let a config train and test on tiles, whose finds are joined before they are scored.

    Args:
        size: pixels of a tile's side.
        overlap: of neighbours, as a share of the side.

    Raises:
        UsageError: the config is none of a detector, or its metric has no like for tiles.
    """
    flag = f"--tile {size}"
    scope = cfg.get("default_scope")
    if scope in ("mmseg", "mmpretrain"):
        others = dict(
            mmseg="segmentors train on crops, and test in windows with model.test_cfg="
            "dict(mode='slide', crop_size=..., stride=...)",
            mmpretrain="a classifier says one thing of a whole image",
        )
        raise UsageError(f"{flag} is for detectors: {others[scope]}")
    tiled = []
    for name in LOADERS:
        loader = cfg.get(name)
        if loader and loader.get("dataset"):
            loader.dataset = _tiled(loader.dataset, size, overlap)
            tiled.append(name)
    if not tiled:
        raise UsageError(f"{flag}: the config has none of {', '.join(LOADERS)}")
    changes.say(
        f"{flag}: {', '.join(tiled)} give tiles of {size} x {size} pixels, {overlap:.0%} of which "
        f"neighbours share, in the place of images ({DATASET})"
    )
    for name in ("val_evaluator", "test_evaluator"):
        _join(cfg, name, flag, changes)
    imports = cfg.setdefault("custom_imports", ConfigDict(imports=[]))
    # Others than ours, which know the backbones alone.
    names = [imports["imports"]] if isinstance(imports["imports"], str) else imports["imports"]
    imports["imports"] = [*dict.fromkeys([*names, MODULE])]
    if cfg.pop("expected", None):
        changes.say(f"{flag}: the config's expected results are of whole images, and left out")
    _tell_scale(cfg, size, flag, changes)


def is_tiled(node: Any) -> bool:
    """Whether a data set of a config gives tiles, as it is or within others."""
    if not isinstance(node, dict):
        return False
    if class_name(node.get("type", "")) == DATASET:
        return True
    return any(map(is_tiled, [node.get("dataset"), *(node.get("datasets") or ())]))


def _tiled(node: ConfigDict, size: int, overlap: float) -> ConfigDict:
    """A data set with tiles around those that read images; what is tiled gets the new size."""
    if class_name(node.get("type", "")) == DATASET:
        node.update(size=size, overlap=overlap)
    elif "dataset" in node:
        node["dataset"] = _tiled(node["dataset"], size, overlap)
    elif "datasets" in node:
        node["datasets"] = [_tiled(one, size, overlap) for one in node["datasets"]]
    else:
        return ConfigDict(type=DATASET, size=size, overlap=overlap, dataset=node)
    return node


def _join(cfg: Config, name: str, flag: str, changes: Changes) -> None:
    """Let an evaluator score the images that the tiles make up."""
    evaluators = cfg.get(name) or []
    for evaluator in evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]:
        kind = class_name(evaluator["type"])
        if kind == METRIC:
            changes.set(flag, evaluator, "type", JOINED, name)
            # The metric's own are for images with crowds of objects.
            if evaluator.pop("proposal_nums", None):
                changes.say(f"{flag}: {name} counts up to 1000 detections of a class and image")
        elif kind not in (JOINED, *BESIDE):
            raise UsageError(
                f"{flag}: {name} is a {kind}, which knows no tiles: {METRIC} has its like in "
                f"{JOINED}"
            )


def _tell_scale(cfg: Config, size: int, flag: str, changes: Changes) -> None:
    fitted = size_of_tests(cfg)
    if fitted is not None and fitted.short != size:
        changes.say(
            f"{flag}: the pipelines scale a tile to fit {fitted}, {fitted.short / size:.3g} times "
            f"its size; --imgsz {size} leaves it as large as it is"
        )
