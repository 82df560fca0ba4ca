"""A small SUM, and samples for it."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

import mmmamba.segmentation  # noqa: F401  (registers the model)

DEPTHS = (1, 1, 1, 1)


def settings(**others: Any) -> dict[str, Any]:
    return (
        dict(
            type="SUM",
            data_preprocessor=dict(
                type="SaliencyDataPreprocessor",
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375],
                bgr_to_rgb=True,
            ),
            backbone=dict(type="SUMEncoder", arch="vmamba_v0_t", embed_dims=16, depths=DEPTHS),
            decode_head=dict(type="SUMDecoder", in_channels=[32, 64, 128, 128], depths=DEPTHS),
            loss=dict(type="SaliencyLoss"),
            size=(64, 64),
        )
        | others
    )


def build(seed: int = 0, with_cp: bool = False, **others: Any) -> torch.nn.Module:
    torch.manual_seed(seed)
    made = settings(**others)
    for part in ("backbone", "decode_head"):
        made[part] = dict(made[part], with_cp=with_cp, drop_path_rate=0.0)
    return MODELS.build(made)


def lively(model: torch.nn.Module) -> torch.nn.Module:
    """The model with conditions that matter, as those of trained ones do."""
    torch.manual_seed(1)
    for layer in model.decode_head.layers_up:
        for block in layer.blocks:
            for part in block.mlp[::2]:
                torch.nn.init.normal_(part.weight, std=part.in_features**-0.5)
    return model


def images(batch: int = 2, height: int = 64, width: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, height, width, generator=generator)


def samples(batch: int = 2, side: int = 64, fixations: bool = True) -> list[SegDataSample]:
    """A bright corner each, where people looked."""
    made = []
    for _ in range(batch):
        map_1HW = torch.zeros(1, side, side)
        map_1HW[:, : side // 4, : side // 4] = 1
        sample = SegDataSample()
        sample.set_data(dict(gt_saliency=PixelData(data=map_1HW)))
        if fixations:
            sample.set_data(dict(gt_fixation=PixelData(data=(map_1HW > 0).byte())))
        made.append(sample)
    return made
