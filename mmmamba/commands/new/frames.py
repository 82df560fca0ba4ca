"""How a config holds its data set: what of it stays around the user's own."""

from __future__ import annotations

from dataclasses import dataclass

from mmengine.config import Config

from ...config.source import source
from ...structures.tiles import Tiling

MIXING = "MultiImageMixDataset"
"""Mosaic and its kind, which hold the data set whose images they mix."""
SELECTION = dict(filter_empty_gt=True)


@dataclass(frozen=True)
class Frame:
    """The data set of one split in the config that another is written over."""

    mixed: bool
    """It lies in one that mixes images, which stays."""
    kind: str
    """Class of the data set."""
    pipeline: str
    """Its pipeline, as the written config calls it."""
    zero_label: bool
    """The pipeline says itself whether label 0 is ignored."""
    direct: bool
    """Nothing else lies around it: no repetition, no sum of several."""

    def coco(self, inner: str, split: str, tiling: Tiling | None = None) -> str:
        """The dataset of a loader, for COCO files.

        Args:
            inner: its arguments, a line each.
            tiling: what its images are cut into.
        """
        if tiling is not None or not (self.direct and self.kind == "CocoDataset"):
            # Of another class, whose arguments would be merged in.
            deleted = "" if tiling else "        _delete_=True,\n"
            begin = f'{deleted}        type="CocoDataset",\n{inner}'
            chosen = f"        filter_cfg={source(SELECTION)},\n" if split == "train" else ""
            tested = "" if split == "train" else "        test_mode=True,\n"
            inner = f"{begin}{chosen}{tested}        pipeline={self.pipeline},\n"
        if tiling is not None:
            lines = "".join(f"    {line}\n" for line in inner.splitlines())
            inner = (
                '        _delete_=True,\n        type="TiledDataset",\n'
                f"        size={tiling.size},\n        overlap={tiling.overlap},\n"
                f"        dataset=dict(\n{lines}        ),\n"
            )
        if self.mixed:
            lines = "".join(f"    {line}\n" for line in inner.splitlines())
            return f"    dataset=dict(\n        dataset=dict(\n{lines}        ),\n    ),"
        return f"    dataset=dict(\n{inner}    ),"


def frame(base: Config, split: str) -> Frame:
    """The frame of `train`, `val` or `test`."""
    place = f"_base_.{split}_dataloader.dataset"
    dataset = base[f"{split}_dataloader"].dataset
    mixed = dataset.type == MIXING
    if mixed:
        dataset, place = dataset.dataset, f"{place}.dataset"
    direct = True
    while "dataset" in dataset or "datasets" in dataset:
        direct = False
        if "dataset" in dataset:
            dataset, place = dataset.dataset, f"{place}.dataset"
        else:
            dataset, place = dataset.datasets[0], f"{place}.datasets[0]"
    steps = dataset.get("pipeline") or []
    zero = any(step.get("reduce_zero_label") is not None for step in steps)
    return Frame(mixed, dataset.type, f"{place}.pipeline", zero, direct)


def steps_of(base: Config) -> list[dict]:
    """All transforms that training images pass."""
    dataset, steps = base.train_dataloader.dataset, []
    while True:
        steps += dataset.get("pipeline") or []
        if "dataset" not in dataset and "datasets" not in dataset:
            return steps
        dataset = dataset.dataset if "dataset" in dataset else dataset.datasets[0]


def needs_masks(base: Config) -> bool:
    """Whether a detector learns from masks."""
    return any(step.get("with_mask") for step in steps_of(base))


def plain_coco(evaluator: object) -> bool:
    """Whether an evaluator of a config scores COCO results, and needs but another file."""
    kind = evaluator.get("type") if isinstance(evaluator, dict) else None
    return kind == "CocoMetric" and not evaluator.get("format_only")
