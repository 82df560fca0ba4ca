"""The lines of a written config that say where the data lies."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from ...config.source import source
from ...datasets.discovery import ClassData, CocoData, LabelData, Part, SecondImages
from ...structures.tiles import Tiling
from .classifier import class_text
from .frames import frame, needs_masks, plain_coco
from .pairs import paired_pipeline, pairs_text

COCO_COLOURS = 80
"""Colours that mmdet's CocoDataset brings along."""
# Odd factors: none of 256 colours in a row comes twice.
PALETTE = "palette=[(37 * i % 256, 91 * i % 256, 157 * i % 256) for i in range(num_classes)]"

TRAIN = """\
train_dataloader = dict(
    batch_size={batch},
{dataset}
)"""
LOADER = """\
{split}_dataloader = dict(
{dataset}
)"""
COCO_DATASET = """\
        data_root=data_root,
        ann_file={annotations},
        data_prefix=dict(img={images}),
        metainfo=metainfo,
"""
# `_delete_`: the shipped data set is of another class, whose arguments would be merged in.
LABELS = """\
labels = dict(
    _delete_=True,
    type={kind},
    data_root=data_root,
    img_suffix={image_suffix},{second_suffix}
    seg_map_suffix={label_suffix},
    reduce_zero_label={zero_ignored},
    metainfo=dict(classes=classes),
)
"""
# The pipeline goes with `_delete_` and is taken over by name.
LABEL_DATASET = """\
    dataset=dict(
        **labels,
        {names}data_prefix=dict(img_path={images}, {second}seg_map_path={maps}),
        pipeline={pipeline},
    ),"""
# Pipelines of ADE20K say it, too, and must say the same.
ZERO_LABEL = """\
[
            dict(step, reduce_zero_label={zero_ignored}) if step.type == "LoadAnnotations" else step
            for step in {pipeline}
        ]"""


def data_text(
    data: CocoData | LabelData | ClassData,
    root: Path,
    batch: int,
    base: Config,
    second: SecondImages | None = None,
    tiling: Tiling | None = None,
) -> str:
    """The lines for the data below a folder, which a config has named `data_root`.

    Args:
        base: the config that they are written over.
        batch: images of a step on one GPU.
        second: the second images of pairs.
        tiling: what the images of a detector are cut into.
    """
    if isinstance(data, ClassData):
        return class_text(data, root, batch, base)
    if isinstance(data, CocoData):
        return _coco_text(data, root, batch, base, tiling)
    return _label_text(data, root, batch, base, second)


def _coco_text(data: CocoData, root: Path, batch: int, base: Config, tiling: Tiling | None) -> str:
    def dataset(split: str, part: Part) -> str:
        annotations, images = (
            source(_below(root, part.annotations)),
            source(_below(root, part.images)),
        )
        inner = COCO_DATASET.format(annotations=annotations, images=images)
        return frame(base, split).coco(inner, split, tiling)

    palette = f", {PALETTE}" if len(data.classes) > COCO_COLOURS else ""
    lines = [
        f"metainfo = dict(classes=classes{palette})",
        "",
        TRAIN.format(batch=batch, dataset=dataset("train", data.train)),
    ]
    for split, part in _held_out(data):
        lines.append(LOADER.format(split=split, dataset=dataset(split, part)))
        lines.append(f"{split}_evaluator = dict({_scores(base, split, root, part, tiling)})")
    # MMEngine would test on the shipped config's own data otherwise.
    if not data.test:
        lines += ["test_dataloader = val_dataloader", "test_evaluator = val_evaluator"]
    return "\n".join(lines)


def _scores(base: Config, split: str, root: Path, part: Part, tiling: Tiling | None) -> str:
    """Arguments of the evaluator of a split."""
    file = f"ann_file={_path(root, part.annotations)}"
    evaluator = base.get(f"{split}_evaluator")
    if tiling is None and plain_coco(evaluator):
        return file
    kind = "CocoMetric" if tiling is None else "TiledCocoMetric"
    deleted = "_delete_=True, " if evaluator else ""
    metric = ["bbox", "segm"] if needs_masks(base) else "bbox"
    return f'{deleted}type="{kind}", metric={source(metric)}, {file}'


def _label_text(
    data: LabelData, root: Path, batch: int, base: Config, second: SecondImages | None
) -> str:
    def dataset(split: str, part: Part) -> str:
        # A list of names where not all images of the folder are of the split.
        names = f"ann_file={_path(root, part.names)},\n        " if part.names else ""
        given = frame(base, split)
        pipeline = given.pipeline
        if given.zero_label:
            pipeline = ZERO_LABEL.format(pipeline=pipeline, zero_ignored=data.zero_ignored)
        beside = ""
        if second is not None:
            pipeline = paired_pipeline(pipeline)
            beside = f"second_path={source(_below(root, second.folders[split]))}, "
        return LABEL_DATASET.format(
            names=names,
            second=beside,
            images=source(_below(root, part.images)),
            maps=source(_below(root, part.annotations)),
            pipeline=pipeline,
        )

    labels = LABELS.format(
        kind=source("PairedSegDataset" if second else "BaseSegDataset"),
        second_suffix=f"\n    second_suffix={source(second.suffix)}," if second else "",
        image_suffix=source(data.image_suffix),
        label_suffix=source(data.label_suffix),
        zero_ignored=data.zero_ignored,
    )
    lines = [*([pairs_text(second)] if second else []), labels]
    lines.append(TRAIN.format(batch=batch, dataset=dataset("train", data.train)))
    for split, part in _held_out(data):
        lines.append(LOADER.format(split=split, dataset=dataset(split, part)))
    if not data.test:
        lines.append("test_dataloader = val_dataloader")
    if second is not None and "tta_pipeline" in base:
        lines.append(f"tta_pipeline = {paired_pipeline('_base_.tta_pipeline')}")
    return "\n".join(lines)


def _held_out(data: CocoData | LabelData) -> list[tuple[str, Part]]:
    """The splits that are there beside that to train on."""
    splits = (("val", data.val), ("test", data.test))
    return [(name, part) for name, part in splits if part]


def _below(root: Path, path: Path) -> str:
    """From the data's root, or the full path of what lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _path(root: Path, path: Path) -> str:
    """Source of a path where MMEngine puts no root before it."""
    if path.is_relative_to(root):
        return f"data_root + {source(_below(root, path))}"
    return source(str(path))
