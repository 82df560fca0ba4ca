"""A config of saliency, scaled down to drawn shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

SIDE = 96
"""The side of the images: a multiple of 32, which the network asks for."""
EMBED_DIMS = 32
DEPTHS = (1, 1, 1, 1)
"""Blocks of each stage and layer: the published network would take hours on a CPU."""
CONDITION = "natural_mouse"


def tells_saliency(cfg: Config) -> bool:
    """Whether the model of a config gives maps of where people look."""
    return (cfg.get("model") or {}).get("type") in ("SUM", "ExportedSaliency")


def scale_saliency(cfg: Config, root: Path, batch_size: int) -> None:
    """Point a config at `make_saliency`'s folders, and make its network small.

    Schedule and optimizer are left to the caller.
    """
    model = cfg.model
    model.size = (SIDE, SIDE)
    model.condition = CONDITION
    model.backbone.update(embed_dims=EMBED_DIMS, depths=DEPTHS)
    widths = [EMBED_DIMS * 2**i for i in (1, 2, 3, 3)]
    model.decode_head.update(in_channels=widths, depths=DEPTHS, drop_path_rate=0.0, init_cfg=None)

    def loader(split: str, fit: bool) -> dict[str, Any]:
        dataset = dict(
            type="SaliencyDataset",
            data_root=str(root),
            data_prefix=dict(
                img_path=f"images/{split}",
                saliency_map_path=f"maps/{split}",
                fixation_map_path=f"fixations/{split}",
            ),
            condition=CONDITION,
            test_mode=split != "train",
            pipeline=[
                dict(type="LoadImageFromFile"),
                dict(type="Resize", scale=(SIDE, SIDE), keep_ratio=False),
                dict(type="LoadSaliencyAnnotations", fit=fit),
                dict(type="PackSaliencyInputs"),
            ],
        )
        sampler = dict(type="DefaultSampler", shuffle=split == "train")
        return dict(
            batch_size=batch_size,
            num_workers=0,
            persistent_workers=False,
            sampler=sampler,
            dataset=dataset,
        )

    cfg.train_dataloader = loader("train", fit=True)
    cfg.val_dataloader = loader("val", fit=False)
    cfg.test_dataloader = cfg.val_dataloader
    metrics = ["KL", "CC", "SIM", "NSS", "AUC"]
    cfg.val_evaluator = dict(type="SaliencyMetric", measures=metrics)
    cfg.test_evaluator = cfg.val_evaluator
