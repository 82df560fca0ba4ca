"""RSMamba draws its shuffles in training: a resumed run draws those of one that was not stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor

from mmmamba.layers import OrderMixer
from mmmamba.models.backbones import RSMamba

from ..tiny_models import toy
from .test_resume import compare

ARCH = dict(embed_dims=8, depth=2, patch_size=4, stride=2, img_size=8, d_state=2)


@MODELS.register_module()
class ShuffledToy(BaseModel):
    """Two layers of RSMamba and its classifier; the loss is a mean of squares."""

    def __init__(self, with_cp: bool, data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        self.backbone = RSMamba(arch=ARCH, classifier=True, num_classes=3, with_cp=with_cp)

    def forward(self, inputs: list[Tensor], data_samples: Any = None, mode: str = "loss") -> Any:
        logits = self.backbone(torch.stack(inputs))
        return dict(loss=logits.square().mean())


@pytest.mark.parametrize("with_cp", [pytest.param(False, marks=pytest.mark.slow), True])
def test_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_cp: bool) -> None:
    """Losses, weights and shuffles; a layer that is computed again is so with its own shuffle."""
    drawn: list[list[int]] = []
    draw = OrderMixer._shuffled

    def noted(self: OrderMixer, token_L: Tensor) -> Tensor:
        order = draw(self, token_L)
        drawn.append(order.tolist())
        return order

    monkeypatch.setattr(OrderMixer, "_shuffled", noted)
    cfg = toy(tmp_path)
    cfg.model = dict(type="ShuffledToy", with_cp=with_cp)
    compare(cfg, stop=3)
    resumed, through = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    assert resumed == through
    # Ten iterations of two layers, the second of which is computed again first.
    forward, again = (through[0::4] + through[1::4], through[3::4] + through[2::4])
    if not with_cp:
        forward, again = through, []
    assert len(forward) == 20 and len({tuple(order) for order in forward}) == 20
    assert again == (forward if with_cp else [])
