"""Classifiers that are made and trained in no time, and data for them."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, DefaultScope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

import mmmamba.classification  # noqa: F401
from mmmamba.models.backbones import VMamba

CLASSES = 3
BACKBONE = dict(type="VMamba", **VMamba.TINY, classifier=True, num_classes=CLASSES)
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@DATASETS.register_module()
class Labelled(BaseDataset):
    """Ten images of noise with labels."""

    def load_data_list(self) -> list[dict[str, int]]:
        return [dict(label=index % CLASSES) for index in range(10)]

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        pixels = torch.randint(256, (3, 32, 32), generator=generator, dtype=torch.uint8)
        sample = DataSample(metainfo=dict(img_path=f"{index}.png"))
        return dict(inputs=pixels, data_samples=sample.set_gt_label(index % CLASSES))


def settings(**options: Any) -> dict[str, Any]:
    """A tiny classifier's config, by default of a `DistilledClassifier`."""
    model = dict(
        type="DistilledClassifier",
        data_preprocessor=dict(num_classes=CLASSES, mean=MEAN, std=STD, to_rgb=True),
        backbone=BACKBONE,
        head=dict(type="LogitsHead", loss=dict(type="CrossEntropyLoss")),
    )
    return model | options


def build(**options: Any) -> nn.Module:
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return MODELS.build(settings(**options))


def batch(count: int = 4) -> dict[str, Any]:
    """What a data loader gives."""
    dataset = Labelled(lazy_init=True)
    items = [Labelled.__getitem__(dataset, index) for index in range(count)]
    return dict(
        inputs=torch.stack([item["inputs"] for item in items]),
        data_samples=[item["data_samples"] for item in items],
    )


def losses(model: nn.Module, count: int = 4) -> dict[str, Tensor]:
    """A training step's losses, before they are added up."""
    return model(**model.data_preprocessor(batch(count), training=True), mode="loss")
