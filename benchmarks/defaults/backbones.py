"""Backbones and classifiers as loads: predictions of one image, and training passes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common import DEVICE
from peers import PEERS, timm_peer
from torch import Tensor, nn

import mmmamba
from mmmamba.models.trunks.base import MambaBackbone

from .loads import Load, weights_of

SMALL = 64


def build(name: str, side: tuple[int, int], classifier: bool, small: bool) -> nn.Module:
    torch.manual_seed(0)
    if name in PEERS:
        return timm_peer(name, side, classifier).to(DEVICE)
    if not small:
        return mmmamba.create_backbone(name, classifier=classifier).to(DEVICE)
    family = type(mmmamba.create_backbone(name))
    assert issubclass(family, MambaBackbone)
    return family(**family.TINY, classifier=classifier).to(DEVICE)


def images(batch: int, height: int, width: int) -> Tensor:
    x = torch.randn(batch, 3, height, width, device=DEVICE)
    return x.to(memory_format=torch.channels_last)


def prediction(name: str, small: bool) -> Load:
    """The maps of one image in float16, which nobody reads back."""
    side = SMALL if small else 224
    model = build(name, (side, side), False, small).eval()
    x = images(1, side, side)

    def step(n: int) -> list[Tensor]:
        with torch.no_grad(), torch.autocast(DEVICE, torch.float16, enabled=DEVICE == "cuda"):
            return list(model(x))

    return Load(model, step)


def training(name: str, size: tuple[int, int, int], classifier: bool, small: bool) -> Load:
    """Forward and backward pass in bfloat16, without an optimizer; the loss is not read back.

    Args:
        classifier: cross-entropy of the logits, else the sum of the maps' means.
    """
    batch, height, width = (2, SMALL, SMALL) if small else size
    model = build(name, (height, width), classifier, small).train()
    x = images(batch, height, width)
    labels = torch.arange(batch, device=DEVICE)

    def step(n: int) -> list[Tensor]:
        model.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, torch.bfloat16):
            outputs = model(x)
        if classifier:
            loss = F.cross_entropy(outputs.float(), labels)
        else:
            loss = torch.stack([m.float().mean() for m in outputs]).sum()
        loss.backward()
        return [loss.detach()]

    def left() -> list[Tensor]:
        return [p.grad for p in model.parameters() if p.grad is not None]

    return Load(model, step, weights_of(model), left)
