"""Which classes a trained model tells apart: its checkpoint's, else its config's."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from torch import nn

from ..datasets.checks.splits import plain_datasets
from ..errors import UsageError
from ..printable import printable, printable_names
from ..structures.classes import Classes, choose_colours

logger = logging.getLogger("mmmamba")


COCO_CLASSES = 80


# COCO numbers 80 categories from 1 to 90; these were never annotated.
COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}


def find_classes(model: nn.Module, cfg: Config, meta: Mapping[str, Any]) -> Classes:
    """From the checkpoint, else from the config's data set; numbers in place of names where neither knows them.

    Raises:
        UsageError: they are not as many as the model tells apart, or no names and colours at all.
    """
    dataset = next(plain_datasets((cfg.get("test_dataloader") or {}).get("dataset")), {})
    declared = _declared(dataset, cfg.get("default_scope"))
    meta = _lower(meta)
    found = _lower(meta.get("dataset_meta") or meta)
    if not isinstance(found.get("classes", ()), (str, list, tuple)):
        raise UsageError(
            f"the checkpoint's classes are {printable(found['classes'])}, wanted a list of names"
        )
    names = found.get("classes") or declared.get("classes")
    count = count_classes(model)
    if names is None:
        if count is None:
            raise UsageError(
                "neither the checkpoint nor the config names classes; add metainfo=dict(classes=(...)) to "
                "test_dataloader.dataset"
            )
        logger.warning(
            "neither the checkpoint nor the config names classes; they are shown by number"
        )
        names = [f"class {index}" for index in range(count)]
    names = (names,) if isinstance(names, str) else tuple(map(str, names))
    if count is not None and len(names) != count:
        raise UsageError(
            f"the model tells {count} classes apart, the checkpoint or config names {len(names)}: "
            f"{printable_names(names, 5)}. Put all of them into metainfo=dict(classes=(...)) of "
            "test_dataloader.dataset, or correct num_classes"
        )
    palette = found.get("palette") or declared.get("palette")
    return Classes(names, choose_colours(palette, len(names)), tuple(category_ids(names, dataset)))


def count_classes(model: nn.Module) -> int | None:
    """How many classes the model's last head tells apart; None if it does not say."""
    box_head = getattr(getattr(model, "roi_head", None), "bbox_head", None) or getattr(
        model, "bbox_head", None
    )
    head = box_head if box_head is not None else getattr(model, "decode_head", None)
    if isinstance(head, nn.ModuleList):
        head = head[-1]
    return getattr(head, "num_classes", None)


def category_ids(names: Sequence[str], dataset: Mapping[str, Any]) -> list[int]:
    """COCO ids by name: those of the data set's own annotations where they are here, COCO's for its 80, else 1, 2, …"""
    file = Path(dataset.get("data_root") or "") / str(dataset.get("ann_file") or "")
    if file.suffix == ".json" and file.is_file():
        listed = {
            c["name"]: c["id"]
            for c in json.loads(file.read_text(encoding="utf-8")).get("categories", ())
        }
        if all(name in listed for name in names):
            return [listed[name] for name in names]
    if len(names) == COCO_CLASSES and names[0] == "person" and names[-1] == "toothbrush":
        return [i for i in range(1, 91) if i not in COCO_GAPS]
    return list(range(1, len(names) + 1))


def _declared(dataset: Mapping[str, Any], scope: str | None) -> dict[str, Any]:
    """What the data set's class and its config say, the latter first."""
    with (
        DefaultScope.overwrite_default_scope(scope),
        DATASETS.switch_scope_and_registry(scope) as registry,
    ):
        kind = (
            registry.get(dataset["type"])
            if isinstance(dataset.get("type"), str)
            else dataset.get("type")
        )
    return _lower(getattr(kind, "METAINFO", {})) | _lower(dataset.get("metainfo") or {})


def _lower(mapping: Any) -> dict[str, Any]:
    """MMDetection 2 wrote CLASSES and PALETTE."""
    if not isinstance(mapping, Mapping):
        raise UsageError(
            f"the checkpoint describes its data set by {printable(mapping)}, wanted a dict"
        )
    return {key.lower(): value for key, value in mapping.items() if isinstance(key, str)}
