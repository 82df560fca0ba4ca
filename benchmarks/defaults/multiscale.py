"""Images of many sizes: what rounding batches up to fewer sizes costs, and what graphs gain by it.

Pairs of images of COCO's usual shapes, wide or tall, are resized to a random short side of 480 …
800 with at most 1333 on the long one, and padded to a common size that a divisor divides. Forward
and backward pass of backbone and neck, in the order in which training would meet the sizes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from common import DEVICE, GIB, NAN, clean, now
from torch import nn

from mmmamba.acceleration.graphs import graph_model, ungraph_model

from .backbones import images
from .detectors import build, config_of

DIVISORS = (32, 64, 128)
SHAPES = ((640, 480), (640, 427), (640, 426), (640, 428), (640, 425), (612, 612), (500, 375))
SHORT, LONG = range(480, 801, 32), 1333
MANY = 10_000
"""Batches by which sizes are counted."""

Size = tuple[int, int]


class Sizes:
    """Sizes of batches, as a data loader with groups of alike aspect would draw them."""

    def __init__(self, seed: int = 0):
        self.random = random.Random(seed)

    def _image(self, tall: bool) -> Size:
        """Height and width after resizing."""
        wide, high = self.random.choice(SHAPES)
        scale = min(self.random.choice(SHORT) / min(wide, high), LONG / max(wide, high))
        sides = (int(high * scale + 0.5), int(wide * scale + 0.5))
        return (sides[1], sides[0]) if tall else sides

    def batches(self, count: int) -> Iterator[tuple[Size, Size]]:
        """The two images of each."""
        for _ in range(count):
            tall = self.random.random() < 0.3
            yield self._image(tall), self._image(tall)


def padded(pair: tuple[Size, Size], divisor: int) -> Size:
    """Height and width of a batch."""
    height, width = (max(sides) for sides in zip(*pair))
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def counts(divisor: int) -> dict[str, Any]:
    """How many sizes there are, how much of batches is padding, what the 64 most frequent cover."""
    pairs = list(Sizes().batches(MANY))
    sizes = [padded(pair, divisor) for pair in pairs]
    filled = sum(height * width for pair in pairs for height, width in pair)
    area = 2 * sum(height * width for height, width in sizes)
    times = Counter(sizes)
    return dict(
        divisor=divisor,
        sizes=len(times),
        padding=100 * (1 - filled / area),
        covered_64=100 * sum(count for _, count in times.most_common(64)) / MANY,
    )


class Features(nn.Module):
    """A detector's backbone and neck."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.backbone, self.neck = model.backbone, model.neck

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.neck(self.backbone(x))


def measure(batches: int, small: bool) -> Iterator[dict[str, Any]]:
    """A row for each divisor: sizes, padding, and ms a step of the second half of the batches."""
    model = Features(build(config_of("mask_rcnn_vmamba_t", small))).train()
    for divisor in DIVISORS:
        # The second half counts: captures belong to the beginning.
        sizes = [padded(pair, divisor) for pair in Sizes(1).batches(batches)]
        if small:
            sizes = [(height // 8, width // 8) for height, width in sizes]
        row = counts(divisor) | dict(batches=batches, differing=len(set(sizes)))
        few = sizes[batches // 2 :][: max(1, batches // 4)]
        _walk(model, few)
        row["eager"] = _walk(model, few)
        clean()
        graph_model(model, "auto")
        _walk(model, sizes[: batches // 2])
        row["graphs"] = _walk(model, sizes[batches // 2 :])
        row["same"] = _walk(model, few)
        row["gib"] = torch.cuda.max_memory_reserved() / GIB if DEVICE == "cuda" else NAN
        ungraph_model(model)
        clean()
        yield row


def _walk(model: nn.Module, sizes: list[Size]) -> float:
    """Milliseconds a step."""
    start = now()
    for height, width in sizes:
        x = images(2, height, width)
        model.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, torch.bfloat16):
            maps = model(x)
        torch.stack([m.float().mean() for m in maps]).sum().backward()
    return (now() - start) / len(sizes) * 1e3
