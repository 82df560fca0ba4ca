"""Backbones, images and comparisons for the tests of CUDA graphs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from mmmamba.models.trunks.base import MambaBackbone

FAMILIES = {family.__name__: family for family in MambaBackbone.families()}
every_family = pytest.mark.parametrize("family", FAMILIES)
EXACT, HALF = 1e-5, 3e-2


def build(
    family: str = "VMamba", device: str = "cpu", drop_path_rate: float = 0.0, **more: object
) -> MambaBackbone:
    torch.manual_seed(0)
    return (
        FAMILIES[family](**FAMILIES[family].TINY, drop_path_rate=drop_path_rate, **more)
        .to(device)
        .train()
    )


def image(*shape: int, seed: int = 0, device: str = "cpu") -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(device)


def loss(maps: tuple[Tensor, ...]) -> Tensor:
    """A loss in which every value counts differently.

    Its gradients lie in memory as the maps do: other layouts take other kernels, which round in
    other ways.
    """
    weights = (torch.linspace(-1, 1, m.numel(), device=m.device).view_as(m) for m in maps)
    return sum(
        (m.float() * torch.empty_like(m, dtype=torch.float32).copy_(w)).sum()
        for m, w in zip(maps, weights)
    )


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_equal(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float = EXACT) -> None:
    """Compare up to a part of each tensor's largest value, or of a tenth of the largest of all.

    Gradients of biases before a batch norm are nothing but rounding.
    """
    assert got.keys() == want.keys()
    floor = 0.1 * max((float(w.detach().abs().max()) for w in want.values()), default=0.0)
    for name, wanted in want.items():
        wanted = wanted.detach().float()
        off = float((got[name].detach() - wanted).abs().max()) / max(
            float(wanted.abs().max()), floor, 1e-12
        )
        assert off <= tolerance, f"{name} is off by {off:.1e} of its largest value"


def step(model: nn.Module, x: Tensor, autocast: torch.dtype | None = None) -> list[Tensor]:
    """A training pass with gradients; the random numbers of each are the same."""
    model.zero_grad(set_to_none=True)
    torch.manual_seed(1)
    with torch.autocast(x.device.type, autocast, enabled=autocast is not None):
        maps = model(x)
    maps = [maps] if isinstance(maps, Tensor) else maps
    loss([m for m in maps if m.requires_grad]).backward()
    return [m.detach() for m in maps]


def same(got: Sequence[Tensor], want: Sequence[Tensor]) -> None:
    """The same bits."""
    assert len(got) == len(want)
    for one, other in zip(got, want):
        assert torch.equal(one, other)
