"""What MambaVision's pad tokens do to gradients: steep while every bias is zero, else ordinary."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from mmmamba.models.backbones.mamba_vision import MambaVision

ARCH = dict(
    embed_dims=48,
    stem_dims=8,
    depths=(1, 1, 7, 2),
    num_heads=(1, 1, 2, 4),
    window_size=(8, 8, 8, 4),
)
PADDED, WHOLE = 40, 128
"""Image sides: maps of 3 and 2 in windows of 8 and 4, and maps that fill them."""
STEEP = ("norm1.bias", "norm2.bias", "fc1.bias", "fc2.bias")
"""What a pad token gets before the attention adds to it."""


def start(seed: int = 0) -> MambaVision:
    torch.manual_seed(seed)
    return MambaVision(ARCH).train()


def biased(model: MambaVision, std: float) -> MambaVision:
    """Biases in the windowed stages as training leaves them: not zero."""
    with torch.no_grad():
        for name, parameter in model.levels[2:].named_parameters():
            if name.endswith("bias"):
                parameter.add_(std * torch.randn_like(parameter))
    return model


def loss(model: MambaVision, side: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    dtype = next(model.parameters()).dtype
    maps = model(torch.randn(2, 3, side, side, generator=generator).to(dtype))
    return sum((m * torch.randn(m.shape, generator=generator).to(dtype)).mean() for m in maps)


def gradients(model: MambaVision, side: int) -> dict[str, Tensor]:
    """By name; float64, so that none is too large for a norm."""
    model.zero_grad()
    loss(model, side).backward()
    return {name: parameter.grad.double() for name, parameter in model.named_parameters()}


def norm(found: dict[str, Tensor]) -> float:
    return torch.stack([g.norm() for g in found.values()]).norm().item()


def steep(found: dict[str, Tensor]) -> dict[str, Tensor]:
    windowed = ("levels.2", "levels.3")
    return {n: g for n, g in found.items() if n.startswith(windowed) and n.endswith(STEEP)}


@pytest.mark.parametrize("seed", range(3))
def test_only_biases_are_steep_and_only_where_maps_are_padded(seed: int) -> None:
    padded, whole = gradients(start(seed), PADDED), gradients(start(seed), WHOLE)
    assert norm(whole) < 20
    assert norm(steep(padded)) > 1e6
    assert norm({n: g for n, g in padded.items() if n not in steep(padded)}) < 20


@pytest.mark.parametrize("std", [0.0, 0.1])
def test_float32_gives_the_gradients_of_float64(std: float) -> None:
    model = biased(start(), std)
    exact, found = gradients(copy.deepcopy(model).double(), PADDED), gradients(model, PADDED)
    scale = norm({n: g for n, g in exact.items() if n not in steep(exact)})
    for name, gradient in exact.items():
        # A convolution's bias before batch norm has a gradient of zero: hence a part of the norm.
        assert (found[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-5 * scale, name


def test_the_slope_is_that_of_the_function() -> None:
    """Moving the first bias along its gradient raises the loss by what the gradient says."""
    model = start().double()
    slope = gradients(model, PADDED)["levels.2.blocks.0.norm1.bias"]
    assert slope.norm() > 1e6
    bias, size = model.levels[2].blocks[0].norm1.bias, 1e-12

    @torch.no_grad()
    def moved(step: float) -> Tensor:
        bias.copy_(step * slope / slope.norm())
        return loss(model, PADDED)

    rise = (moved(size) - moved(-size)) / (2 * size)
    torch.testing.assert_close(rise, slope.norm(), rtol=1e-3, atol=0)
    torch.testing.assert_close(moved(size), moved(0), rtol=0, atol=1e-4)


def test_biases_that_are_not_zero_end_it() -> None:
    assert norm(gradients(biased(start(), 0.1), PADDED)) < 20


def test_the_first_step_ends_it() -> None:
    model = start()
    assert norm(gradients(model, PADDED)) > 1e6
    torch.optim.AdamW(model.parameters(), lr=1e-4).step()
    assert norm(gradients(model, PADDED)) < 100


def test_a_layer_scale_ends_it() -> None:
    """The large variants multiply every branch by 1e-5 at first."""
    model = MambaVision(ARCH, layer_scale=1e-5).train()
    assert norm(gradients(model, PADDED)) < 20
