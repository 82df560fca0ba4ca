"""Random outputs of dense heads, ground truths for them, and what heads make of both."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

import mmmamba.detection  # noqa: F401  (registers the heads)
from tests.configs.conftest import CONFIGS

CLASSES = 7
STRIDES = (8, 16, 32)
PADDED = (128, 160)
"""Height and width of a batch's images."""


class Result(NamedTuple):
    losses: dict[str, Tensor]
    gradients: list[Tensor]


def build_head(base: str, kind: str | None = None, **changed: object) -> nn.Module:
    """The head of a base config with few channels and classes, or mmdet's `kind` of it."""
    model = Config.fromfile(CONFIGS / "_base_" / "models" / f"{base}.py").model
    init_default_scope("mmdet")
    cfg = ConfigDict(
        model.bbox_head, num_classes=CLASSES, train_cfg=model.train_cfg, test_cfg=model.test_cfg
    )
    if "feat_channels" in cfg:
        cfg.update(in_channels=8, feat_channels=8)
    else:
        cfg.in_channels = [8, 8, 8]
    whole = Config(dict(head=cfg))
    # It takes `_delete_` out of what it is given.
    whole.merge_from_dict(copy.deepcopy(dict(head=changed)))
    return MODELS.build(ConfigDict(whole.head, type=kind or cfg.type)).train()


def draw_maps(channels: Sequence[int], images: int, seed: int = 0, size=PADDED) -> list[list]:
    """A map of every level for each number of channels."""
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    sizes = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
    return [
        [torch.randn(images, count, *size, generator=generator) for size in sizes]
        for count in channels
    ]


def draw_truth(counts: Sequence[int], seed: int = 0) -> list[InstanceData]:
    """Boxes of all sizes; some reach beyond the image or lie outside of it."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for count in counts:
        centre = torch.rand(count, 2, generator=generator) * torch.tensor(PADDED[::-1]) * 1.1
        half = 3 + 40 * torch.rand(count, 2, generator=generator) ** 2
        labels = torch.randint(0, CLASSES, (count,), generator=generator)
        boxes = torch.cat([centre - half, centre + half], dim=1)
        found.append(InstanceData(bboxes=boxes, labels=labels))
    return found


def metas(images: int, **changed: object) -> list[dict]:
    whole = dict(img_shape=PADDED, pad_shape=PADDED, ori_shape=PADDED, scale_factor=(1.0, 1.0))
    return [whole | changed for _ in range(images)]


def run_loss(head: nn.Module, maps: list[list], truth: list[InstanceData], about=None) -> Result:
    """Losses, with levels summed up, and their gradients at each map."""
    maps = [[level.clone().requires_grad_() for level in levels] for levels in maps]
    losses = head.loss_by_feat(*maps, truth, about or metas(len(truth)))
    losses = {
        name: sum(loss) if isinstance(loss, Sequence) else loss for name, loss in losses.items()
    }
    sum(losses.values()).backward()
    flat = [level for levels in maps for level in levels]
    nothing = [level.grad is None for level in flat]
    assert not any(nothing), "DDP wants a gradient everywhere"
    return Result(losses, [level.grad for level in flat])


def check_same(ours: Result, wanted: Result, rtol: float = 1e-5) -> None:
    assert ours.losses.keys() == wanted.losses.keys()
    for name, loss in ours.losses.items():
        torch.testing.assert_close(loss, wanted.losses[name], rtol=rtol, atol=1e-6, msg=name)
        assert loss.shape == ()
    for got, want in zip(ours.gradients, wanted.gradients, strict=True):
        torch.testing.assert_close(got, want, rtol=rtol, atol=rtol * float(want.abs().max()))
