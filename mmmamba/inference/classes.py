"""Which classes a trained model tells apart: its checkpoint's, else its config's."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from ..datasets.nodes import dataset_class, dataset_of_tests
from ..errors import UsageError
from ..printable import printable, printable_names
from ..structures.classes import Classes, choose_colours, class_names

logger = logging.getLogger("mmmamba")

COCO_CLASSES = 80
COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
"""COCO numbers its 80 categories from 1 to 90; these were never annotated."""


def find_classes(model: nn.Module, cfg: Config, meta: Mapping[str, Any]) -> Classes:
    """The classes that the checkpoint names, else those of the config's data set.

    Where neither knows them, they are numbers in place of names.

    Raises:
        UsageError: they are not as many as the model tells apart, or no names and colours at all.
    """
    dataset = dataset_of_tests(cfg)
    declared = _declared(dataset, cfg.get("default_scope"))
    meta = _lower(meta)
    # MMDetection 2 put its classes beside the rest of the meta data.
    found = _lower(meta.get("dataset_meta") or meta)
    if not isinstance(found.get("classes", ()), (str, list, tuple)):
        raise UsageError(
            f"the checkpoint's classes are {printable(found['classes'])}, wanted a list of names"
        )
    count = count_classes(model)
    named = found.get("classes") or declared.get("classes")
    names = _numbered(count) if named is None else class_names(named)
    if count is not None and len(names) != count:
        raise UsageError(
            f"the model tells {count} classes apart, the checkpoint or config names {len(names)}: "
            f"{printable_names(names, 5)}. Put all of them into metainfo=dict(classes=(...)) of "
            "test_dataloader.dataset, or correct num_classes"
        )
    palette = found.get("palette") or declared.get("palette")
    return Classes(names, choose_colours(palette, len(names)), tuple(category_ids(names, dataset)))


def _numbered(count: int | None) -> tuple[str, ...]:
    """Names for classes of which only the number is known."""
    if count is None:
        raise UsageError(
            "neither the checkpoint nor the config names classes; add "
            "metainfo=dict(classes=(...)) to test_dataloader.dataset"
        )
    logger.warning("neither the checkpoint nor the config names classes; they are shown by number")
    return tuple(f"class {index}" for index in range(count))


def count_classes(model: nn.Module) -> int | None:
    """How many classes the model's last head tells apart; None if it does not say."""
    # Two-stage detectors first: their class is told by the RoI head.
    boxes = getattr(getattr(model, "roi_head", None), "bbox_head", None)
    for head in (boxes, getattr(model, "bbox_head", None), getattr(model, "decode_head", None)):
        if head is not None:
            # Cascades have a head for each stage.
            last = head[-1] if isinstance(head, nn.ModuleList) else head
            return getattr(last, "num_classes", None)
    # Classifiers: by their head, or by how many their data are said to have.
    for part in (getattr(model, "head", None), getattr(model, "data_preprocessor", None)):
        count = getattr(part, "num_classes", None)
        if isinstance(count, int):
            return count
    return None


def category_ids(names: Sequence[str], dataset: Mapping[str, Any]) -> list[int]:
    """The classes' ids in COCO's files, by name.

    They are those of the data set's own annotations where these are here, COCO's for its 80, else
    1, 2, …
    """
    file = Path(dataset.get("data_root") or "") / str(dataset.get("ann_file") or "")
    if file.suffix == ".json" and file.is_file():
        content = json.loads(file.read_text(encoding="utf-8"))
        listed = {c["name"]: c["id"] for c in content.get("categories", ())}
        # A file of other categories tells nothing about these classes.
        if all(name in listed for name in names):
            return [listed[name] for name in names]
    if len(names) == COCO_CLASSES and names[0] == "person" and names[-1] == "toothbrush":
        return [i for i in range(1, 91) if i not in COCO_GAPS]
    return list(range(1, len(names) + 1))


def _declared(dataset: Mapping[str, Any], scope: str | None) -> dict[str, Any]:
    """What the data set's class and its config say, the latter first."""
    known = getattr(dataset_class(dataset, scope), "METAINFO", {})
    return _lower(known) | _lower(dataset.get("metainfo") or {})


def _lower(mapping: Any) -> dict[str, Any]:
    """MMDetection 2 wrote CLASSES and PALETTE."""
    if not isinstance(mapping, Mapping):
        raise UsageError(
            f"the checkpoint describes its data set by {printable(mapping)}, wanted a dict"
        )
    return {key.lower(): value for key, value in mapping.items() if isinstance(key, str)}
