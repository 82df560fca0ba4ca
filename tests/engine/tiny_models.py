"""A toy, a detector and a segmentor that train in seconds."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmmamba.datasets.shapes import ShapesSpec
from mmmamba.engine.demo import apply_demo
from tests.narrow import narrow

CONFIGS = Path(__file__).parents[2] / "configs"
BACKBONE = dict(type="VMamba", arch=dict(embed_dims=8, depths=(1, 1, 1, 1)), drop_path_rate=0.2)
WIDTHS = [8, 16, 32, 64]
SPEC = ShapesSpec(num_train=10, num_val=2, size=32)


@DATASETS.register_module()
class Noise(BaseDataset):
    """Ten images, changed by Python's, NumPy's and PyTorch's random numbers unless `steady`."""

    reads: list[int] = []

    def __init__(self, steady: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.steady = steady

    def load_data_list(self) -> list[dict[str, int]]:
        return [dict(width=8 + index % 3, height=9) for index in range(10)]

    def __getitem__(self, index: int) -> dict[str, Any]:
        Noise.reads.append(index)
        image = torch.full((3, 8, 8), index / 10)
        if not self.steady:
            image = torch.rand(3, 8, 8) + random.random() + np.random.rand()
        return dict(
            inputs=image.float(),
            data_samples=BaseDataElement(metainfo=dict(img_path=f"{index}.png")),
        )


@MODELS.register_module()
class Toy(BaseModel):
    """Convolution, batch norm, dropout; the loss is a mean of squares."""

    def __init__(self, data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Sequential(nn.Dropout(), nn.Conv2d(4, 1, 6))

    def forward(self, inputs: list[Tensor], data_samples: Any = None, mode: str = "loss") -> Any:
        squares = self.last(self.norm(self.conv(torch.stack(inputs)))).square()
        if mode == "loss":
            return dict(loss=squares.mean())
        return [BaseDataElement(square=square.item()) for square in squares.mean((1, 2, 3))]


@METRICS.register_module()
class Smallness(BaseMetric):
    """Minus the mean of the toy's squares; `reached` is called when all are there."""

    reached: Callable[[], Any] = staticmethod(lambda: None)

    def process(self, data_batch: Any, data_samples: list[dict]) -> None:
        self.results += [sample["square"] for sample in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        Smallness.reached()
        return dict(small=-sum(results) / len(results))


def toy(folder: Path) -> Config:
    """Two epochs of five batches."""
    cfg = Config.fromfile(CONFIGS / "_base_" / "default_runtime.py")
    cfg.default_scope = "mmengine"
    cfg.model = dict(type="Toy")
    cfg.visualizer = dict(type="Visualizer")
    cfg.default_hooks.pop("visualization")
    sampler = dict(type="DefaultSampler", shuffle=True)
    cfg.train_dataloader = dict(
        batch_size=2, num_workers=0, sampler=sampler, dataset=dict(type="Noise")
    )
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=2)
    cfg.optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-2))
    cfg.param_scheduler = [dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=8)]
    return witnessed(cfg, folder)


def validated(cfg: Config) -> Config:
    """The toy validated in four batches, its best weights kept."""
    sampler = dict(type="DefaultSampler", shuffle=False)
    dataset = dict(type="Noise", steady=True)
    cfg.val_dataloader = dict(batch_size=3, num_workers=0, sampler=sampler, dataset=dataset)
    cfg.val_cfg, cfg.val_evaluator = dict(type="ValLoop"), dict(type="Smallness")
    cfg.default_hooks.checkpoint.update(save_best="small", rule="greater")
    return cfg


def detection(folder: Path) -> Config:
    """Faster R-CNN, two epochs of five batches."""
    cfg = Config.fromfile(CONFIGS / "mask_rcnn" / "vmamba_t_1x_coco.py")
    cfg.model.backbone = BACKBONE
    cfg.model.neck.in_channels = WIDTHS
    for part in ("mask_head", "mask_roi_extractor"):
        cfg.model.roi_head.pop(part)
    apply_demo(cfg, folder / "shapes", SPEC)
    cfg.model.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=20)
    cfg.model.train_cfg.rcnn.sampler.num = 8
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=2, val_interval=9)
    return _tiny(cfg, folder)


def segmentation(folder: Path) -> Config:
    """UperNet, ten iterations."""
    cfg = Config.fromfile(CONFIGS / "upernet" / "vmamba_t_160k_ade20k-512x512.py")
    cfg.model.backbone = BACKBONE
    cfg.model.decode_head.in_channels = WIDTHS
    cfg.model.auxiliary_head.in_channels = WIDTHS[2]
    apply_demo(cfg, folder / "shapes", SPEC)
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=10, val_interval=99)
    return _tiny(cfg, folder)


def on_shapes(name: str, folder: Path, images: int, size: int, iterations: int) -> Config:
    """A shipped config for some iterations on the demo's shapes, unvalidated."""
    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    apply_demo(cfg, folder / "shapes", ShapesSpec(num_train=images, num_val=2, size=size))
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=iterations)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.work_dir = str(folder / "run")
    return cfg


def _tiny(cfg: Config, folder: Path) -> Config:
    for name, part in cfg.model.items():
        if name != "backbone":
            narrow(part)
    for key in (
        "val_cfg",
        "val_dataloader",
        "val_evaluator",
        "test_cfg",
        "test_dataloader",
        "test_evaluator",
    ):
        cfg[key] = None
    cfg.train_dataloader.batch_size = 2
    cfg.visualizer.vis_backends = []
    return witnessed(cfg, folder)


def witnessed(cfg: Config, folder: Path) -> Config:
    """Averaged weights, a witness, a log line for each iteration, no checkpoint but the last."""
    cfg.custom_hooks = [dict(type="EMAHook"), dict(type="Witness", priority="VERY_LOW")]
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=99, by_epoch=False)
    cfg.default_hooks.logger.interval = 1
    cfg.work_dir = str(folder / "run")
    return cfg
