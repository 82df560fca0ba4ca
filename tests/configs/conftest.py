"""One tiny training step of a detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from torch import nn

CONFIGS = Path(__file__).parents[2] / "configs"
SIZE = 64


def build_detector(cfg: Config) -> nn.Module:
    """The config's model, its published weights left where they are."""
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    return MODELS.build(cfg.model)


def train_step(cfg: Config, model: nn.Module) -> dict[str, torch.Tensor]:
    """One step of the config's optimizer on one image of 64 x 64 with one square in it."""
    image = torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8)
    cfg.optim_wrapper.type = "OptimWrapper"
    model.train()
    data = dict(inputs=[image], data_samples=[sample_with_a_square()])
    return model.train_step(data, build_optim_wrapper(model, cfg.optim_wrapper))


def sample_with_a_square() -> DetDataSample:
    """What is known of an image of 64 x 64: one object, with its mask."""
    masks = np.zeros((1, SIZE, SIZE), dtype=np.uint8)
    masks[:, 16:48, 16:48] = 1
    sample = DetDataSample(
        metainfo=dict(img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE), scale_factor=(1.0, 1.0))
    )
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[16.0, 16.0, 48.0, 48.0]]),
        labels=torch.tensor([7]),
        masks=BitmapMasks(masks, SIZE, SIZE),
    )
    sample.ignored_instances = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
    )
    return sample
