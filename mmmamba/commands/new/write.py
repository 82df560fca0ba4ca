"""From a folder of labelled images to a config that trains on it."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from ...datasets.counting import count_tiles
from ...datasets.discovery import (
    ClassData,
    CocoData,
    LabelData,
    data_folder,
    find_classes,
    find_label_maps,
    find_objects,
    holds_classes,
    holds_objects,
)
from ...errors import UsageError
from ...models.drop_in import part_with_backbone
from ...structures.tiles import Tiling
from .frames import needs_masks
from .heads import SEGMENTATION_HEADS, Base, base_config, heads_for
from .pairs import pair_base, second_of, with_pairs
from .schedule import Schedule, plan_schedule
from .text import config_text

Data = CocoData | LabelData | ClassData
NAMED = 6
MOST_IMAGES, MOST_CLASSIFIED = 8, 64
"""Images of a step on one GPU, where the recipe has more; of classifiers, whose are small."""


def write_config(
    backbone: str,
    head: str,
    root: Path,
    out: Path,
    *,
    val_share: float | None = None,
    batch: int | None = None,
    gpus: int = 1,
    length: int | None = None,
    second_modality: str | None = None,
    command: str = "mmmamba new",
    tiling: Tiling | None = None,
) -> list[str]:
    """Write a config for the data below a folder.

    Files that it needs beside the data go to a folder beside it.

    Args:
        val_share: of the images for validation, where the data is not split.
        batch: images of a step on one GPU; None takes the recipe's, with a limit.
        length: epochs, or iterations of a recipe that counts those.
        second_modality: folder of the second images of pairs, as `find_second_images` takes it.
        command: for the config's first line.
        tiling: what the images of a detector are cut into.

    Returns:
        What was found and chosen, a line each.

    Raises:
        UsageError: unknown names, data in no known layout or that the head cannot learn from.
    """
    base = pair_base(backbone, head, second_modality) or base_config(backbone, head, root)
    if tiling is not None and (base.segments or base.classifies):
        raise UsageError(f"--tile {tiling.size} is for detectors, and {head} is none")
    # Absolute, as the config may be read from another folder.
    place, root = root.resolve(), data_folder(root)
    data = find_data(
        place, out.resolve().with_name(f"{out.stem}_data"), head, backbone, base, val_share
    )
    second = None
    if second_modality is not None:
        second = second_of(base, data, root, second_modality, head)
        base = with_pairs(base, second)
    most = MOST_CLASSIFIED if base.classifies else MOST_IMAGES
    samples = data.images
    if tiling is not None:
        samples = count_tiles(data.train.annotations, data.classes, tiling)
        data.said.append(f"Tiles of {tiling.size} x {tiling.size} pixels: {samples} to train on")
    batch = min(batch or min(base.config.train_dataloader.batch_size, most), samples)
    schedule = plan_schedule(base.config, samples, batch * gpus, length)
    text = config_text(
        base, out, data, root, schedule, batch, batch * gpus, command, second, tiling
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    # Read once: a text that is no config is found here, not when training starts.
    Config.fromfile(out)
    found = [*data.said, *(second.said if second else ())]
    return [*found, *_summary(base, data, schedule, batch * gpus)]


def _summary(base: Base, data: Data, schedule: Schedule, batch: int) -> list[str]:
    """What was chosen, a line each."""
    more = len(data.classes) - NAMED
    names = ", ".join(data.classes[:NAMED]) + (f" and {more} more" if more > 0 else "")
    length = f"{schedule.length} {schedule.unit}, {batch} images a step"
    rates = ", ".join(f"{key} {value:g}" for key, value in schedule.rate.settings.items())
    weights = (part_with_backbone(base.config.model).backbone.get("init_cfg") or {}).get(
        "checkpoint"
    )
    archs = [
        part_with_backbone(cfg.model).backbone.get("arch") for cfg in (base.config, base.written)
    ]
    exchanged = " with another backbone" if archs[0] != archs[1] else ""
    lines = [
        f"Data: {data.images} images to train on, classes ({len(data.classes)}): {names}",
        f"Recipe: {base.name}{exchanged}, {length}, {rates}",
        f"Weights to start from: {weights or 'none are published for this backbone'}",
    ]
    if weights:
        lines.append(
            "  To start from nothing: mmmamba train ... --cfg-options model.backbone.init_cfg=None"
        )
    return lines


def find_data(
    place: Path, out: Path, head: str, backbone: str, base: Base, val_share: float | None
) -> Data:
    """The data that a head learns from, in a folder or named by a `data.yaml`.

    Raises:
        UsageError: there is none, or of another sort, with the heads that it is for.
    """
    if base.classifies:
        return find_classes(place, out, val_share)
    if base.segments:
        labels = find_label_maps(place, out, val_share) if place.is_dir() else None
        if labels is not None:
            return labels
        if found := holds_objects(place):
            heads = ", ".join(heads_for(backbone, masks=True)) or "none"
            raise UsageError(
                f"{place} has {found} annotations; {head} learns from label maps. Heads for "
                f"labelled objects on {backbone}: {heads}"
            )
        raise UsageError(
            f"{place} has no folders of images and label maps: wanted images/train and "
            "labels/train, train/images and train/masks, or images and labels"
        )
    data = find_objects(place, out, val_share)
    if data is None and holds_classes(place):
        raise UsageError(
            f"{place} has folders of images, as of classes, and no labels of objects, which {head} "
            "learns from. For classes: --head classifier"
        )
    if data is None:
        raise UsageError(
            f"{place} has no labels of objects, which {head} learns from: wanted COCO (.json), "
            "YOLO (data.yaml, or .txt and classes.txt), Pascal VOC (.xml) or labelme (.json). "
            f"Heads for label maps: {', '.join(SEGMENTATION_HEADS)}"
        )
    if needs_masks(base.config) and not data.masks:
        raise UsageError(
            f"the annotations of {place} have no masks, which {head} learns from. Heads for boxes "
            f"on {backbone}: {', '.join(heads_for(backbone, masks=False)) or 'none'}"
        )
    return data
